"""One table over the modes for every argument of the sensors: the same pace, the same outcome."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any, Final

import pendulum
import pytest

from tests.documents import wire_flow, wire_page
from tests.unit.gates.modes import Mode, State, Waiting
from tests.unit.gates.virtual import BEGIN, VirtualClock, VirtualVi
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID
from vi_airflow_provider.gates.pacing import CONNECTION_MAX_AGE, MAX_DRIFT, MIN_INTERVAL
from vi_airflow_provider.sensors.flows import FlowExistsSensor, FlowSpecSensor

every_mode: Final = pytest.mark.parametrize("mode", Mode)
Wait = Callable[..., Any]


@pytest.fixture
def wait(vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Wait:
    def wait(mode: Mode, kind: Any = FlowExistsSensor, **arguments: Any) -> Any:
        given = {"task_id": "gate", "flow_id": "f", "poke_interval": 60.0, "timeout": 1770.0, **arguments}
        if "flow_name" in given:
            del given["flow_id"]
        return Waiting(clock, monkeypatch).wait(partial(kind, **given), mode)

    return wait


# --- pace ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pacing:
    """Arguments and the pauses that they cause; the last pause ends at the deadline and may be shorter."""

    arguments: dict[str, Any]
    pauses: list[float]

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.arguments.items())


PACES: Final = [
    Pacing({"poke_interval": 60, "timeout": 300}, [60, 60, 60, 60, 60]),
    Pacing({"poke_interval": timedelta(minutes=2), "timeout": timedelta(minutes=7)}, [120, 120, 120, 60]),
    Pacing({"poke_interval": 60, "timeout": 30}, [30]),
    Pacing({"poke_interval": 60, "timeout": 0}, []),
    Pacing({"poke_interval": 0, "timeout": 0.55}, [MIN_INTERVAL] * 5),
    Pacing({"poke_interval": 60, "timeout": 1000, "exponential_backoff": True}, [60, 120, 240, 480, 100]),
    Pacing(
        {"poke_interval": 60, "timeout": 900, "exponential_backoff": True, "max_wait": 200},
        [60, 120, 200, 200, 200, 120],
    ),
    Pacing(
        {"poke_interval": 60, "timeout": 400, "exponential_backoff": True, "max_wait": timedelta(seconds=90)},
        [60, 90, 90, 90, 70],
    ),
    Pacing({"poke_interval": 60, "timeout": 200, "max_wait": 5}, [60, 60, 60, 20]),
    Pacing({"poke_interval": 60, "timeout": 300, "silent_fail": True}, [60, 60, 60, 60, 60]),
]


@every_mode
@pytest.mark.parametrize("phase", [0.0, 31.7], ids=lambda phase: f"{phase:g} s past a tick")
@pytest.mark.parametrize("pacing", PACES, ids=str)
def test_every_mode_polls_at_the_same_pace(
    pacing: Pacing, phase: float, mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock
) -> None:
    clock.sleep(phase)
    end = wait(mode, **pacing.arguments)
    assert (end.state, end.error) == (State.FAILED_FOR_GOOD, "AirflowSensorTimeout")
    pauses = [two.at - one.at for one, two in pairwise(vi.requests)]
    # A trigger drifts by up to 5 % of the interval, until it meets the others; each poll takes a moment in a worker.
    drift = 0.05 + MAX_DRIFT * max(pacing.pauses, default=0)
    assert len(pauses) in (len(pacing.pauses), len(pacing.pauses) - 1 if len(pauses) > 3 else -1)
    for pause, expected in zip(pauses[:-1], pacing.pauses, strict=False):
        assert expected - 0.02 <= pause <= expected + drift
    timeout = pacing.arguments["timeout"]
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    assert clock.elapsed - phase == pytest.approx(seconds, abs=0.1)


@every_mode
@pytest.mark.parametrize("late", [-1.0, 1.0, 59.0])
def test_every_mode_ends_at_the_deadline(
    late: float, mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock
) -> None:
    clock.at(90 + late, lambda: vi.put("f"))
    end = wait(mode, timeout=90)
    assert end.state is (State.SUCCESS if late < 0 else State.FAILED_FOR_GOOD)


@every_mode
def test_the_longest_timeouts_are_accepted(mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock) -> None:
    clock.at(100, lambda: vi.put("f"))
    assert wait(mode, timeout=timedelta(days=3_000_000)).state is State.SUCCESS


# --- the failure budget --------------------------------------------------------------------------------------------


@every_mode
@pytest.mark.parametrize(
    ("max_failures", "requests", "state"),
    [(1, 1, State.FAILED), ("2", 2, State.FAILED), (0, 1, State.FAILED), (None, 31, State.FAILED_FOR_GOOD)],
)
def test_every_mode_has_the_same_budget(
    max_failures: Any, requests: int, state: State, mode: Mode, wait: Wait, vi: VirtualVi
) -> None:
    vi.faults.add(status=503, times=None)
    assert wait(mode, max_failures=max_failures).state is state
    assert len(vi.requests) == pytest.approx(requests, abs=requests // 20)


@every_mode
@pytest.mark.parametrize("max_failures", [-1, "many", 1.5, True], ids=str)
def test_every_mode_refuses_an_unusable_budget(max_failures: Any, mode: Mode, wait: Wait, vi: VirtualVi) -> None:
    end = wait(mode, max_failures=max_failures)
    assert end.state is State.FAILED_FOR_GOOD
    assert end.error.startswith("AirflowFailException: ViValidationError: max_failures: ")
    assert vi.requests == []


# --- the connection ------------------------------------------------------------------------------------------------

VARIABLE: Final = "AIRFLOW_CONN_VI_DEFAULT"
#: A connection that Airflow provides, and that cannot be used.
UNUSABLE: Final = '{"conn_type": "vi", "login": "o", "password": "short"}'
UNAVAILABLE: Final = "ViError: connection 'vi_default': Airflow cannot provide it"


@every_mode
@pytest.mark.parametrize("lenient", [{}, {"soft_fail": True}], ids=str)
def test_a_connection_that_stays_unavailable_uses_up_the_budget(
    lenient: dict[str, Any],
    mode: Mode,
    wait: Wait,
    vi: VirtualVi,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE)
    end = wait(mode, **lenient)
    assert end.state is State.FAILED
    assert end.error.startswith(UNAVAILABLE)
    assert 9 * 60 <= clock.elapsed <= 9 * 60 * (1 + MAX_DRIFT) + 1


@every_mode
@pytest.mark.parametrize("begin", [0.0, 130.0])
def test_every_mode_survives_a_blip_of_the_secrets_backend(
    begin: float, mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.at(begin, lambda: monkeypatch.delenv(VARIABLE))
    clock.at(begin + 300, vi.connect)
    clock.at(begin + 310, lambda: vi.put("f"))
    clock.sleep(0)
    assert wait(mode).state is State.SUCCESS
    assert clock.elapsed <= begin + 310 + 2 * 60


@every_mode
@pytest.mark.parametrize("interval", [10.0, 60.0])
def test_every_mode_follows_an_edited_connection_within_a_minute(
    interval: float, mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock
) -> None:
    clock.at(205.0, lambda: vi.connect(login="other-organization"))
    wait(mode, poke_interval=interval, timeout=600)
    used = [(request.at, "/other-organization/" in request.path) for request in vi.requests]
    assert not any(other for at, other in used if at < 205)
    assert all(other for at, other in used if at >= 205 + CONNECTION_MAX_AGE)


@every_mode
def test_an_unusable_connection_fails_at_once(
    mode: Mode, wait: Wait, vi: VirtualVi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, UNUSABLE)
    end = wait(mode)
    assert end.state is State.FAILED_FOR_GOOD
    assert end.error.startswith("AirflowFailException: ViConfigurationError: password: ")


@pytest.mark.parametrize("mode", [Mode.POKE, Mode.DEFERRED])
@pytest.mark.parametrize("stays", [False, True], ids=["for a moment", "for good"])
def test_a_connection_that_turns_unusable_is_confirmed(
    stays: bool, mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CA file that is being replaced makes it unusable for a moment."""
    clock.at(200.0, lambda: monkeypatch.setenv(VARIABLE, UNUSABLE))
    if not stays:
        clock.at(270.0, vi.connect)
    clock.at(500.0, lambda: vi.put("f"))
    assert wait(mode).state is (State.FAILED_FOR_GOOD if stays else State.SUCCESS)


# --- documents -----------------------------------------------------------------------------------------------------


def document(**changes: Any) -> dict[str, Any]:
    return wire_flow(**{"flowId": "f", "spec__name": "weld", "workspaceId": DEFAULT_ORGANIZATION_ID, **changes})


BEYOND_BOUNDS: Final = document(spec__settings={"seed": "NUMBER"})
TARGETS: Final[list[dict[str, str]]] = [{"flow_id": "f"}, {"flow_name": "weld"}]


def serve(vi: VirtualVi, flow: dict[str, Any]) -> None:
    """Serve a document that the emulator would not store, with a number that no program can hold."""
    page, single = (json.dumps(each).replace('"NUMBER"', "1e999") for each in (wire_page(flow), flow))
    vi.faults.add(path="/flows$", status=200, body=page, times=None)
    vi.faults.add(path="/flows/f$", status=200, body=single, times=None)


@every_mode
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: next(iter(target)))
def test_a_number_out_of_bounds_is_a_failed_poll(target: dict[str, str], mode: Mode, wait: Wait, vi: VirtualVi) -> None:
    """The flows of a listing are decoded when they are read, so the error appears late."""
    serve(vi, BEYOND_BOUNDS)
    end = wait(mode, **target)
    assert end.state is State.FAILED
    assert end.error.startswith("ViResponseError: GET /workspaces/")
    assert len(vi.requests) == 10


@every_mode
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: next(iter(target)))
def test_a_flow_that_an_xcom_cannot_carry_is_refused(
    target: dict[str, str], mode: Mode, wait: Wait, vi: VirtualVi
) -> None:
    vi.put("f", name="weld", settings={"__id__": 1})
    end = wait(mode, **target)
    assert end.state is State.FAILED_FOR_GOOD
    assert end.error.startswith("AirflowFailException: ViValidationError: flow f: spec.settings.__id__: ")
    assert wait(mode, do_xcom_push=False, **target).state is State.SUCCESS


@every_mode
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: next(iter(target)))
def test_a_flow_of_another_organization_is_never_returned(
    target: dict[str, str], mode: Mode, wait: Wait, vi: VirtualVi
) -> None:
    serve(vi, document(workspaceId="another-one"))
    end = wait(mode, **target)
    assert end.state is State.FAILED
    assert end.error.startswith("ViResponseError: ")
    assert "another-one" in end.error


# --- argument values that Airflow hands out ------------------------------------------------------------------------

#: Five minutes, as text, as a timedelta, and as pendulum has it.
FIVE_MINUTES: Final[list[Any]] = [
    "PT5M",
    "0:05:00",
    timedelta(minutes=5),
    pendulum.duration(minutes=5),
    pendulum.datetime(2026, 1, 1, 0, 5) - pendulum.datetime(2026, 1, 1),
    pendulum.datetime(2026, 1, 1).diff(pendulum.datetime(2026, 1, 1, 0, 5)),
]


@every_mode
@pytest.mark.parametrize("value", FIVE_MINUTES, ids=lambda value: type(value).__name__ + f" {value}")
def test_unchanged_for_accepts_every_duration(value: Any, mode: Mode, wait: Wait, vi: VirtualVi) -> None:
    vi.put("f")
    assert wait(mode, FlowSpecSensor, unchanged_for=value).state is State.SUCCESS
    assert len(vi.requests) == 6


@every_mode
@pytest.mark.parametrize("argument", ["poke_interval", "timeout", "max_wait"])
def test_pace_accepts_every_duration(argument: str, mode: Mode, wait: Wait, vi: VirtualVi, clock: VirtualClock) -> None:
    durations = [300, *FIVE_MINUTES[2:]]
    for value in durations:
        arguments: dict[str, Any] = {"timeout": 700, "exponential_backoff": argument == "max_wait", argument: value}
        vi.requests.clear()
        assert wait(mode, **arguments).error == "AirflowSensorTimeout"
        assert len(vi.requests) == {"poke_interval": 4, "timeout": 6, "max_wait": 5}[argument]


def test_the_clocks_of_this_test_agree(clock: VirtualClock) -> None:
    assert pendulum.now("UTC").timestamp() == BEGIN
    assert math.isclose(clock.now, BEGIN)
