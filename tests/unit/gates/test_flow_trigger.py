"""A gate on the triggerer: what it stores, when it polls, and the one event in which it ends."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any, Final

import pytest

from tests.unit.gates.flow_triggers import HOUR, end_of, gate, polls, trigger
from tests.unit.gates.modes import events_of, stored
from tests.unit.gates.virtual import BEGIN, LATENCY, VirtualClock, VirtualVi
from vi_airflow_provider.api import async_client
from vi_airflow_provider.api.errors import ViServerError
from vi_airflow_provider.gates.condition import Gate
from vi_airflow_provider.gates.outcome import WaitOutcome, WaitResult
from vi_airflow_provider.gates.pacing import MAX_DRIFT, MAX_SPREAD, MIN_INTERVAL
from vi_airflow_provider.gates.timers import RESOLUTION
from vi_airflow_provider.sensors.flows import FlowSpecSensor
from vi_airflow_provider.triggers.flows import FlowTrigger

DAY: Final = 24 * HOUR


# --- what is stored ------------------------------------------------------------------------------------------------

CONDITION: Final = FlowSpecSensor(
    task_id="gate",
    flow_id="f",
    expected_digest="d",
    required_blocks=("a", "b"),
    min_generation=3,
    attributes={"k": "v"},
    unchanged_for="P1DT2H",
).gate()

ARGUMENTS: Final[list[dict[str, Any]]] = [
    {"vi_conn_id": "c", "gate": gate()},
    {
        "vi_conn_id": "c",
        "gate": CONDITION.model_dump(mode="json"),
        "deadline": BEGIN + 0.1,
        "poke_interval": 0.5,
        "first_look": BEGIN,
        "max_failures": None,
        "failures": 3,
    },
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=["few", "all"])
def test_a_trigger_survives_storage(arguments: dict[str, Any]) -> None:
    one = FlowTrigger(**arguments)
    other = stored(one)
    assert one.serialize() == other.serialize()
    assert {key: value for key, value in one.serialize()[1].items() if key in arguments} == arguments


def test_a_stored_trigger_is_plain_json_without_a_secret(vi: VirtualVi, clock: VirtualClock) -> None:
    waiting = trigger(deadline=BEGIN + 61)
    clock.run(events_of(waiting))  # also after it has read the connection

    path, arguments = waiting.serialize()
    assert path == "vi_airflow_provider.triggers.flows.FlowTrigger"
    assert json.loads(json.dumps(arguments, allow_nan=False)) == arguments
    assert "dtvi_" not in repr(arguments) + repr(vars(waiting))


#: Rows of Airflow's table ``trigger``, as commit 8fb970b wrote them.
STORED: Final = {
    "a gate for a flow": """{"vi_conn_id": "vi_default", "gate": {"target": {"flow_id": "f", "flow_name": null,
        "training_project": null}, "condition": {"absent": false, "expected_digest": null, "required_blocks": [],
        "min_generation": null, "attributes": {}, "unchanged_for": null}}, "deadline": 1783036799.5,
        "poke_interval": 60.0, "first_look": 1782950459.25, "max_failures": 10, "failures": 0}""",
    "a gate for a condition": """{"vi_conn_id": "c", "gate": {"target": {"flow_id": "f", "flow_name": null,
        "training_project": null}, "condition": {"absent": false, "expected_digest": "d", "required_blocks": ["a", "b"],
        "min_generation": 3, "attributes": {"k": "v"}, "unchanged_for": "P1DT2H"}}, "deadline": null,
        "poke_interval": 0.5, "first_look": 0.0, "max_failures": null, "failures": 3}""",
    "a gate for a name": """{"vi_conn_id": "c", "gate": {"target": {"flow_id": null, "flow_name": "weld",
        "training_project": "p"}, "condition": {"absent": true, "expected_digest": null, "required_blocks": [],
        "min_generation": null, "attributes": {}, "unchanged_for": null}}, "deadline": 1783036799.5,
        "poke_interval": 300.0, "first_look": 1782950459.25, "max_failures": 2, "failures": 1}""",
}


@pytest.mark.parametrize("row", STORED.values(), ids=STORED)
def test_a_trigger_stored_by_an_earlier_version_loads_unchanged(row: str) -> None:
    """Tasks wait while the package is updated, and may wait while it is rolled back."""
    arguments = json.loads(row)
    loaded = FlowTrigger(**arguments)
    assert loaded.serialize() == ("vi_airflow_provider.triggers.flows.FlowTrigger", arguments)
    assert Gate.model_validate(loaded.gate).model_dump(mode="json") == arguments["gate"]


def test_new_arguments_have_defaults(vi: VirtualVi, clock: VirtualClock) -> None:
    first_version: dict[str, Any] = {
        "vi_conn_id": "vi_default",
        "gate": {"target": {"flow_id": "f"}},
        "deadline": BEGIN + 100,
        "poke_interval": 60.0,
        "first_look": 0.0,
        "max_failures": 10,
    }
    loaded = FlowTrigger(**first_version)
    assert loaded.serialize()[1] == {**first_version, "failures": 0}
    vi.put("f")
    (event,) = clock.run(events_of(loaded))
    assert event["outcome"] == "open"


@pytest.mark.parametrize(("given", "kept"), [(0, MIN_INTERVAL), (0.01, MIN_INTERVAL), (0.5, 0.5), (90, 90)])
def test_poke_interval_has_a_lower_bound(given: float, kept: float) -> None:
    assert trigger(poke_interval=given).poke_interval == kept


# --- when it polls -------------------------------------------------------------------------------------------------


def test_polls_meet_the_ticks_that_all_gates_share(vi: VirtualVi, clock: VirtualClock) -> None:
    clock.sleep(33)  # half a minute past a tick
    end_of(clock, trigger(poke_interval=60, deadline=BEGIN + 1800))
    *moments, last = polls(vi)
    assert moments[0] == pytest.approx(33 + MAX_DRIFT * 60, abs=1.1 * RESOLUTION)
    assert all((BEGIN + at) % 60 <= MAX_SPREAD + RESOLUTION for at in moments[10:])
    assert last == pytest.approx(1800, abs=1.1 * RESOLUTION)


@pytest.mark.parametrize("phase", [0.0, 1.0, 30.5, 59.9])
def test_the_first_poll_is_exactly_when_it_is_due(phase: float, vi: VirtualVi, clock: VirtualClock) -> None:
    clock.sleep(phase)
    end_of(clock, trigger(poke_interval=60, first_look=BEGIN + phase + 60, deadline=BEGIN + 500))
    first, second, *_ = polls(vi)
    assert first == pytest.approx(phase + 60, abs=1.1 * RESOLUTION)
    assert 60 - RESOLUTION <= second - first <= 60 * (1 + MAX_DRIFT) + 2 * RESOLUTION


@pytest.mark.parametrize("interval", [MIN_INTERVAL, 0.5, 7.0, 60.0, 600.0])
@pytest.mark.parametrize("rule", [{"latency_ms": 1}, {"status": 503}, {"latency_ms": 30_000}], ids=str)
def test_two_polls_are_at_least_an_interval_apart(
    interval: float, rule: dict[str, Any], vi: VirtualVi, clock: VirtualClock
) -> None:
    vi.faults.add(**rule, times=None)
    deadline = 12 * (interval + rule.get("latency_ms", 0) / 1000 + LATENCY)
    end_of(clock, trigger(poke_interval=interval, deadline=BEGIN + deadline, max_failures=None))
    *moments, _last = polls(vi)
    assert len(moments) >= 10
    assert min(two - one for one, two in pairwise(moments)) >= interval - 1e-6


@pytest.mark.parametrize("first_look", [0.0, 100.0, 10 * HOUR])
def test_the_first_poll_is_not_after_the_deadline(first_look: float, vi: VirtualVi, clock: VirtualClock) -> None:
    end_of(clock, trigger(first_look=BEGIN + first_look, deadline=BEGIN + 200))
    assert min(first_look, 200) - 1e-6 <= polls(vi)[0] <= min(first_look + 4, 200) + 1.1 * RESOLUTION


def test_backoff_continues_after_a_restart(vi: VirtualVi, clock: VirtualClock) -> None:
    """The pauses follow from the begin of the wait, which is stored."""
    given: dict[str, Any] = {"exponential_backoff": True, "max_wait": 1000.0, "began": BEGIN, "first_look": BEGIN + 60}
    waiting = trigger(deadline=BEGIN + 10_000, **given)

    async def killed_after(seconds: float) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(events_of(waiting), seconds)

    clock.run(killed_after(800))
    end_of(clock, stored(waiting))
    before, after = ([at for at in polls(vi) if (at < 800) is early] for early in (True, False))
    assert before == [pytest.approx(due, abs=12) for due in (60, 180, 420)]
    assert after[0] < 810
    pauses = [two - one for one, two in pairwise(after[:-1])]
    assert pauses == [pytest.approx(480, abs=5), pytest.approx(960, abs=5), *[pytest.approx(1000, abs=5)] * 7]


@pytest.mark.parametrize("ago", [0.0, 1.0, 10 * HOUR])
def test_a_deadline_in_the_past_allows_one_poll(ago: float, vi: VirtualVi, clock: VirtualClock) -> None:
    assert end_of(clock, trigger(deadline=BEGIN - ago)) == WaitResult(WaitOutcome.TIMEOUT)
    assert polls(vi) == [pytest.approx(0)]

    vi.put("f")
    assert end_of(clock, trigger(deadline=BEGIN - ago)).outcome is WaitOutcome.OPEN


@pytest.mark.parametrize("deadline", [59.0, 60.0, 61.0, 64.0, 90.0, 121.0])
def test_there_is_exactly_one_poll_at_the_deadline(deadline: float, vi: VirtualVi, clock: VirtualClock) -> None:
    assert end_of(clock, trigger(deadline=BEGIN + deadline)) == WaitResult(WaitOutcome.TIMEOUT)
    assert deadline <= polls(vi)[-1] <= deadline + 1.1 * RESOLUTION
    assert sum(at > deadline - 1e-3 for at in polls(vi)) == 1
    assert clock.elapsed < deadline + 1


def test_without_a_deadline_it_waits_forever(vi: VirtualVi, clock: VirtualClock) -> None:
    clock.at(400 * DAY, lambda: vi.put("f"))
    ended = end_of(clock, trigger(deadline=None, poke_interval=5 * DAY))
    assert ended.outcome is WaitOutcome.OPEN
    assert clock.elapsed == pytest.approx(400 * DAY, abs=5 * DAY + 1)


def test_a_restart_of_the_triggerer_does_not_move_the_deadline(vi: VirtualVi, clock: VirtualClock) -> None:
    waiting = trigger(deadline=BEGIN + 1000)

    async def killed_after(seconds: float) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(events_of(waiting), seconds)

    for _ in range(3):
        clock.run(killed_after(290))
        waiting = stored(waiting)
    assert end_of(clock, waiting) == WaitResult(WaitOutcome.TIMEOUT)
    assert clock.elapsed == pytest.approx(1000, abs=0.1)


@pytest.mark.parametrize("jump", [-10 * HOUR, -90.0, 90.0, 10 * HOUR])
def test_changes_of_the_wall_clock_do_not_stop_the_polls(jump: float, vi: VirtualVi, clock: VirtualClock) -> None:
    clock.at(1000, lambda: clock.set_wall(jump))
    clock.at(2000, lambda: vi.put("f"))
    ended = end_of(clock, trigger(deadline=BEGIN + 100 * HOUR))
    assert ended.outcome is WaitOutcome.OPEN
    assert max(two - one for one, two in pairwise(polls(vi))) < 2 * 60 + 1
    assert clock.elapsed < 2000 + 2 * 60


# --- how it ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 1, 9])
def test_failures_before_the_handover_count(before: int, vi: VirtualVi, clock: VirtualClock) -> None:
    vi.faults.add(status=503, times=None)
    ended = end_of(clock, trigger(failures=before))
    assert ended.outcome is WaitOutcome.OUTAGE
    assert isinstance(ended.error, ViServerError)
    assert len(vi.requests) == 10 - before


def test_a_successful_poll_resets_the_failures(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.faults.add(status=503, times=None, skip=1)
    end_of(clock, trigger(failures=9))
    assert len(vi.requests) == 1 + 10


def test_an_error_at_the_deadline_is_not_reported_as_a_timeout(vi: VirtualVi, clock: VirtualClock) -> None:
    for status, outcome in ((503, WaitOutcome.OUTAGE), (403, WaitOutcome.REFUSED)):
        vi.faults.add(status=status)
        assert end_of(clock, trigger(deadline=clock.now, max_failures=1)).outcome is outcome


@pytest.mark.parametrize(
    ("variable", "outcome", "error"),
    [
        (None, "outage", "ViError"),
        ('{"conn_type": "vi", "login": "o", "password": "short"}', "refused", "ViConfigurationError"),
    ],
)
def test_a_connection_that_cannot_be_used_ends_in_an_event(
    variable: str | None,
    outcome: str,
    error: str,
    vi: VirtualVi,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_VI_DEFAULT")
    if variable:
        monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", variable)
    (event,) = clock.run(events_of(trigger()))
    assert event["outcome"] == outcome
    assert event["error"]["type"] == error
    assert vi.requests == []


def test_a_cancelled_gate_leaves_no_task_behind(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.faults.add(latency_ms=50_000, times=None)

    async def main() -> None:
        waiting = asyncio.create_task(events_of(trigger()))
        await asyncio.sleep(5)
        assert waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert asyncio.all_tasks() == {asyncio.current_task()}

    clock.run(main())
    assert vi.requests == []


def test_the_session_is_closed_before_the_event_is_yielded(
    vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A triggerer need not resume the generator after the event."""
    closed: list[float] = []

    async def close(_client: object) -> None:
        closed.append(clock.elapsed)

    monkeypatch.setattr(async_client.AsyncViClient, "close", close)
    vi.put("f")

    async def main() -> None:
        events: Any = trigger().run()
        await anext(events)
        assert len(closed) == 1
        await events.aclose()

    clock.run(main())
