"""The sensors in a worker: one poll, the whole wait, and deferral. Sleeps are skipped."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import time_machine
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from requests_mock import ANY, Mocker

from tests.documents import FLOW_ID, ORGANIZATION_ID, wire_flow, wire_page
from tests.tasks import FLOWS, TaskInstance, connection, plain
from vi_airflow_provider.api.errors import ViServerError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.sensors.flows import FlowExistsSensor, FlowSpecSensor

FLOW: Final = f"{FLOWS}/{FLOW_ID}"
NAME: Final = wire_flow()["spec"]["name"]
NOW: Final = datetime(2026, 7, 10, tzinfo=UTC)
MISSING: Final[dict[str, Any]] = {"status_code": 404}
THERE: Final[dict[str, Any]] = {"json": wire_flow()}
BROKEN: Final[dict[str, Any]] = {"status_code": 500}


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", connection())


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The sleeps in seconds; only they advance the clocks."""
    waits: list[float] = []
    monotonic = time.monotonic()
    with time_machine.travel(NOW, tick=False) as traveller:

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            traveller.shift(seconds)

        monkeypatch.setattr(time, "sleep", sleep)
        monkeypatch.setattr(time, "monotonic", lambda: monotonic + sum(waits))
        yield waits


def exists(**arguments: Any) -> FlowExistsSensor:
    given: dict[str, Any] = {"deferrable": False, "poke_interval": 60}
    given |= {} if "flow_name" in arguments else {"flow_id": FLOW_ID}
    return FlowExistsSensor(task_id="wait", **{**given, **arguments})


def spec(**arguments: Any) -> FlowSpecSensor:
    return FlowSpecSensor(task_id="wait", **{"flow_id": FLOW_ID, "deferrable": False, **arguments})


def context(ti: TaskInstance | None = None) -> Any:
    return {"ti": ti or TaskInstance()}


def poke(sensor: Any) -> tuple[bool, Any]:
    found = sensor.poke(context())
    return bool(found), plain(found.xcom_value)


# --- one poll ------------------------------------------------------------------------------------------------------


def test_an_existing_flow_ends_the_wait_and_is_the_xcom(requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, **THERE)
    done, xcom = poke(exists())
    assert done
    assert Flow.model_validate(xcom).to_wire() == wire_flow()
    assert requests_mock.call_count == 1


def test_a_missing_flow_is_waited_for(requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, **MISSING)
    assert poke(exists()) == (False, None)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"flow_name": NAME}, "new"),
        ({"flow_name": "twin"}, "late"),
        ({"flow_name": NAME.lower()}, None),
        ({"flow_name": NAME[:-1]}, None),
        ({"flow_name": NAME, "training_project": "weld-inspection"}, "new"),
        ({"flow_name": NAME, "training_project": "other"}, None),
        ({"flow_name": "twin", "training_project": "first"}, "early"),
    ],
)
def test_a_flow_can_be_waited_for_by_its_exact_name(
    arguments: dict[str, Any], found: str | None, requests_mock: Mocker
) -> None:
    page = wire_page(
        wire_flow(flowId="new"),
        wire_flow(flowId="early", spec__name="twin", spec__trainingProject="first", metadata__lastUpdated=1),
        wire_flow(flowId="late", spec__name="twin", metadata__lastUpdated=2),
    )
    requests_mock.get(FLOWS, json=page)
    done, xcom = poke(exists(**arguments))
    assert (done, xcom["flow_id"] if xcom else None) == (found is not None, found)


@pytest.mark.parametrize(("project", "done"), [("weld-inspection", True), ("other", False), (None, True)])
def test_a_flow_of_another_training_project_is_waited_for(
    project: str | None, done: bool, requests_mock: Mocker
) -> None:
    requests_mock.get(FLOW, **THERE)
    assert poke(exists(training_project=project))[0] is done


# --- the whole wait ------------------------------------------------------------------------------------------------


def test_the_wait_goes_on_until_the_flow_exists(requests_mock: Mocker, slept: list[float]) -> None:
    requests_mock.get(FLOW, [MISSING, MISSING, THERE])
    assert plain(exists().execute(context()))["flow_id"] == FLOW_ID
    assert slept == [60, 60]


def test_the_wait_ends_with_a_timeout(requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, **MISSING)
    with pytest.raises(AirflowSensorTimeout):
        exists(timeout=150).execute(context())
    with pytest.raises(AirflowSkipException):
        exists(timeout=150, soft_fail=True).execute(context())


def test_failed_polls_are_waited_out(requests_mock: Mocker, slept: list[float]) -> None:
    requests_mock.get(FLOW, [BROKEN, BROKEN, MISSING, BROKEN, THERE])
    assert exists(max_failures=3).execute(context())["flow_id"] == FLOW_ID
    assert slept == [60, 60, 60, 60]


def test_retry_after_extends_the_pause(requests_mock: Mocker, slept: list[float]) -> None:
    busy = [{"status_code": 429, "headers": {"Retry-After": wait}} for wait in ("300", "5")]
    requests_mock.get(FLOW, [*busy, THERE])
    exists().execute(context())
    assert slept == [300, 60]


def test_the_failure_budget_ends_the_wait_with_the_last_error(requests_mock: Mocker, slept: list[float]) -> None:
    requests_mock.get(FLOW, [BROKEN, BROKEN, MISSING, BROKEN, BROKEN, {"status_code": 502}])
    with pytest.raises(ViServerError, match="502"):
        exists(max_failures=3).execute(context())
    assert len(slept) == 5


def test_a_poll_is_one_request_without_retries(requests_mock: Mocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", connection(max_retries=5, max_rate_limit_retries=5))
    requests_mock.get(FLOW, **BROKEN)
    with pytest.raises(ViServerError):
        exists(max_failures=1).execute(context())
    assert requests_mock.call_count == 1


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_a_lasting_error_ends_the_wait_at_once(status: int, requests_mock: Mocker, slept: list[float]) -> None:
    requests_mock.get(FLOW, status_code=status)
    with pytest.raises(AirflowFailException, match=f": {status} "):
        exists().execute(context())
    with pytest.raises(AirflowSkipException):
        exists(soft_fail=True).execute(context())
    assert slept == []


NEITHER_OR_BOTH: Final = "give either flow_id or flow_name"
BAD: Final[list[tuple[Callable[[], Any], str]]] = [
    (lambda: FlowExistsSensor(task_id="t"), NEITHER_OR_BOTH),
    (lambda: exists(flow_id="a", flow_name="b"), NEITHER_OR_BOTH),
    (lambda: exists(flow_id="../x"), "'../x' is not a valid flow id"),
    (lambda: exists(flow_id=""), "'' is not a valid flow id"),
    (lambda: exists(flow_id="None"), "flow_id: 'None' is given, or the template rendered to None"),
    (lambda: exists(flow_name=""), "flow_name: "),
    (lambda: exists(flow_name=5), "flow_name: 5 is not text"),
    (lambda: exists(training_project=""), "training_project: "),
    (lambda: spec(min_generation="many"), "min_generation: "),
    (lambda: spec(unchanged_for=90), "unchanged_for: "),
    (lambda: spec(absent=True, min_generation=3), "absent: nothing else"),
]


@pytest.mark.parametrize(("make", "words"), BAD, ids=[words for _, words in BAD])
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_bad_value_ends_the_wait_before_any_request(
    deferrable: bool, make: Callable[[], Any], words: str, requests_mock: Mocker, slept: list[float]
) -> None:
    sensor = make()
    sensor.deferrable = deferrable
    with pytest.raises(AirflowFailException, match=f"^ViValidationError: {re.escape(words)}"):
        sensor.execute(context())
    assert (requests_mock.call_count, slept) == (0, [])


def test_the_link_is_stored_before_the_first_request(requests_mock: Mocker) -> None:
    requests_mock.register_uri(ANY, ANY, status_code=401)
    for sensor, flow_id in ((exists(), FLOW_ID), (exists(flow_name="x"), "")):
        ti = TaskInstance()
        with pytest.raises(AirflowFailException):
            sensor.execute(context(ti))
        assert ti.pushed == {"vi_link": f"https://ui.example/{ORGANIZATION_ID}/{flow_id}"}


# --- conditions ----------------------------------------------------------------------------------------------------

DIGEST: Final = Flow.model_validate(wire_flow()).digest
AGE: Final = NOW - datetime.fromtimestamp(wire_flow()["metadata"]["lastUpdated"] / 1000, UTC)


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ({}, True),
        ({"expected_digest": DIGEST}, True),
        ({"expected_digest": "0" * 64}, False),
        ({"required_blocks": ["vlm-model"]}, True),
        ({"required_blocks": ["vlm-model", "system-prompt"]}, True),
        ({"required_blocks": ["vlm-model", "dataset"]}, False),
        ({"min_generation": 4}, True),
        ({"min_generation": "4"}, True),
        ({"min_generation": 5}, False),
        ({"attributes": {"team": "line-3"}}, True),
        ({"attributes": {"team": "line-4"}}, False),
        ({"unchanged_for": AGE}, True),
        ({"unchanged_for": AGE + timedelta(milliseconds=1)}, False),
        ({"unchanged_for": "P1D"}, True),
        ({"min_generation": 4, "attributes": {"team": "line-4"}}, False),
        ({"absent": True}, False),
    ],
)
def test_the_wait_ends_when_all_conditions_are_met(condition: dict[str, Any], met: bool, requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, **THERE)
    assert poke(spec(**condition))[0] is met


def test_a_missing_flow_meets_only_the_condition_absent(requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, **MISSING)
    assert poke(spec(absent=True)) == (True, None)
    assert poke(spec()) == (False, None)


# --- deferring -----------------------------------------------------------------------------------------------------


def test_a_deferrable_sensor_polls_once_before_it_defers(requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, [THERE, MISSING])
    assert exists(deferrable=True).execute(context())["flow_id"] == FLOW_ID
    with pytest.raises(TaskDeferred) as deferred:
        exists(deferrable=True).execute(context())
    plain(deferred.value.trigger.serialize()[1])
    assert requests_mock.call_count == 2


# --- in a DAG ------------------------------------------------------------------------------------------------------


def test_arguments_may_be_templates() -> None:
    with DAG("dag", schedule=None, start_date=NOW):
        sensor = FlowExistsSensor(
            task_id="wait", vi_conn_id="{{ conn }}", flow_name="{{ name }} 1", training_project="{{ project }}"
        )
    values: Any = {"conn": "c", "name": "weld", "project": "p"}
    sensor.render_template_fields(values)
    assert (sensor.vi_conn_id, sensor.flow_name, sensor.training_project) == ("c", "weld 1", "p")


def test_a_sensor_can_be_mapped() -> None:
    with DAG("dag", schedule=None, start_date=NOW) as dag:
        mapped = FlowExistsSensor.partial(task_id="wait", mode="reschedule").expand(flow_id=["a", "b"])
    assert dag.get_task("wait") is mapped
    assert mapped.operator_class is FlowExistsSensor


def test_arguments_are_not_checked_when_the_dag_is_parsed() -> None:
    nonsense: Any = object()
    FlowExistsSensor(task_id="wait", flow_id=nonsense, flow_name=nonsense, training_project=nonsense)
