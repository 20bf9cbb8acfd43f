"""CreateFlowOperator: one flow per task instance, whatever the server, the network and colleagues do."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, Final
from uuid import UUID

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from requests_mock import Mocker

from tests.documents import FLOW_ID, wire_flow, wire_spec
from tests.tasks import TaskInstance, connection
from tests.unit.operators.support import BELOW, FLOW, SPEC, run, sent
from vi_airflow_provider.api.errors import ViConflictError, ViServerError
from vi_airflow_provider.api.models import Flow, FlowSpec
from vi_airflow_provider.operators.flows import CreateFlowOperator


class Server:
    """Stores the flows that are PUT, adds defaults to them, loses responses, and lets a colleague write in between."""

    def __init__(self, requests_mock: Mocker) -> None:
        self.flows: dict[str, dict[str, Any]] = {}
        #: Added to the settings of each flow that is PUT.
        self.defaults: dict[str, Any] = {}
        #: What happens to the next PUTs: ``"lost"`` is applied, ``"refused"`` is not; both respond with 503.
        self.faults: list[str] = []
        #: Run before the reads of these numbers, counted from 0.
        self.colleague: dict[int, Callable[[], None]] = {}
        self._reads = count()
        self._versions = count()
        requests_mock.get(BELOW, json=self._get)
        requests_mock.put(BELOW, json=self._put)

    def store(self, flow_id: str, **changes: Any) -> None:
        """Write a flow past the API."""
        self.flows[flow_id] = wire_flow(flowId=flow_id, etag=f"v{next(self._versions)}", **changes)

    def _get(self, request: Any, context: Any) -> Any:
        self.colleague.get(next(self._reads), lambda: None)()
        flow_id = request.path.rpartition("/")[2]
        context.status_code = 200 if flow_id in self.flows else 404
        return self.flows.get(flow_id, {"message": "not found"})

    def _put(self, request: Any, context: Any) -> Any:
        flow_id, body = request.path.rpartition("/")[2], request.json()
        fault = self.faults.pop(0) if self.faults else ""
        if fault != "refused":
            spec = {**body["spec"], "settings": {**body["spec"]["settings"], **self.defaults}}
            attributes = body.get("metadata", {}).get("attributes", {})
            self.store(flow_id, spec=spec, metadata__attributes=attributes)
        if fault:
            context.status_code, context.headers["Retry-After"] = 503, "0"
            return {"message": "unavailable"}
        return self.flows[flow_id]


def create(ti: TaskInstance | None = None, **arguments: Any) -> Any:
    return run(CreateFlowOperator(task_id="create", **{"spec": SPEC, **arguments}), ti)


def methods(requests_mock: Mocker) -> list[str]:
    return [line.partition(" ")[0] for line in sent(requests_mock)]


def test_create_returns_the_new_flow(requests_mock: Mocker) -> None:
    server = Server(requests_mock)
    result = create(attributes={"team": "a"}, flow_id="own")
    assert list(server.flows) == ["own"]
    assert Flow.model_validate(result).to_wire() == server.flows["own"]
    assert server.flows["own"]["spec"] == SPEC
    assert server.flows["own"]["metadata"]["attributes"] == {"team": "a"}


@pytest.mark.parametrize("spec", [SPEC, FlowSpec.model_validate(SPEC)], ids=["dict", "model"])
def test_a_retried_create_finds_what_the_first_try_created(spec: Any, requests_mock: Mocker) -> None:
    server = Server(requests_mock)
    first = create(TaskInstance(try_number=1), spec=spec, attributes={"team": "a"})
    second = create(TaskInstance(try_number=2), spec=spec, attributes={"team": "a"})
    assert second == first
    assert len(server.flows) == 1
    assert UUID(first["flow_id"])
    assert methods(requests_mock) == ["GET", "PUT", "GET"]


@pytest.mark.parametrize(
    "changes",
    [{"run_id": "other"}, {"dag_id": "other"}, {"task_id": "other"}, {"map_index": 0}, {"map_index": 1}],
    ids=str,
)
def test_each_task_instance_creates_its_own_flow(changes: dict[str, Any], requests_mock: Mocker) -> None:
    server = Server(requests_mock)
    create()
    create(TaskInstance(**changes))
    assert len(server.flows) == 2


def test_deployments_with_namespaces_create_their_own_flows(
    requests_mock: Mocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(requests_mock)
    for namespace in (None, "prod-eu", "staging", "prod-eu"):
        extra = {} if namespace is None else {"namespace": namespace}
        monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", connection(**extra))
        create(if_exists="replace")
    assert len(server.flows) == 3


def test_id_without_a_namespace_is_that_of_earlier_versions(requests_mock: Mocker) -> None:
    Server(requests_mock)
    ti = TaskInstance()
    assert create(ti)["flow_id"] == "f5b3f2fe-ab2f-54b5-b28a-9f40bbc06e52"
    assert all(url.endswith("f5b3f2fe-ab2f-54b5-b28a-9f40bbc06e52") for url in ti.pushed.values())
    assert ti.pushed


@pytest.mark.parametrize(
    "same",
    [
        {"spec": {**SPEC, "settings": {"seed": 7}}},
        {"spec": {key: SPEC[key] for key in reversed(SPEC)}},
        {"spec": FlowSpec.model_validate(SPEC).model_dump(mode="json")},
        {"spec": {**SPEC, "blocks": [{**block, "style": {}} for block in SPEC["blocks"]]}},
        {"attributes": None},
    ],
    ids=["equal", "another order of keys", "snake_case", "another layout", "attributes not given"],
)
@pytest.mark.parametrize("if_exists", ["fail", "skip", "replace"])
def test_an_equal_flow_is_returned_and_not_written(if_exists: str, same: dict[str, Any], requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, json=wire_flow())
    result = create(flow_id=FLOW_ID, if_exists=if_exists, **{"attributes": {"team": "line-3"}, **same})
    assert Flow.model_validate(result).to_wire() == wire_flow()
    assert requests_mock.call_count == 1


OTHER: Final = [{"spec": wire_spec(name="other")}, {"attributes": {"team": "other"}}, {"attributes": {}}]


@pytest.mark.parametrize("other", OTHER, ids=["another spec", "another attribute", "no attributes"])
def test_if_exists_decides_what_happens_to_a_flow_that_differs(other: dict[str, Any], requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, json=wire_flow())
    requests_mock.put(FLOW, json=wire_flow(etag="replaced"))
    with pytest.raises(AirflowFailException, match=f'Flow {FLOW_ID} exists with another spec .* if_exists="replace"'):
        create(flow_id=FLOW_ID, **other)
    with pytest.raises(AirflowSkipException, match=FLOW_ID):
        create(flow_id=FLOW_ID, if_exists="skip", **other)
    assert "PUT" not in {request.method for request in requests_mock.request_history}
    assert create(flow_id=FLOW_ID, if_exists="replace", **other)["etag"] == "replaced"


def test_an_empty_flow_id_is_refused(requests_mock: Mocker) -> None:
    Server(requests_mock)
    with pytest.raises(AirflowFailException, match="is not a valid flow id"):
        create(flow_id="")
    assert requests_mock.call_count == 0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "n"}, "spec.schema: Field required; spec.blocks: Field required"),
        (None, "spec: a flow spec or an object of its fields expected"),
        (wire_spec(settings={"rate": float("nan")}), "the document cannot be written as JSON"),
    ],
)
def test_a_bad_spec_is_not_created(spec: Any, words: str, requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, status_code=404)
    with pytest.raises(AirflowFailException, match=words):
        create(flow_id=FLOW_ID, spec=spec)
    assert "PUT" not in {request.method for request in requests_mock.request_history}


# --- defaults of the server ------------------------------------------------------------------------------------------

ADDED: Final = {"deterministic": False}


@pytest.fixture
def retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose calls are retried; the server asks for no wait."""
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", connection(max_retries=3))


@pytest.mark.parametrize("flow_id", [None, FLOW_ID], ids=["derived id", "given id"])
def test_a_retry_accepts_what_the_server_added_to_its_flow(flow_id: str | None, requests_mock: Mocker) -> None:
    server = Server(requests_mock)
    server.defaults = ADDED
    server.faults = ["lost"]
    with pytest.raises(ViServerError):
        create(flow_id=flow_id)
    created = create(TaskInstance(try_number=2), flow_id=flow_id)
    assert created["spec"]["settings"] == {"seed": 7, **ADDED}
    assert methods(requests_mock) == ["GET", "PUT", "GET"]


@pytest.mark.usefixtures("retries")
def test_a_lost_response_is_recovered_by_reading_the_flow(requests_mock: Mocker) -> None:
    server = Server(requests_mock)
    server.defaults = ADDED
    server.faults = ["lost"]
    assert create(flow_id=FLOW_ID)["spec"]["settings"] == {"seed": 7, **ADDED}
    assert methods(requests_mock) == ["GET", "PUT", "GET"]


@pytest.mark.parametrize(
    ("if_exists", "ending"), [("fail", AirflowFailException), ("skip", AirflowSkipException), ("replace", None)]
)
def test_additions_of_a_colleague_are_a_difference_in_the_first_try(
    if_exists: str, ending: type[Exception] | None, requests_mock: Mocker
) -> None:
    server = Server(requests_mock)
    server.store(FLOW_ID, spec__settings={"seed": 7, "lr": 0.1})
    if ending:
        with pytest.raises(ending):
            create(flow_id=FLOW_ID, if_exists=if_exists)
    else:
        assert create(flow_id=FLOW_ID, if_exists=if_exists)["spec"]["settings"] == {"seed": 7}


def test_a_retried_replacement_removes_what_is_not_asked_for(requests_mock: Mocker) -> None:
    server = Server(requests_mock)
    server.store(FLOW_ID, spec__settings={"seed": 7, "lr": 0.1})
    server.faults = ["refused"]
    with pytest.raises(ViServerError):
        create(flow_id=FLOW_ID, if_exists="replace")
    replaced = create(TaskInstance(try_number=2), flow_id=FLOW_ID, if_exists="replace")
    assert replaced["spec"]["settings"] == {"seed": 7}


# --- colleagues ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("retries")
@pytest.mark.parametrize("fault", ["refused", "lost"])
@pytest.mark.parametrize(
    ("if_exists", "ending"),
    [("fail", AirflowFailException), ("skip", AirflowSkipException), ("replace", ViConflictError)],
)
@pytest.mark.parametrize("existed", [False, True])
def test_no_retry_overwrites_the_edit_of_a_colleague(
    existed: bool, if_exists: str, ending: type[Exception], fault: str, requests_mock: Mocker
) -> None:
    server = Server(requests_mock)
    if existed:
        server.store(FLOW_ID, spec__name="before")
    server.faults = [fault]
    server.colleague = {1: lambda: server.store(FLOW_ID, spec__name="a colleague's")}
    expected = AirflowSkipException if existed and if_exists == "skip" else ending
    with pytest.raises(expected, match=FLOW_ID):
        create(flow_id=FLOW_ID, if_exists=if_exists)
    if not existed or if_exists == "replace":
        assert server.flows[FLOW_ID]["spec"]["name"] == "a colleague's"


@pytest.mark.usefixtures("retries")
def test_a_flow_that_a_colleague_deletes_is_not_replaced(requests_mock: Mocker) -> None:
    server = Server(requests_mock)
    server.store(FLOW_ID, spec__name="before")
    server.faults = ["refused"]
    server.colleague = {1: server.flows.clear}
    with pytest.raises(ViConflictError, match=r"was changed or deleted while .* left alone\. Run the task again"):
        create(flow_id=FLOW_ID, if_exists="replace")
    assert server.flows == {}


# --- XComs -----------------------------------------------------------------------------------------------------------

MARKED: Final = wire_spec(settings={"__id__": 1})


def test_a_spec_that_no_xcom_can_carry_is_not_created(requests_mock: Mocker) -> None:
    with pytest.raises(AirflowFailException, match=r"spec\.settings\.__id__: Airflow reserves this key"):
        create(spec=MARKED)
    assert requests_mock.call_count == 0


def test_without_an_xcom_every_spec_is_created(requests_mock: Mocker) -> None:
    server = Server(requests_mock)
    task = CreateFlowOperator(task_id="create", spec=MARKED, flow_id=FLOW_ID, do_xcom_push=False)
    assert run(task)["spec"]["settings"] == {"__id__": 1}
    assert server.flows[FLOW_ID]["spec"]["settings"] == {"__id__": 1}
