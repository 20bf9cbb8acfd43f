"""How the shared poller finds runs and checkpoints: by id, in the listing, and the newest one that matches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

import pytest

from tests.documents import wire_run, wire_run_output
from tests.unit.gates.turns import turns_of_others
from vi_airflow_provider.api.errors import ViNotFoundError, ViServerError
from vi_airflow_provider.api.models import Run, RunOutput
from vi_airflow_provider.api.protocol.page_sizes import SMALL
from vi_airflow_provider.api.protocol.runs import RunScan
from vi_airflow_provider.api.run_state import FLOW_ID_ATTRIBUTE
from vi_airflow_provider.gates.reader import GETS_PER_PAGE
from vi_airflow_provider.gates.run_condition import RunTarget
from vi_airflow_provider.gates.run_source import CHECKPOINTS, RUNS
from vi_airflow_provider.gates.source import Extent, Listing
from vi_airflow_provider.gates.timers import BATCH


def run_of(run_id: str, *, flow: str = "f", project: str = "p", created: int = 1, **attributes: str) -> Run:
    document = wire_run(
        runId=run_id,
        spec__trainingProject=project,
        metadata__timeCreated=created,
        metadata__attributes={FLOW_ID_ATTRIBUTE: flow, **attributes},
    )
    return Run.model_validate(document)


@dataclass
class Client:
    """The calls that the sources make, over a list of runs."""

    runs: list[Run]
    page_size: int | None = None
    complete: bool = True
    outputs: list[RunOutput] = field(default_factory=list)
    scans: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def settings(self) -> Any:
        return SimpleNamespace(page_size=self.page_size)

    async def list_runs(self) -> AsyncIterator[Run]:
        for run in self.runs:
            yield run

    async def list_run_outputs(self, run_id: str) -> AsyncIterator[RunOutput]:
        for output in self.outputs:
            if output.run_id == run_id:
                yield output

    async def get_run(self, run_id: str) -> Run:
        if run_id == "broken":
            raise ViServerError("503")
        for run in self.runs:
            if run.run_id == run_id:
                return run
        raise ViNotFoundError("404")

    async def scan_runs(self, run_ids: Collection[str], max_pages: int | None, *, gets_per_page: int) -> RunScan:
        self.scans.append((set(run_ids), max_pages, gets_per_page))
        return RunScan([run for run in self.runs if run.run_id in run_ids], 7, self.complete)


def get(client: Any, key: RunTarget) -> str | None:
    run = asyncio.run(RUNS.get(client, key))
    return run.run_id if run is not None else None


def scan(client: Any, *keys: RunTarget, max_pages: int | None = None) -> Listing[RunTarget, Run]:
    return asyncio.run(RUNS.scan(client, keys, Extent(max_pages)))


def found(listing: Listing[RunTarget, Run], key: RunTarget) -> str | None:
    run = listing.found(key)
    return run.run_id if run is not None else None


# --- by id ---------------------------------------------------------------------------------------------------------


def test_a_run_is_read_by_its_id() -> None:
    client = Client([run_of("a"), run_of("b")])
    assert [get(client, RunTarget(run_id=run_id)) for run_id in ("b", "missing")] == ["b", None]
    with pytest.raises(ViServerError):
        get(client, RunTarget(run_id="broken"))


@pytest.mark.parametrize("complete", [True, False])
def test_several_ids_are_found_in_one_scan(complete: bool) -> None:
    client = Client([run_of("a"), run_of("b"), run_of("c")], complete=complete)
    keys = [RunTarget(run_id=run_id) for run_id in ("a", "c", "missing")]
    listing = scan(client, *keys, max_pages=3)
    assert client.scans == [({"a", "c", "missing"}, 3, GETS_PER_PAGE)]
    assert (listing.pages, listing.complete) == (7, complete)
    assert [found(listing, key) for key in keys] == ["a", "c", None]


# --- the newest one that matches -----------------------------------------------------------------------------------

OF_FLOW: Final = RunTarget(flow_id="f1")
IN_PROJECT: Final = RunTarget(training_project="p1")
OF_BOTH: Final = RunTarget(flow_id="f1", training_project="p1")
OF_TEAM: Final = RunTarget(attributes={"team": "weld"})
BY_ID: Final = RunTarget(run_id="old")

RUN_LIST: Final = [
    run_of("old", flow="f1", project="p1", created=1, team="weld"),
    run_of("newest-of-team", flow="f2", project="p2", created=9, team="weld"),
    run_of("newest-of-flow", flow="f1", project="p2", created=5),
    run_of("newest-in-project", flow="f2", project="p1", created=6),
    run_of("of-both", flow="f1", project="p1", created=2, team="other"),
]
NEWEST: Final = {
    OF_FLOW: "newest-of-flow",
    IN_PROJECT: "newest-in-project",
    OF_BOTH: "of-both",
    OF_TEAM: "newest-of-team",
    BY_ID: "old",
    RunTarget(flow_id="f3"): None,
}


@pytest.mark.parametrize("runs", [RUN_LIST, RUN_LIST[::-1]], ids=["oldest first", "newest first"])
def test_the_newest_match_is_found_in_any_order(runs: list[Run]) -> None:
    client = Client(runs)
    listing = scan(client, *NEWEST)
    assert {key: found(listing, key) for key in NEWEST} == NEWEST
    assert {key: get(client, key) for key in NEWEST} == NEWEST
    assert listing.complete
    assert client.scans == []


def test_a_run_is_the_newest_of_all_that_are_equally_old() -> None:
    runs = [run_of(run_id, flow="f1") for run_id in ("a", "c", "b")]
    assert get(Client(runs), OF_FLOW) == get(Client(runs[::-1]), OF_FLOW) == "c"


@pytest.mark.parametrize(
    ("runs", "page_size", "pages"),
    [(0, 10, 1), (1, 10, 1), (10, 10, 1), (11, 10, 2), (25, 10, 3), (SMALL, None, 1), (SMALL + 1, None, 2)],
)
def test_the_pages_of_a_whole_listing_are_counted(runs: int, page_size: int | None, pages: int) -> None:
    client = Client([run_of(f"r{number}") for number in range(runs)], page_size)
    assert scan(client, OF_FLOW).pages == pages


def test_a_long_listing_lets_other_tasks_run() -> None:
    client: Any = Client([run_of("a")] * (4 * BATCH + 1))
    assert asyncio.run(turns_of_others(RUNS.scan(client, [OF_FLOW], Extent()))) == 4


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_the_checkpoints_of_one_run_are_read_by_themselves() -> None:
    outputs = [
        RunOutput.model_validate(wire_run_output(runId=run_id, runOutputId=name)) for run_id in "ab" for name in "xy"
    ]
    client: Any = Client([], outputs=outputs)
    read = asyncio.run(CHECKPOINTS.get(client, "b"))
    assert [(output.run_id, output.run_output_id) for output in read] == [("b", "x"), ("b", "y")]
    assert not CHECKPOINTS.needs_listing("b")
    assert not CHECKPOINTS.must_be_created("b")
    assert asyncio.run(CHECKPOINTS.scan(client, ["a", "b"], Extent())) == Listing(0, False, None)


def test_checkpoints_are_as_new_as_the_newest_of_them() -> None:
    outputs = [RunOutput.model_validate(wire_run_output(metadata__timeCreated=time)) for time in (3, 5, 4)]
    assert CHECKPOINTS.created(outputs) == 5
    assert CHECKPOINTS.created([]) == 0


def test_a_run_may_exist_before_it_matches() -> None:
    assert not RUNS.must_be_created(OF_FLOW)
    assert RUNS.created(run_of("a", created=8)) == 8
    assert [RUNS.needs_listing(key) for key in (OF_FLOW, BY_ID)] == [True, False]
