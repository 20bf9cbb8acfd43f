"""CreateFlowOperator: one flow per task instance, whatever the server, the network and colleagues do."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from requests_mock import Mocker

from tests.documents import FLOW_ID, wire_flow, wire_spec
from tests.tasks import TaskInstance
from tests.unit.operators.support import BELOW, FLOW, SPEC, run, sent
from vi_airflow_provider.api.models import Flow, FlowSpec
from vi_airflow_provider.operators.flows import CreateFlowOperator


class OneFlow:
    """A server that stores the flows that are PUT."""

    def __init__(self, requests_mock: Mocker) -> None:
        self.flows: dict[str, dict[str, Any]] = {}
        requests_mock.get(BELOW, json=self._get)
        requests_mock.put(BELOW, json=self._put)

    def _get(self, request: Any, context: Any) -> Any:
        flow_id = request.path.rpartition("/")[2]
        context.status_code = 200 if flow_id in self.flows else 404
        return self.flows.get(flow_id, {"message": "not found"})

    def _put(self, request: Any, _context: Any) -> Any:
        flow_id, body = request.path.rpartition("/")[2], request.json()
        attributes = body.get("metadata", {}).get("attributes", {})
        self.flows[flow_id] = wire_flow(flowId=flow_id, spec=body["spec"], metadata__attributes=attributes)
        return self.flows[flow_id]


def create(ti: TaskInstance | None = None, **arguments: Any) -> Any:
    return run(CreateFlowOperator(task_id="create", **{"spec": SPEC, **arguments}), ti)


def test_create_returns_the_new_flow(requests_mock: Mocker) -> None:
    server = OneFlow(requests_mock)
    result = create(attributes={"team": "a"}, flow_id="own")
    assert list(server.flows) == ["own"]
    assert Flow.model_validate(result).to_wire() == server.flows["own"]
    assert server.flows["own"]["spec"] == SPEC
    assert server.flows["own"]["metadata"]["attributes"] == {"team": "a"}


@pytest.mark.parametrize("spec", [SPEC, FlowSpec.model_validate(SPEC)], ids=["dict", "model"])
def test_a_retried_create_finds_what_the_first_try_created(spec: Any, requests_mock: Mocker) -> None:
    server = OneFlow(requests_mock)
    first = create(TaskInstance(try_number=1), spec=spec, attributes={"team": "a"})
    second = create(TaskInstance(try_number=2), spec=spec, attributes={"team": "a"})
    assert second == first
    assert len(server.flows) == 1
    assert UUID(first["flow_id"])
    assert [method for method, _, _ in (line.partition(" ") for line in sent(requests_mock))] == ["GET", "PUT", "GET"]


@pytest.mark.parametrize(
    "changes",
    [{"run_id": "other"}, {"dag_id": "other"}, {"task_id": "other"}, {"map_index": 0}, {"map_index": 1}],
    ids=str,
)
def test_each_task_instance_creates_its_own_flow(changes: dict[str, Any], requests_mock: Mocker) -> None:
    server = OneFlow(requests_mock)
    create()
    create(TaskInstance(**changes))
    assert len(server.flows) == 2


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
    OneFlow(requests_mock)
    with pytest.raises(AirflowFailException, match="is no flow id"):
        create(flow_id="")
    assert requests_mock.call_count == 0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "n"}, "spec.schema: Field required; spec.blocks: Field required"),
        (None, "spec: a flow spec or an object of its fields expected, NoneType given"),
        (wire_spec(settings={"rate": float("nan")}), "the document cannot be written as JSON"),
    ],
)
def test_a_bad_spec_is_not_created(spec: Any, words: str, requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, status_code=404)
    with pytest.raises(AirflowFailException, match=words):
        create(flow_id=FLOW_ID, spec=spec)
    assert "PUT" not in {request.method for request in requests_mock.request_history}
