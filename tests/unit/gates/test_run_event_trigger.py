"""Runs that start and end become events: each once, also through restarts, kills and failures."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

import pytest

from tests.documents import wire_page, wire_run, wire_spec
from tests.unit.gates.modes import stored
from tests.unit.gates.virtual import VirtualClock, VirtualVi
from tests.unit.gates.watching import Watching
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID
from vi_airflow_provider.gates.changes import MAX_LISTED
from vi_airflow_provider.triggers.events import RunEventTrigger

OF_FLOW: Final[dict[str, Any]] = {"vi_airflow.flow_id": "f"}
SCENARIOS: Final = {"succeed": "succeeded", "fail_at_end": "failed", "killed_by_person": "killed"}


@pytest.fixture
def watching(vi: VirtualVi, clock: VirtualClock) -> Watching:
    """A watcher of all runs."""
    return Watching(clock, RunEventTrigger)


def start(vi: VirtualVi, run_id: str, seconds: float = 100.0, scenario: Any = "succeed", **attributes: Any) -> None:
    vi.store.runs.plans.add(run=f"^{run_id}$", times=1, run_seconds=seconds, scenario=scenario)
    spec = {"flow": wire_spec(name=f"flow of {run_id}"), "trainingProject": attributes.pop("project", "weld")}
    vi.store.put_run(run_id, {"spec": spec, "metadata": {"attributes": attributes}})


# --- what is reported ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_run_starts_and_ends_once(scenario: str, vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    clock.at(100, lambda: start(vi, "a", scenario=scenario))
    watching.run(1000)
    assert watching.changes == [("a", "started"), ("a", SCENARIOS[scenario])]


def test_what_was_there_before_causes_no_event(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    start(vi, "ended", seconds=1.0)
    start(vi, "active", seconds=400.0)
    clock.sleep(10)
    watching.run(1000)
    assert watching.changes == [("active", "succeeded")]


def test_short_run_is_reported_with_both_events(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    clock.at(100, lambda: start(vi, "a", seconds=1.0))
    watching.run(1000)
    assert watching.changes == [("a", "started"), ("a", "succeeded")]
    assert [payload["count"] for _, payload in watching.events] == [2]


def test_run_that_goes_back_and_forth_has_each_event_once(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    """The platform restarts a run that has failed, and it fails again."""
    failed, running = ("Finished", "FailedReach"), ("Started", "Reached")
    lives = [[running], [running, failed], [running], [running, failed], [running], [running, ("Finished", "Reached")]]
    for number, life in enumerate(lives):
        conditions = [{"condition": name, "status": status, "lastTransitionTime": 1} for name, status in life]
        document = wire_run(runId="a", workspaceId=DEFAULT_ORGANIZATION_ID, status__conditions=conditions)
        body = json.dumps(wire_page(document))
        clock.at(100 + number * 60, vi.faults.clear)
        clock.at(100.1 + number * 60, partial(vi.faults.add, path="/runs$", status=200, body=body, times=None))
    watching.run(1000)
    assert watching.changes == [("a", "started"), ("a", "failed"), ("a", "succeeded")]


def test_event_carries_the_summary_of_the_run(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.connect(extra={"verify": False, "ui_url_template": "https://ui.test/{flow_id}/{run_id}"})
    clock.at(100, lambda: start(vi, "a", scenario="fail_at_end", **OF_FLOW))
    clock.at(100, lambda: start(vi, "b", scenario="fail_at_end"))
    watching.run(1000, events=["failed"])
    ((_, payload),) = watching.events
    change, without_flow = payload["changes"]
    assert (payload["version"], payload["count"], payload["vi_conn_id"]) == (1, 2, "vi_default")
    assert (change["event"], change["run_id"], change["state"], change["flow_id"]) == ("failed", "a", "failed", "f")
    assert change["reason"]
    assert (change["url"], without_flow["url"]) == ("https://ui.test/f/a", "https://ui.test//b")
    assert "log" not in change


WANTED: Final[list[tuple[dict[str, Any], set[str]]]] = [
    ({}, {"a", "b", "c"}),
    ({"flow_id": "f"}, {"a"}),
    ({"training_project": "weld"}, {"a", "b"}),
    ({"attributes": {"line": "3"}}, {"b"}),
    ({"training_project": "weld", "attributes": {"line": "4"}}, set()),
]


@pytest.mark.parametrize(("arguments", "expected"), WANTED, ids=str)
def test_only_watched_runs_are_reported(
    arguments: dict[str, Any], expected: set[str], vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    clock.at(100, lambda: start(vi, "a", **OF_FLOW))
    clock.at(101, lambda: start(vi, "b", line="3"))
    clock.at(102, lambda: start(vi, "c", project="other"))
    watching.run(1000, events=["succeeded"], **arguments)
    assert {run_id for run_id, _ in watching.changes} == expected


def test_many_events_at_once_are_payloads_of_limited_size(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    ids = [f"r{number:03}" for number in range(MAX_LISTED + 20)]
    for run_id in ids:
        clock.at(100, partial(start, vi, run_id, seconds=0.001))
    watching.run(200)
    assert [payload["count"] for _, payload in watching.events] == [MAX_LISTED, MAX_LISTED, 40]
    assert watching.changes == [(run_id, event) for run_id in ids for event in ("started", "succeeded")]


# --- restarts, kills and failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", [130.0, 181.0, 250.0, 299.0, 301.0, 400.0])
def test_restart_of_the_triggerer_neither_loses_nor_repeats_an_event(
    restart: float, vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    clock.at(100, lambda: start(vi, "a", seconds=150.0))
    watching.run(restart)
    clock.sleep(400 - restart if restart < 400 else 60)
    watching.run(2000)
    assert sorted(watching.changes) == [("a", "started"), ("a", "succeeded")]


@pytest.mark.parametrize("killed", [*range(60, 320, 7), 121.5, 122.0, 241.5, 242.0])
def test_kill_at_any_moment_loses_no_event(
    killed: float, vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    clock.at(70, lambda: start(vi, "a", seconds=120.0))
    watching.run_and_kill(float(killed), takes=2.0)
    watching.run(2000)
    assert set(watching.changes) == {("a", "started"), ("a", "succeeded")}


def test_service_that_fails_delays_events_and_loses_none(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    clock.at(70, lambda: start(vi, "a"))
    clock.at(90, lambda: vi.faults.add(status=503, times=7))
    clock.at(800, lambda: vi.faults.add(status=404, times=2))
    clock.at(1000, lambda: start(vi, "b"))
    watching.run(3000)
    assert sorted(watching.changes) == [(run_id, event) for run_id in "ab" for event in ("started", "succeeded")]


def test_listing_that_misses_a_run_does_not_start_it_again(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    clock.at(70, lambda: start(vi, "a"))
    clock.at(400, lambda: vi.faults.add(path="/runs$", status=200, body='{"items": []}', times=3))
    watching.run(1500)
    assert watching.changes == [("a", "started"), ("a", "succeeded")]


def test_run_that_is_deleted_causes_no_event(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    clock.at(70, lambda: start(vi, "a", seconds=10.0))
    clock.at(300, lambda: vi.store.delete_run("a"))
    watching.run(1500)
    assert watching.changes == [("a", "started"), ("a", "succeeded")]


# --- arguments -----------------------------------------------------------------------------------------------------


def test_stored_trigger_has_the_arguments_that_it_was_made_with() -> None:
    given: dict[str, Any] = {"flow_id": "f", "attributes": {"line": "3"}, "events": ["failed"], "poll_interval": 5.0}
    path, arguments = stored(RunEventTrigger(**given)).serialize()
    assert path == "vi_airflow_provider.triggers.events.RunEventTrigger"
    assert json.loads(json.dumps(arguments)) == {
        **given,
        "vi_conn_id": "vi_default",
        "training_project": None,
        "max_failures": 10,
    }


@pytest.mark.parametrize("events", [[], ["ended"], ["started", "queued"]], ids=str)
def test_unknown_events_are_refused(events: list[str]) -> None:
    with pytest.raises(ValueError, match="events"):
        RunEventTrigger(events=events)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"flow_id": "a/b"}, "'a/b' is not a valid flow id"), ({"training_project": ""}, "training_project: ")],
    ids=str,
)
def test_unusable_filters_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ViValidationError, match=message):
        RunEventTrigger(**arguments)
