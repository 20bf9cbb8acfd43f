"""The export as a task while colleagues edit and delete flows, with every kind of page cursor and order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.unit.audit.support import ids, run
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.emulator import Emulator

#: How the listing of a service may behave.
LISTINGS: Final = [
    {"cursor": cursor, "order": order} for cursor in ("key", "offset") for order in ("created", "updated", "unsorted")
]


@pytest.fixture
def vi(vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Vi with 40 sample flows, listed in pages of 4."""
    connection = {**vi_emulator.connection, "extra": {"page_size": 4}}
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps(connection))
    return vi_emulator


@pytest.mark.parametrize("filters", [{}, {"name_pattern": "*"}], ids=["all", "filtered"])
@pytest.mark.parametrize("listing", LISTINGS, ids=lambda listing: "-".join(listing.values()))
def test_export_has_every_document_that_exists_throughout(
    listing: Any, filters: dict[str, Any], vi: Emulator, tmp_path: Path
) -> None:
    vi.configure(**listing)
    before = set(vi.store.flow_ids())
    first, *_, last = vi.store.flow_ids()
    vi.colleague.delete(method="GET", path="/flows$", moment="after", times=3)
    vi.colleague.edit(last, method="GET", path="/flows$", moment="after", skip=2)
    vi.colleague.edit(first, method="GET", path="/flows$", moment="after", skip=4)
    uri = run(tmp_path / "flows.jsonl", **filters)["uri"]
    living = before & set(vi.store.flow_ids())
    assert len(living) == 37
    assert living <= set(ids(uri)) <= before


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda listing: "-".join(listing.values()))
def test_living_flow_is_never_reported_as_removed(listing: Any, vi: Emulator, tmp_path: Path) -> None:
    vi.configure(**listing)
    run(tmp_path / "1.jsonl")
    vi.colleague.delete(method="GET", path="lows$", moment="after", times=5)
    result = run(tmp_path / "2.jsonl", compare_to="previous")
    old, new = set(ids(f"{tmp_path}/1.jsonl")), set(ids(f"{tmp_path}/2.jsonl"))
    assert result["removed"] == len(old - new)
    assert not (old - new) & set(vi.store.flow_ids())


def test_manifest_counts_listings_and_late_flows(vi: Emulator, tmp_path: Path) -> None:
    vi.configure(cursor="offset")
    vi.colleague.delete(method="GET", path="/flows$", moment="after", times=1)
    manifest = verify(run(tmp_path / "flows.jsonl")["uri"])
    assert (manifest.passes, manifest.late, manifest.count) == (3, 1, 40)
