"""``RunStateSensor``: the same verdict in every mode, and the same as of a task that has started the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from tests.documents import wire_page, wire_run, wire_run_output, wire_spec
from tests.unit.api.test_run_models import LIVES
from tests.unit.gates.modes import CONTEXT, End, Mode, State, Waiting, events_of, stored
from tests.unit.gates.virtual import BEGIN, VirtualClock, VirtualVi
from vi_airflow_provider.api.errors import ViResponseError
from vi_airflow_provider.api.models import Run, RunState
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID
from vi_airflow_provider.gates.outcome import WaitOutcome, read_event
from vi_airflow_provider.gates.run_condition import RunGate
from vi_airflow_provider.sensors.runs import RunStateSensor
from vi_airflow_provider.training.watch import Limits, RunWatch
from vi_airflow_provider.triggers.run_states import RunStateTrigger

Wait = Callable[..., End]
every_mode: Final = pytest.mark.parametrize("mode", Mode)
RUN_ID: Final = "7e2a5d0c-0000-4000-8000-000000000001"


@pytest.fixture
def wait(clock: VirtualClock, vi: VirtualVi, monkeypatch: pytest.MonkeyPatch) -> Wait:
    def wait(mode: Mode, **arguments: Any) -> End:
        given = {"task_id": "gate", "poke_interval": 60.0, "timeout": 590.0, **arguments}
        if not {"flow_id", "training_project", "attributes"} & given.keys():
            given.setdefault("run_id", RUN_ID)
        return Waiting(clock, monkeypatch).wait(partial(RunStateSensor, **given), mode)

    return wait


def start(vi: VirtualVi, run_id: str = RUN_ID, project: str | None = None, **attributes: str) -> None:
    """Start a run that takes a minute, of which it is in the queue for six seconds."""
    spec: dict[str, Any] = {"flow": wire_spec()} | ({} if project is None else {"trainingProject": project})
    vi.store.put_run(run_id, {"spec": spec, "metadata": {"attributes": attributes}})


def plan(vi: VirtualVi, **fields: Any) -> None:
    vi.store.runs.plans.add(**{"run_seconds": 60.0, **fields})


def of(flow_id: str) -> dict[str, str]:
    return {"vi_airflow.flow_id": flow_id}


# --- verdicts ------------------------------------------------------------------------------------------------------


def serve(vi: VirtualVi, document: dict[str, Any]) -> None:
    output = wire_run_output(runId=RUN_ID, workspaceId=DEFAULT_ORGANIZATION_ID)
    vi.faults.add(path=f"/runs/{RUN_ID}/outputs", status=200, body=json.dumps(wire_page(output)), times=None)
    vi.faults.add(path=f"/runs/{RUN_ID}$", status=200, body=json.dumps(document), times=None)


VERDICTS: Final = {
    RunState.SUCCEEDED: (State.SUCCESS, ""),
    RunState.FAILED: (State.FAILED_FOR_GOOD, f"AirflowFailException: run {RUN_ID} has failed"),
    RunState.KILLED: (State.FAILED_FOR_GOOD, f"AirflowFailException: run {RUN_ID} was killed"),
    RunState.QUEUED: (State.FAILED_FOR_GOOD, "AirflowSensorTimeout"),
    RunState.RUNNING: (State.FAILED_FOR_GOOD, "AirflowSensorTimeout"),
}


@every_mode
@pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])
@pytest.mark.parametrize(("names", "state"), LIVES, ids=lambda value: value if isinstance(value, str) else None)
def test_every_vocabulary_and_order_has_one_verdict_in_every_mode(
    names: list[tuple[str, str]],
    state: RunState,
    killed: bool,
    mode: Mode,
    wait: Wait,
    vi: VirtualVi,
    clock: VirtualClock,
) -> None:
    expected = RunState.KILLED if killed and state is not RunState.SUCCEEDED else state
    for order in (names, names[::-1]):
        conditions = [
            {"condition": name, "status": status, "lastTransitionTime": 1_783_210_000_000 + number}
            for number, (name, status) in enumerate(order)
        ]
        killed_at = 1_783_210_000_500 if killed else None
        document = wire_run(
            runId=RUN_ID,
            workspaceId=DEFAULT_ORGANIZATION_ID,
            status__conditions=conditions,
            spec__killedAt=killed_at,
        )
        vi.faults.clear()
        clock.at(clock.elapsed + 90, partial(serve, vi, document))  # later, so that a trigger finds it
        end = wait(mode)
        assert end.state is VERDICTS[expected][0]
        assert end.error.startswith(VERDICTS[expected][1])
        assert bool(end.error) is bool(VERDICTS[expected][1])
        run = Run.model_validate(document)
        assert (run.state, RunWatch(Limits()).judge(run, BEGIN).ended) == (expected, expected.is_ended)


LIFE: Final = [RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED]


@every_mode
@pytest.mark.parametrize("state", LIFE)
@pytest.mark.parametrize("vocabulary", ["milestones", "product", "sdk_page", "docstrings"])
@pytest.mark.parametrize("order", ["newest_first", "oldest_first"])
def test_run_is_seen_in_each_state_of_its_life(
    order: str, vocabulary: str, state: RunState, mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock
) -> None:
    plan(vi, queue_seconds=200.0, run_seconds=400.0, order=order, vocabulary=vocabulary)
    clock.at(30, lambda: start(vi, **of("f")))
    end = wait(mode, states=state.value, timeout=1000)
    assert end.state is State.SUCCESS
    assert (end.xcom["run_id"], end.xcom["state"], end.xcom["flow_id"]) == (RUN_ID, state, "f")
    assert (end.xcom["model"] is not None) is (state is RunState.SUCCEEDED)
    assert end.xcom["url"].startswith("https://")


@every_mode
def test_summary_is_the_same_in_every_mode(mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock) -> None:
    plan(vi, checkpoints=12)
    clock.at(30, lambda: start(vi))
    end = wait(mode)
    assert end.state is State.SUCCESS
    assert (end.xcom["outputs"], end.xcom["adopted"], end.xcom["best"]) == (12, False, None)
    assert wait(Mode.POKE).xcom == end.xcom


@every_mode
@pytest.mark.parametrize("begins", [0.0, 30.0], ids=["before the wait", "between two polls"])
def test_run_that_has_ended_is_not_waited_for_to_run(
    begins: float, mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock
) -> None:
    plan(vi, run_seconds=10.0)
    clock.at(begins, lambda: start(vi))
    clock.sleep(20.0)
    end = wait(mode, states="running")
    assert end.state is State.FAILED_FOR_GOOD
    assert end.error == f"AirflowFailException: run {RUN_ID} has succeeded; it will not be running any more"
    assert clock.elapsed < 120  # virtual seconds


FAILING: Final[list[tuple[dict[str, Any], State, str]]] = [
    ({}, State.FAILED_FOR_GOOD, f"AirflowFailException: run {RUN_ID} has failed: "),
    ({"fail_on": "killed"}, State.FAILED_FOR_GOOD, "AirflowSensorTimeout"),
    ({"fail_on": ()}, State.FAILED_FOR_GOOD, "AirflowSensorTimeout"),
    ({"fail_on": [], "soft_fail": True}, State.SKIPPED, ""),
    ({"states": ("succeeded", "failed")}, State.SUCCESS, ""),
    ({"states": ["failed"], "fail_on": ()}, State.SUCCESS, ""),
    ({"soft_fail": True}, State.SKIPPED, ""),
    ({"never_fail": True}, State.SKIPPED, ""),
    ({"silent_fail": True}, State.FAILED_FOR_GOOD, "AirflowFailException: "),
]


@every_mode
@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(("arguments", "state", "error"), FAILING, ids=str)
def test_failed_run_ends_the_wait_as_the_arguments_demand(
    arguments: dict[str, Any],
    state: State,
    error: str,
    late: bool,
    mode: Mode,
    wait: Wait,
    vi: VirtualVi,
    clock: VirtualClock,
) -> None:
    plan(vi, scenario="fail_at_end", run_seconds=90.0 if late else 0.001)
    start(vi)
    clock.sleep(0.1)
    end = wait(mode, **arguments)
    assert (end.state, end.error[: len(error)], bool(end.error)) == (state, error, bool(error))


@every_mode
@pytest.mark.parametrize("script", ["never starts", "vanishes", "is stuck"])
def test_run_that_does_not_end_is_waited_for(
    script: str, mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock
) -> None:
    plan(vi, scenario="vanish" if script == "vanishes" else "stuck_queued", run_seconds=300.0)
    if script != "never starts":
        start(vi)
    end = wait(mode)
    assert (end.state, end.error) == (State.FAILED_FOR_GOOD, "AirflowSensorTimeout")
    assert clock.elapsed == pytest.approx(590, abs=1)


@every_mode
@pytest.mark.parametrize(("failures", "state"), [(9, State.SUCCESS), (10, State.FAILED)])
def test_checkpoints_that_cannot_be_read_are_failed_polls(
    failures: int, state: State, mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock
) -> None:
    plan(vi)
    clock.at(30, lambda: start(vi))
    vi.faults.add(path="/outputs", status=503, times=failures)
    end = wait(mode, timeout=3000)
    assert end.state is state
    assert end.error.startswith("" if state is State.SUCCESS else "ViServerError: ")


@every_mode
@pytest.mark.parametrize("at", ["the run", "the checkpoints"])
def test_key_that_is_rotated_does_not_end_the_wait(
    at: str, mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock
) -> None:
    plan(vi)
    clock.at(30, lambda: start(vi))
    clock.at(119.99 if at == "the checkpoints" else 70, vi.rotate_key)
    assert wait(mode).state is State.SUCCESS


# --- which run -----------------------------------------------------------------------------------------------------

OTHER: Final = "7e2a5d0c-0000-4000-8000-000000000002"
MATCHING: Final[list[dict[str, Any]]] = [
    {"flow_id": "f"},
    {"training_project": "weld"},
    {"attributes": {"line": "3"}},
    {"flow_id": "f", "training_project": "weld", "attributes": {"line": "3"}},
]


@every_mode
@pytest.mark.parametrize("wanted", MATCHING, ids=str)
def test_newest_run_that_matches_decides(
    wanted: dict[str, Any], mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock
) -> None:
    facts = {**of("f"), "line": "3"}
    plan(vi, scenario="fail_at_end", run_seconds=1.0, times=1)
    plan(vi, run_seconds=60.0)
    start(vi, OTHER, project="weld", **facts)
    clock.at(5, lambda: start(vi, RUN_ID, project="weld", **facts))
    clock.at(6, lambda: start(vi, "another-one", project="other", line="4", **of("g")))
    end = wait(mode, newest=True, fail_on="killed", **wanted)
    assert (end.state, end.xcom and end.xcom["run_id"]) == (State.SUCCESS, RUN_ID)


@every_mode
def test_run_that_starts_during_the_wait_replaces_an_older_one(
    mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock
) -> None:
    plan(vi, run_seconds=30.0)
    clock.at(100, lambda: start(vi, RUN_ID, **of("f")))
    plan(vi)
    end = wait(mode, newest="True", flow_id="f")
    assert end.xcom["run_id"] == RUN_ID


UNUSABLE: Final[list[tuple[dict[str, Any], str]]] = [
    ({"run_id": None}, "give either run_id, or"),
    ({"run_id": RUN_ID, "flow_id": "f", "newest": True}, "give either run_id, or"),
    ({"run_id": RUN_ID, "newest": True}, "newest: "),
    ({"flow_id": "f"}, "newest: set it to True"),
    ({"run_id": "None"}, "run_id: 'None' is given, or the template rendered to None"),
    ({"run_id": "../flows"}, "'../flows' is not a valid run id"),
    ({"run_id": ""}, "run_id: '' is empty"),
    ({"flow_id": "a/b", "newest": True}, "'a/b' is not a valid flow id"),
    ({"attributes": {"line": "None"}, "newest": True}, "attributes"),
    ({"states": "ended"}, "states[0]: "),
    ({"states": ()}, "states: at least one"),
    ({"fail_on": ["failed", "odd"]}, "fail_on[1]: "),
    ({"newest": "perhaps"}, "newest: 'perhaps'"),
]


@every_mode
@pytest.mark.parametrize(("arguments", "error"), UNUSABLE, ids=str)
def test_unusable_argument_fails_at_once(
    arguments: dict[str, Any], error: str, mode: Mode, wait: Wait, vi: VirtualVi
) -> None:
    end = wait(mode, **arguments)
    assert end.state is State.FAILED_FOR_GOOD
    assert end.error.startswith(f"AirflowFailException: ViValidationError: {error}")
    assert vi.requests == []


# --- the triggerer -------------------------------------------------------------------------------------------------


def trigger(target: dict[str, Any], **arguments: Any) -> RunStateTrigger:
    gate = RunGate.build(target, {}, newest="run_id" not in target).model_dump(mode="json")
    made: RunStateTrigger = stored(RunStateTrigger(vi_conn_id="vi_default", gate=gate, **arguments))
    return made


def test_thousand_waits_share_their_requests(vi: VirtualVi, clock: VirtualClock) -> None:
    """They end at the same time, when each of them needs the checkpoints of its run."""
    plan(vi, run_seconds=200.0, checkpoints=2)
    ids = [f"run-{number}" for number in range(200)]
    for run_id in ids:
        start(vi, run_id, **of(run_id))
    targets = [{"run_id": run_id} for run_id in ids] * 4 + [{"flow_id": run_id} for run_id in ids]

    async def main() -> list[Any]:
        waits = (trigger(target, deadline=BEGIN + 3600) for target in targets)
        return list(await asyncio.gather(*(events_of(each) for each in waits)))

    events = clock.run(main())
    ends = [read_event(event, "run") for (event,) in events]
    assert {end.outcome for end in ends} == {WaitOutcome.OPEN}
    assert [end.found and end.found["run_id"] for end in ends] == ids * 5
    outputs = [request for request in vi.requests if request.path.endswith("/outputs")]
    others = [request for request in vi.requests if not request.path.endswith("/outputs")]
    assert len(outputs) <= len(targets)
    polls, pages = 6, 3
    assert len(others) <= polls * pages
    assert clock.elapsed < 200 + 60 + 10


def test_wait_for_a_run_by_id_does_not_read_the_listing(vi: VirtualVi, clock: VirtualClock) -> None:
    plan(vi, run_seconds=100.0)
    start(vi)
    clock.run(events_of(trigger({"run_id": RUN_ID})))
    assert {request.path.rpartition("/runs")[2] for request in vi.requests} == {f"/{RUN_ID}", f"/{RUN_ID}/outputs"}


def test_stored_trigger_holds_plain_data(clock: VirtualClock) -> None:
    made = trigger({"flow_id": "f", "attributes": {"line": "3"}}, poke_interval=5)
    path, arguments = made.serialize()
    assert path == "vi_airflow_provider.triggers.run_states.RunStateTrigger"
    assert stored(made).serialize() == (path, json.loads(json.dumps(arguments)))


RUN: Final = {"run_id": RUN_ID, "url": "https://vi.example"}
EVENTS: Final = {
    "None": None,
    "a text": "open",
    "an event of another kind": {"version": 1, "outcome": "open", "flow": {"flow_id": "f"}},
    "an unknown outcome": {"version": 1, "outcome": "ended", "run": RUN},
    "another version": {"version": 2, "outcome": "open", "run": RUN},
    "open without a run": {"version": 1, "outcome": "open", "run": None},
    "open on a run without id": {"version": 1, "outcome": "open", "run": {"url": "x"}},
    "open with a reason": {"version": 1, "outcome": "open", "run": RUN, "reason": "x"},
    "a failure without a reason": {"version": 1, "outcome": "failed", "run": None},
    "a timeout with a run": {"version": 1, "outcome": "timeout", "run": RUN},
}


@pytest.mark.parametrize("lenient", [{}, {"soft_fail": True}, {"never_fail": True}], ids=str)
@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_unknown_event_is_neither_success_nor_skip(event: Any, lenient: dict[str, Any]) -> None:
    sensor = RunStateSensor(task_id="gate", run_id=RUN_ID, **lenient)
    with pytest.raises(ViResponseError, match="not understood"):
        sensor.resume_execution("execute_complete", {"event": event}, CONTEXT)


def test_skip_states_the_reason_of_the_run() -> None:
    event = {"version": 1, "outcome": "failed", "run": None, "reason": f"run {RUN_ID} has failed: out of memory"}
    sensor = RunStateSensor(task_id="gate", run_id=RUN_ID, soft_fail=True)
    with pytest.raises(AirflowSkipException, match="out of memory"):
        sensor.execute_complete(CONTEXT, event)
