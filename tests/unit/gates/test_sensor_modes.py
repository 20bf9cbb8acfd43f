"""Pace and outcome of a gate's task do not depend on the mode in which it waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from tests.unit.gates.modes import CONTEXT, End, Mode, State, Waiting
from tests.unit.gates.virtual import LATENCY, VirtualClock, VirtualVi
from vi_airflow_provider.api.errors import ViResponseError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.sensors.base import FlowGateSensor
from vi_airflow_provider.sensors.flows import FlowExistsSensor, FlowSpecSensor

INTERVAL: Final = 60.0
#: Not a multiple of the interval, and long enough for any outage here.
TIMEOUT: Final = 1770.0

# --- what happens while a gate waits -------------------------------------------------------------------------------

Script = Callable[[VirtualVi, VirtualClock], object]


def nothing(_vi: VirtualVi, _clock: VirtualClock) -> None:
    pass


def put(flow_id: str, **spec: Any) -> Script:
    return lambda vi, _clock: vi.put(flow_id, **spec)


def delete(flow_id: str) -> Script:
    return lambda vi, _clock: vi.store.delete_flow(flow_id)


def fault(**rule: Any) -> Script:
    return lambda vi, _clock: vi.faults.add(**rule)


def revoke_key(vi: VirtualVi, _clock: VirtualClock) -> None:
    vi.revoke_key()


def rotate_key(vi: VirtualVi, _clock: VirtualClock) -> None:
    vi.rotate_key()


def at(elapsed: float, script: Script) -> Script:
    return lambda vi, clock: clock.at(elapsed, lambda: script(vi, clock))


def all_of(*scripts: Script) -> Script:
    return lambda vi, clock: [script(vi, clock) for script in scripts]


#: The response of a captive portal.
LOGIN_PAGE: Final = {"status": 200, "body": "<html>Sign in</html>", "content_type": "text/html"}

# --- the expected outcome ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A gate, what happens while it waits, and how its task ends in each mode.

    :param error: the beginning of the exception
    :param requests: the number of requests, if the case determines it
    :param xcom: id of the flow that is the XCom
    """

    behaviour: str
    script: Script
    state: State
    error: str = ""
    requests: int | None = None
    xcom: str | None = None
    sensor: type[FlowGateSensor] = FlowExistsSensor
    arguments: dict[str, Any] = field(default_factory=lambda: {"flow_id": "f"})

    def but(self, **arguments: Any) -> Case:
        """Return the same case with other arguments."""
        words = ", ".join(f"{name}={value}" for name, value in arguments.items())
        return replace(self, behaviour=f"{self.behaviour}, {words}", arguments=self.arguments | arguments)

    def skipped(self, **arguments: Any) -> Case:
        """Return the same case with other arguments, with which the task is skipped."""
        return replace(self.but(**arguments), state=State.SKIPPED, error="")


def opens(behaviour: str, script: Script, requests: int | None = None, **wanted: Any) -> Case:
    case = Case(behaviour, script, State.SUCCESS, requests=requests, xcom="f")
    return replace(case, arguments=wanted) if wanted else case


def meets(behaviour: str, script: Script, requests: int, **wanted: Any) -> Case:
    case = opens(behaviour, script, requests, flow_id="f", **wanted)
    return replace(case, sensor=FlowSpecSensor, xcom=None if "absent" in wanted else "f")


FOUND: Final = [
    opens("the flow exists", put("f"), 1),
    opens("the flow appears", at(150, put("f")), 4),
    opens("the flow appears in the last interval", at(TIMEOUT - 1, put("f"))),
    opens("the flow is found by its name", at(150, put("f", name="weld")), 4, flow_name="weld"),
    opens(
        "of flows with the same name the one that was updated last counts",
        all_of(at(10, put("g", name="w")), at(20, put("f", name="w")), at(30, put("h", name="W"))),
        flow_name="w",
    ),
    opens(
        "of flows with the same name the one of the training project counts",
        all_of(at(10, put("f", name="w", trainingProject="a")), at(20, put("g", name="w", trainingProject="b"))),
        *(None,),
        flow_name="w",
        training_project="a",
    ),
    opens(
        "a flow of another training project does not count",
        all_of(put("f", trainingProject="b"), at(150, put("f", trainingProject="a"))),
        4,
        flow_id="f",
        training_project="a",
    ),
    meets("the generation is reached", all_of(put("f"), at(70, put("f", schema="v2"))), 3, min_generation=2),
    meets("the flow is left alone for a while", put("f"), 6, unchanged_for=timedelta(minutes=5)),
    meets("the flow is deleted", all_of(put("f"), at(150, delete("f"))), 4, absent=True),
    meets("the flow never existed, as required", nothing, 1, absent=True),
]

NEVER: Final = Case("the flow never appears", nothing, State.FAILED_FOR_GOOD, "AirflowSensorTimeout", 31)
UNUSABLE: Final = Case(
    "an argument is unusable", nothing, State.FAILED_FOR_GOOD, "AirflowFailException: ViValidationError: ", 0
).but(flow_id="../runs")
TOO_LATE: Final = [
    *(NEVER, NEVER.but(silent_fail=True), NEVER.skipped(soft_fail=True), NEVER.skipped(never_fail=True)),
    *(UNUSABLE, UNUSABLE.skipped(soft_fail=True), UNUSABLE.skipped(never_fail=True)),
    replace(NEVER, behaviour="the flow appears too late", script=at(TIMEOUT + INTERVAL, put("f"))),
]

REFUSED: Final = [
    Case("the key is refused", revoke_key, State.FAILED_FOR_GOOD, "AirflowFailException: ViAuthenticationError: ", 1),
    Case(
        "the key is revoked",
        at(150, revoke_key),
        *(State.FAILED_FOR_GOOD, "AirflowFailException: ViAuthenticationError: GET /workspaces/", 4),
    ),
    *(
        Case(
            f"the response is {status} {when}",
            fault(status=status, skip=skip, times=None),
            *(State.FAILED_FOR_GOOD, f"AirflowFailException: {error}: GET /workspaces/", skip + 1),
        )
        for status, error in ((400, "ViValidationError"), (403, "ViPermissionError"))
        for skip, when in ((0, "at once"), (3, "later"))
    ),
]
REFUSALS: Final = [
    *REFUSED,
    *(case.but(silent_fail=True) for case in REFUSED),
    *(case.skipped(soft_fail=True) for case in REFUSED),
    *(case.skipped(never_fail=True) for case in REFUSED),
    opens("the key is rotated", all_of(at(150, rotate_key), at(200, put("f")))),
]

DOWN: Final = Case(
    "the service is down", fault(status=503, times=None), State.FAILED, "ViServerError: GET /workspaces/", 10
)
GOES_DOWN: Final = replace(
    DOWN, behaviour="the service goes down", script=at(150, fault(status=503, times=None)), requests=13
)
FAILURES: Final = [
    *(case for end in (DOWN, GOES_DOWN) for case in (end, end.but(soft_fail=True), end.skipped(never_fail=True))),
    *(replace(DOWN, requests=polls).but(max_failures=polls) for polls in (1, 2, 25)),
    replace(NEVER, behaviour="the service is down all the time", script=DOWN.script).but(silent_fail=True),
    replace(NEVER, behaviour="the service goes down near the end", script=at(1500, fault(status=503, times=None))),
    *(
        replace(DOWN, behaviour=f"every response is {what}", script=fault(**rule, times=None), error=f"{error}: GET /w")
        for what, rule, error in (
            ("a login page", LOGIN_PAGE, "ViResponseError"),
            ("another document", {"status": 200, "body": '{"error": "x"}'}, "ViResponseError"),
            ("a redirect to elsewhere", {"redirect": "http://elsewhere.example/"}, "ViResponseError"),
            ("a conflict", {"status": 409}, "ViConflictError"),
            ("a timeout of the server", {"status": 408}, "ViTimeoutError"),
            ("a rate limit", {"status": 429}, "ViRateLimitError"),
            ("a broken connection", {"drop": True}, "ViNetworkError"),
            ("a timeout of ours", {"latency_ms": 90_000}, "ViTimeoutError"),
        )
    ),
    opens("an outage passes", all_of(put("f"), fault(status=503, times=9)), 10),
    opens("a login page passes", all_of(put("f"), fault(**LOGIN_PAGE, times=9)), 10),
    opens(
        "failures that are not consecutive do not add up",
        all_of(fault(status=503, times=9), at(640, fault(status=503, times=9)), at(1480, put("f"))),
        26,
    ),
]


@pytest.fixture
def wait(vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case, Mode], End]:
    def wait(case: Case, mode: Mode) -> End:
        case.script(vi, clock)
        arguments = {"task_id": "gate", "poke_interval": INTERVAL, "timeout": TIMEOUT, **case.arguments}
        return Waiting(clock, monkeypatch).wait(partial(case.sensor, **arguments), mode)

    return wait


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("case", [*FOUND, *TOO_LATE, *REFUSALS, *FAILURES], ids=lambda case: case.behaviour)
def test_a_gate_ends_the_same_in_every_mode(
    case: Case, mode: Mode, wait: Callable[[Case, Mode], End], vi: VirtualVi
) -> None:
    end = wait(case, mode)

    assert end.state is case.state
    assert end.error.startswith(case.error)
    assert bool(end.error) == bool(case.error)
    assert (end.xcom and end.xcom["flow_id"]) == case.xcom
    if case.xcom:
        assert Flow.model_validate(end.xcom).to_wire() == vi.store.get_flow(case.xcom)
    assert len(vi.requests) == case.requests or case.requests is None


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("case", [*FOUND, NEVER, *FAILURES], ids=lambda case: case.behaviour)
def test_polls_are_at_least_the_poke_interval_apart(
    case: Case, mode: Mode, wait: Callable[[Case, Mode], End], vi: VirtualVi
) -> None:
    wait(case, mode)

    # The poll at the deadline follows the one before it at any distance.
    polls = [request.at for request in vi.requests if request.at < TIMEOUT - LATENCY]
    assert [(one, two) for one, two in pairwise(polls) if two - one < INTERVAL - 1e-6] == []


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("skip", [0, 2], ids=["at once", "later"])
@pytest.mark.parametrize(
    ("status", "retry_after"), [(429, "600"), (503, "600"), (503, "Thu, 02 Jul 2026 00:15:00 GMT")], ids=str
)
def test_retry_after_delays_the_next_poll(
    status: int, retry_after: str, skip: int, mode: Mode, wait: Callable[[Case, Mode], End], vi: VirtualVi
) -> None:
    response_time = 7.0
    limited = fault(status=status, retry_after=retry_after, latency_ms=response_time * 1000, skip=skip)
    wait(opens("limited", all_of(limited, at(800, put("f")))), mode)

    before, after = vi.requests[skip].at + response_time, vi.requests[skip + 1].at
    earliest = before + 600 if retry_after == "600" else 15 * 60 + 1
    assert earliest - 1e-6 <= after <= earliest + INTERVAL + 1


@pytest.mark.parametrize("mode", Mode)
def test_retry_after_does_not_extend_the_timeout(
    mode: Mode, wait: Callable[[Case, Mode], End], clock: VirtualClock
) -> None:
    end = wait(replace(NEVER, script=fault(status=429, retry_after="86400", times=None)), mode)

    assert end == End(State.FAILED_FOR_GOOD, error="AirflowSensorTimeout")
    assert clock.elapsed == pytest.approx(TIMEOUT, abs=INTERVAL + 1)


# --- events of the triggerer ---------------------------------------------------------------------------------------

FLOW: Final = {"flow_id": "f"}
ERROR: Final = {"type": "ViServerError", "message": "503"}
EVENTS: Final = {
    "None": None,
    "an empty event": {},
    "a text": "open",
    "an event of Airflow's": {"status": "success"},
    "an unknown outcome": {"version": 1, "outcome": "cancelled", "flow": FLOW},
    "no outcome": {"version": 1, "flow": FLOW},
    "another version": {"version": 2, "outcome": "open", "flow": FLOW},
    "no version": {"outcome": "open", "flow": FLOW},
    "open without a flow": {"version": 1, "outcome": "open", "flow": None},
    "open on an empty flow": {"version": 1, "outcome": "open", "flow": {}},
    "open on a text": {"version": 1, "outcome": "open", "flow": "f"},
    "open with an error": {"version": 1, "outcome": "open", "flow": FLOW, "error": ERROR},
    "a timeout with a flow": {"version": 1, "outcome": "timeout", "flow": FLOW},
    "a refusal without an error": {"version": 1, "outcome": "refused", "flow": None},
    "an outage without an error": {"version": 1, "outcome": "outage", "flow": None},
    "an error that is a text": {"version": 1, "outcome": "outage", "flow": None, "error": "503"},
    "an error without a message": {"version": 1, "outcome": "outage", "flow": None, "error": {"type": "ViServerError"}},
}


@pytest.mark.parametrize("lenient", [{}, {"soft_fail": True}, {"never_fail": True}], ids=str)
@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_an_unknown_event_is_neither_success_nor_skip(event: Any, lenient: dict[str, Any]) -> None:
    sensor = FlowExistsSensor(task_id="gate", flow_id="f", **lenient)
    with pytest.raises(ViResponseError, match="not understood"):
        sensor.resume_execution("execute_complete", {"event": event}, CONTEXT)


def test_a_gate_for_absence_does_not_open_on_a_flow() -> None:
    sensor = FlowSpecSensor(task_id="gate", flow_id="f", absent=True)
    with pytest.raises(ViResponseError, match="not understood"):
        sensor.execute_complete(CONTEXT, {"version": 1, "outcome": "open", "flow": FLOW})
    assert sensor.execute_complete(CONTEXT, {"version": 1, "outcome": "open", "flow": None}) is None


def test_a_broken_trigger_fails_the_task() -> None:
    sensor = FlowExistsSensor(task_id="gate", flow_id="f")
    with pytest.raises(Exception, match="Trigger failure"):
        sensor.resume_execution("__fail__", {"error": "Trigger failure"}, CONTEXT)


def test_a_skip_states_its_reason() -> None:
    sensor = FlowExistsSensor(task_id="gate", flow_id="f", soft_fail=True, timeout=90)
    with pytest.raises(AirflowSkipException, match="longer than the specified timeout of 90"):
        sensor.execute_complete(CONTEXT, {"version": 1, "outcome": "timeout", "flow": None})


@pytest.mark.parametrize("first", [datetime(2026, 7, 1, tzinfo=UTC), "2026-07-01T00:00:00Z"], ids=["time", "text"])
def test_start_of_a_rescheduled_wait_may_be_text(first: Any) -> None:
    """As in ``dag.test()`` of Airflow 3.0."""
    task_instance = SimpleNamespace(get_first_reschedule_date=lambda _context: first)
    sensor = FlowExistsSensor(task_id="gate", flow_id="f", mode="reschedule")
    context: Any = {"ti": task_instance}
    assert sensor._waiting_since(context) == datetime(2026, 7, 1, tzinfo=UTC).timestamp()
