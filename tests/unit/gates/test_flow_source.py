"""How the shared poller finds flows in the listing: which flow a key means, and what the listing is asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.documents import wire_flow
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.api.protocol.codec import Scan
from vi_airflow_provider.gates.condition import Target
from vi_airflow_provider.gates.flow_source import FLOWS
from vi_airflow_provider.gates.source import Extent, Listing


def flow_of(flow_id: str, name: str, *, project: str = "p", updated: int = 1_783_209_600_456) -> Flow:
    changes = {"spec__name": name, "spec__trainingProject": project, "metadata__lastUpdated": updated}
    return Flow.model_validate(wire_flow(flowId=flow_id, **changes))


NOW: Final = 1_783_209_600_456
FOUND: Final = [
    flow_of("a", "weld", updated=NOW + 1),
    flow_of("b", "weld", updated=NOW + 3, project="q"),
    flow_of("c", "weld", updated=NOW + 2),
    flow_of("d", "paint"),
]


@dataclass
class Client:
    """Answers a scan, and remembers what was asked for."""

    scan: Scan
    asked: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    async def scan_flows(self, *arguments: Any, **options: Any) -> Scan:
        self.asked = arguments, options
        return self.scan


def scan(client: Any, *keys: Target, extent: Extent = Extent()) -> Listing[Target, Flow]:  # noqa: B008 - immutable
    return asyncio.run(FLOWS.scan(client, keys, extent))


@pytest.mark.parametrize(
    ("key", "flow_id"),
    [
        (Target(flow_id="a"), "a"),
        (Target(flow_id="a", training_project="q"), None),
        (Target(flow_id="e"), None),
        (Target(flow_name="weld"), "b"),
        (Target(flow_name="weld", training_project="p"), "c"),
        (Target(flow_name="paint"), "d"),
        (Target(flow_name="seal"), None),
    ],
    ids=str,
)
def test_a_name_means_the_flow_that_was_updated_last(key: Target, flow_id: str | None) -> None:
    found = scan(Client(Scan(FOUND, 2, complete=True)), key).found(key)
    assert (found and found.flow_id) == flow_id


def test_a_listing_is_read_as_far_as_requested() -> None:
    client = Client(Scan([], 3, complete=False, next_page="next"))
    extent = Extent(max_pages=3, page_token="here", enough=lambda times, earlier: False)
    keys = [Target(flow_id="a"), Target(flow_name="weld"), Target(flow_id="b")]
    listing = scan(client, *keys, extent=extent)
    assert client.asked == (({"a", "b"}, {"weld"}, 3), {"page_token": "here", "enough": extent.enough})
    assert listing == Listing(3, complete=False, find=None, next_page="next")


@pytest.mark.parametrize(
    ("key", "created"),
    [
        (Target(flow_id="a"), True),
        (Target(flow_name="weld"), True),
        (Target(flow_name="weld", training_project="p"), True),
        (Target(flow_id="a", training_project="p"), False),
    ],
    ids=str,
)
def test_only_a_known_flow_can_move_to_a_training_project(key: Target, created: bool) -> None:
    assert FLOWS.must_be_created(key) is created
