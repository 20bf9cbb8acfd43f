"""One poll of a change detector, without a trigger: turns of the event loop, and versions of odd documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

import pytest

from tests.documents import wire_flow
from tests.unit.gates.turns import turns_of_others
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.gates.changes import Snapshot
from vi_airflow_provider.gates.flow_changes import EVENTS, FlowChangeDetector
from vi_airflow_provider.selection.filter import FlowFilter

ORGANIZATION: Final = "one"


class Client:
    """A listing without requests."""

    settings = SimpleNamespace(organization_id=ORGANIZATION)

    def __init__(self, flows: Sequence[Flow]) -> None:
        self._flows = flows

    async def list_flows(self) -> AsyncIterator[Flow]:
        for flow in self._flows:
            yield flow


def detector() -> FlowChangeDetector:
    return FlowChangeDetector(FlowFilter(), flow_id=None, events=EVENTS, spec_changes_only=False)


async def poll(*flows: Flow, before: Snapshot | None = None) -> Snapshot:
    client: Any = Client(flows)
    return await detector().poll(client, before)


def test_age_of_a_flow_is_that_of_the_poll() -> None:
    watching = FlowChangeDetector(
        FlowFilter.build(older_than="P1D"), flow_id=None, events=EVENTS, spec_changes_only=False
    )
    old = wire_flow(flowId="old", metadata__lastUpdated=1_700_000_000_000)
    new = wire_flow(flowId="new", metadata__lastUpdated=round(datetime.now(UTC).timestamp() * 1000))
    client: Any = Client([Flow.model_validate(flow) for flow in (old, new)])
    assert list(asyncio.run(watching.poll(client, None)).versions) == ["old"]


def turns_of_a_poll(flows: int) -> int:
    listing = (Flow.model_validate(wire_flow(flowId=f"f{number}")) for number in range(flows))
    return asyncio.run(turns_of_others(poll(*listing)))


@pytest.mark.parametrize(("flows", "turns"), [(9, 0), (10, 1), (35, 3)])
def test_long_listing_lets_other_tasks_run(flows: int, turns: int) -> None:
    assert turns_of_a_poll(flows) - turns_of_a_poll(0) == turns


@pytest.mark.parametrize("etag", ["\ud800", "1-é", ""])
def test_any_etag_tells_versions_apart(etag: str) -> None:
    first, second = (Flow.model_validate(wire_flow(etag=each)) for each in (etag, etag + "x"))
    before = asyncio.run(poll(first))
    assert asyncio.run(poll(first, before=before)).count == 0
    after = asyncio.run(poll(second, before=before))
    assert [change.events for change in after.changes.values()] == [("updated",)]
    assert len(after.versions[second.flow_id].version) == 16
