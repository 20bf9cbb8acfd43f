"""What a listing that is read for several keys says of each of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import pytest

from tests.unit.gates.organization import OUTAGE, Document, Organization
from tests.unit.gates.virtual import LATENCY, VirtualClock
from vi_airflow_provider.api.errors import ViError, ViResponseError
from vi_airflow_provider.gates.reader import GETS_PER_PAGE, MAX_SINGLE_GETS, Reader, Result

#: More keys than are fetched by themselves.
KEYS: Final = [f"k{number}" for number in range(MAX_SINGLE_GETS + 1)]


def in_milliseconds(result: Result[Document]) -> Result[Document]:
    """A result whose times are rounded: a sleep of the virtual clock is a little too long."""
    absent_at = None if result.absent_at is None else round(result.absent_at, 3)
    return result._replace(asked_at=round(result.asked_at, 3), absent_at=absent_at)


def read(organization: Organization, keys: Collection[str] = KEYS) -> dict[str, Result[Document]]:
    """Read keys as the first poll of one of them does."""

    async def main() -> dict[str, Result[Document]]:
        reader: Reader[str, Document] = Reader(organization, organization)  # type: ignore[arg-type]
        for key in keys:
            reader.keys.subscribe(key)
        plan = reader.plan(next(iter(keys)))
        assert set(plan.keys) == set(keys)
        assert plan.read is not None
        result_of = await plan.read(plan.keys)
        await reader.close()
        return {key: in_milliseconds(result_of(key)) for key in keys}

    return VirtualClock().run(main())


@pytest.mark.parametrize("others", [0, 3])
def test_a_key_is_absent_since_the_first_page(others: int) -> None:
    organization = Organization("newest")
    for number in range(others):
        organization.put(f"d{number}", created=10 - number)
    results = read(organization)
    assert set(results.values()) == {Result(0.0, None, listed=True, absent_at=LATENCY)}
    assert (organization.pages, organization.gets) == (1, 0)


def test_a_document_is_found_beside_absent_ones() -> None:
    organization = Organization("newest")
    organization.put("k1", created=5)
    results = read(organization)
    assert results["k1"] == Result(0.0, organization.documents["k1"], listed=True, absent_at=LATENCY)
    assert results["k0"] == Result(0.0, None, listed=True, absent_at=LATENCY)


def test_an_outage_is_the_result_of_all_keys() -> None:
    organization = Organization("newest")
    organization.failing = OUTAGE
    results = read(organization)
    assert {(type(result.found), result.listed, result.absent_at) for result in results.values()} == {
        (OUTAGE, True, None)
    }
    assert (organization.pages, organization.gets) == (1, 0)


def test_an_error_that_may_be_about_one_document_is_no_result_of_another() -> None:
    organization = Organization("newest")
    organization.put("k1", created=5)

    class Broken(Organization):
        """Its listing has a document that cannot be read."""

        async def scan(self, *_arguments: Any) -> Any:
            raise ViResponseError("one document is broken")

    organization.__class__ = Broken
    results = read(organization)
    assert results["k1"].found == organization.documents["k1"]
    assert results["k0"].found is None
    assert {(result.listed, result.absent_at) for result in results.values()} == {(False, 0.0)}
    assert organization.gets == len(KEYS)


@pytest.mark.parametrize("error", [ViError, OUTAGE])
def test_without_a_connection_no_key_is_fetched(error: type[ViError]) -> None:
    organization = Organization("newest")
    organization.failing = error
    assert {type(result.found) for result in read(organization).values()} == {error}
    assert organization.gets == 0


def test_what_a_long_listing_does_not_show_is_fetched() -> None:
    organization = Organization("newest", page_size=1)
    for number in range(3):
        organization.put(f"d{number}", created=10 - number)
    organization.put("k0", created=20)
    organization.put("k1", created=1)
    results = read(organization)
    assert organization.pages == -(-len(KEYS) // GETS_PER_PAGE)
    assert results["k0"] == Result(0.0, organization.documents["k0"], listed=True)
    assert results["k1"].found == organization.documents["k1"]
    assert not results["k1"].listed
    assert organization.gets == len(KEYS) - 1
