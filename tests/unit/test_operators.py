"""The operators, executed with a plain context: what they send, what they return, how they fail."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
import requests
import time_machine
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    BaseOperator,
)
from requests_mock import ANY, Mocker

from tests.documents import ABSENT, FLOW_ID, ORGANIZATION_ID, SECRET_KEY, wire_flow, wire_page, wire_spec
from tests.tasks import (
    FLOWS,
    HOST,
    SECRETS_BACKENDS,
    EmptyBackend,
    TaskInstance,
    UnavailableBackend,
    connection,
    plain,
)
from vi_airflow_provider.api.errors import (
    ViConflictError,
    ViNetworkError,
    ViNotFoundError,
    ViRateLimitError,
    ViResponseError,
    ViServerError,
    ViTimeoutError,
)
from vi_airflow_provider.api.models import Flow, FlowSpec
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.operators.flows import (
    CreateFlowOperator,
    DeleteFlowOperator,
    GetFlowOperator,
    ListFlowsOperator,
    UpdateFlowOperator,
    ViBaseOperator,
)

FLOW: Final = f"{FLOWS}/{FLOW_ID}"
NOW: Final = datetime(2026, 7, 1, 12, tzinfo=UTC)
NOW_MS: Final = 1_782_907_200_000
DAY_MS: Final = 86_400_000
SPEC: Final = wire_spec()
#: Any URL below the flows of the organization.
BELOW: Final = re.compile(f"^{re.escape(FLOWS)}")


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", connection())


def run(operator: ViBaseOperator, ti: TaskInstance | None = None) -> Any:
    """Execute, and check that the result can be an XCom."""
    return plain(operator.execute({"ti": ti or TaskInstance()}))


def sent(requests_mock: Mocker) -> list[str]:
    return [f"{request.method} {request.url.partition(HOST)[2]}" for request in requests_mock.request_history]


ROOT: Final = f"/workspaces/{ORGANIZATION_ID}"

# --- list ------------------------------------------------------------------------------------------------------------


def aged(name: str, days: float, **changes: Any) -> dict[str, Any]:
    return wire_flow(flowId=name, metadata__lastUpdated=NOW_MS - int(days * DAY_MS), **changes)


ALL: Final = [
    aged("new", 1, spec__name="weld new", metadata__attributes={"team": "a"}),
    aged("old", 100, spec__name="weld old", spec__trainingProject="other"),
    aged("older", 200, spec__name="paint", metadata__timeCreated=NOW_MS - 300 * DAY_MS),
]


def listed(requests_mock: Mocker, *flows: dict[str, Any], **arguments: Any) -> Any:
    requests_mock.get(FLOWS, json=wire_page(*(flows or ALL)))
    with time_machine.travel(NOW, tick=False):
        return run(ListFlowsOperator(task_id="list", **arguments))


@pytest.mark.parametrize(
    ("criteria", "ids"),
    [
        ({}, ["new", "old", "older"]),
        ({"name_pattern": "weld*"}, ["new", "old"]),
        ({"training_project": "other"}, ["old"]),
        ({"attributes": {"team": "a"}}, ["new"]),
        ({"older_than": timedelta(days=90)}, ["old", "older"]),
        ({"older_than": "P150D"}, ["older"]),
        ({"older_than": str(timedelta(days=150))}, ["older"]),
        ({"updated_after": NOW - timedelta(days=150)}, ["new", "old"]),
        ({"updated_before": "2026-06-01T00:00:00Z"}, ["old", "older"]),
        ({"created_before": NOW - timedelta(days=250)}, ["older"]),
        ({"created_after": "2026-06-01 00:00:00+00:00"}, ["new", "old"]),
        ({"older_than": "P90D", "name_pattern": "weld*"}, ["old"]),
        ({"name_pattern": "nothing"}, []),
        ({"limit": 2}, ["new", "old"]),
        ({"limit": 0}, []),
        ({"older_than": "P90D", "limit": 1}, ["old"]),
        # As a template renders them:
        ({"limit": "2", "page_size": "50", "result": "ids"}, ["new", "old"]),
    ],
)
def test_list_returns_the_ids_of_the_flows_that_match(
    criteria: dict[str, Any], ids: list[str], requests_mock: Mocker
) -> None:
    assert listed(requests_mock, **{"result": "ids", **criteria}) == ids


def test_list_returns_flows_that_a_later_task_can_validate(requests_mock: Mocker) -> None:
    flows = listed(requests_mock)
    assert [Flow.model_validate(flow).to_wire() for flow in flows] == ALL
    assert flows[0]["metadata"]["last_updated"] == NOW_MS - DAY_MS


def test_list_returns_summaries(requests_mock: Mocker) -> None:
    assert listed(requests_mock, ALL[0], wire_flow(spec__trainingProject=ABSENT), result="summaries") == [
        {
            "flow_id": "new",
            "name": "weld new",
            "training_project": "weld-inspection",
            "time_created": 1_782_864_000_123,
            "last_updated": NOW_MS - DAY_MS,
            "generation": 4,
            "attributes": {"team": "a"},
            "etag": '"4-9d2f61"',
            "block_count": 2,
        },
        {
            "flow_id": FLOW_ID,
            "name": wire_spec()["name"],
            "training_project": None,
            "time_created": 1_782_864_000_123,
            "last_updated": 1_783_209_600_456,
            "generation": 4,
            "attributes": {"team": "line-3"},
            "etag": '"4-9d2f61"',
            "block_count": 2,
        },
    ]


@pytest.mark.parametrize(
    ("arguments", "queries"),
    [
        ({}, ["s=100"]),
        ({"page_size": 7}, ["s=7"]),
        ({"limit": 5}, ["s=5"]),
        ({"limit": 5, "name_pattern": "*"}, ["s=100"]),
        ({"limit": 0}, []),
        ({"limit": 0, "name_pattern": "*"}, []),
    ],
)
def test_list_requests_no_more_than_it_may_return(
    arguments: dict[str, Any], queries: list[str], requests_mock: Mocker
) -> None:
    listed(requests_mock, **arguments)
    assert [request.query for request in requests_mock.request_history] == queries


def test_list_stops_reading_at_its_limit(requests_mock: Mocker) -> None:
    pages = [wire_page(*ALL, nextPage="2"), wire_page(*ALL, nextPage="3")]
    requests_mock.get(FLOWS, [{"json": page} for page in pages])
    with time_machine.travel(NOW, tick=False):
        result = run(ListFlowsOperator(task_id="list", older_than="P90D", limit=3, result="ids"))
    assert result == ["old", "older", "old"]
    assert requests_mock.call_count == 2


@pytest.mark.parametrize("shape", ["flows", "summaries", "ids"])
def test_a_result_larger_than_max_xcom_bytes_is_refused(shape: str, requests_mock: Mocker) -> None:
    result = listed(requests_mock, result=shape, max_xcom_bytes=None)
    size = len(json.dumps(result))
    assert listed(requests_mock, result=shape, max_xcom_bytes=size) == result
    with pytest.raises(AirflowFailException):
        listed(requests_mock, result=shape, max_xcom_bytes=size - 1)


def test_the_error_for_a_large_result_names_the_alternatives(requests_mock: Mocker) -> None:
    with pytest.raises(AirflowFailException) as caught:
        listed(requests_mock, max_xcom_bytes=1000)
    message = str(caught.value)
    assert "max_xcom_bytes (1,000)" in message
    assert 'result="ids"' in message
    assert "ExportFlowsOperator" in message


def test_reading_stops_once_the_result_is_too_large(requests_mock: Mocker) -> None:
    requests_mock.get(FLOWS, json=wire_page(*ALL, nextPage="2"))
    with pytest.raises(AirflowFailException):
        run(ListFlowsOperator(task_id="list", max_xcom_bytes=1000))
    assert requests_mock.call_count <= 2


# --- get -------------------------------------------------------------------------------------------------------------


def test_get_returns_the_flow(requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, json=wire_flow())
    result = run(GetFlowOperator(task_id="get", flow_id=FLOW_ID))
    assert Flow.model_validate(result).to_wire() == wire_flow()


# --- missing flows ---------------------------------------------------------------------------------------------------

GONE: Final = {"flow_id": FLOW_ID, "outcome": "already_absent", "archive": None}
MISSING: Final[list[tuple[type[ViBaseOperator], dict[str, Any], Any]]] = [
    (GetFlowOperator, {}, ViNotFoundError),
    (GetFlowOperator, {"if_missing": "fail"}, ViNotFoundError),
    (GetFlowOperator, {"if_missing": "skip"}, AirflowSkipException),
    (DeleteFlowOperator, {}, GONE),
    (DeleteFlowOperator, {"if_missing": "success"}, GONE),
    (DeleteFlowOperator, {"if_missing": "skip"}, AirflowSkipException),
    (DeleteFlowOperator, {"if_missing": "fail"}, ViNotFoundError),
    (DeleteFlowOperator, {"dry_run": True}, GONE),
    (DeleteFlowOperator, {"dry_run": True, "if_missing": "skip"}, AirflowSkipException),
    (DeleteFlowOperator, {"dry_run": True, "if_missing": "fail"}, ViNotFoundError),
]


@pytest.mark.parametrize(("operator", "arguments", "expected"), MISSING, ids=str)
def test_if_missing_decides_how_a_task_without_its_flow_ends(
    operator: type[ViBaseOperator], arguments: dict[str, Any], expected: Any, requests_mock: Mocker
) -> None:
    for register in (requests_mock.get, requests_mock.delete):
        register(FLOW, status_code=404)
    task = operator(task_id="task", flow_id=FLOW_ID, **arguments)
    if isinstance(expected, dict):
        assert run(task) == expected
    else:
        with pytest.raises(expected, match=FLOW_ID):
            run(task)
    assert requests_mock.call_count == 1


# --- delete ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("if_missing", ["success", "skip", "fail"])
def test_delete_deletes(if_missing: str, requests_mock: Mocker) -> None:
    requests_mock.delete(FLOW, status_code=204)
    result = run(DeleteFlowOperator(task_id="delete", flow_id=FLOW_ID, if_missing=if_missing))
    assert result == {"flow_id": FLOW_ID, "outcome": "deleted", "archive": None}
    assert sent(requests_mock) == [f"DELETE {ROOT}/flows/{FLOW_ID}"]


@pytest.mark.parametrize("dry_run", [True, "True", "true"])
def test_a_dry_run_only_reads(dry_run: bool | str, requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, json=wire_flow())
    result = run(DeleteFlowOperator(task_id="delete", flow_id=FLOW_ID, dry_run=dry_run))
    assert result == {"flow_id": FLOW_ID, "outcome": "would_delete", "archive": None}
    assert sent(requests_mock) == [f"GET {ROOT}/flows/{FLOW_ID}"]


@pytest.mark.parametrize("dry_run", ["", "no", "None", 1, None])
def test_an_unusable_dry_run_deletes_nothing(dry_run: Any, requests_mock: Mocker) -> None:
    with pytest.raises(AirflowFailException, match=r"dry_run: .* is not true or false"):
        run(DeleteFlowOperator(task_id="delete", flow_id=FLOW_ID, dry_run=dry_run))
    assert requests_mock.call_count == 0


@pytest.mark.skipif(not hasattr(BaseOperator, "dry_run"), reason="this Airflow has no dry run of a task")
def test_airflows_own_dry_run_method_is_not_shadowed() -> None:
    task = DeleteFlowOperator(task_id="delete", flow_id=FLOW_ID, dry_run=True)
    assert callable(task.dry_run)
    task.dry_run()


def test_deleting_a_flow_in_use_is_a_retryable_conflict(requests_mock: Mocker) -> None:
    requests_mock.delete(FLOW, status_code=409, json={"message": "A run uses this flow."})
    with pytest.raises(ViConflictError, match=r"A run uses this flow\. If a run uses the flow, wait for it to end"):
        run(DeleteFlowOperator(task_id="delete", flow_id=FLOW_ID))


# --- create ----------------------------------------------------------------------------------------------------------


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


# --- update ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        ({"spec": {"name": "n"}}, {"spec": {"name": "n"}}),
        ({"spec": {"training_project": None}}, {"spec": {"trainingProject": None}}),
        ({"attributes": {"a": "b", "c": None}}, {"metadata": {"attributes": {"a": "b", "c": None}}}),
        (
            {"spec": {"blocks": [{"block": "b"}]}, "attributes": {}},
            {"spec": {"blocks": [{"block": "b", "settings": {}, "style": {}}]}, "metadata": {"attributes": {}}},
        ),
    ],
)
def test_update_sends_only_what_is_given(
    arguments: dict[str, Any], body: dict[str, Any], requests_mock: Mocker
) -> None:
    requests_mock.patch(FLOW, json=wire_flow(etag="new"))
    assert run(UpdateFlowOperator(task_id="update", flow_id=FLOW_ID, **arguments))["etag"] == "new"
    assert [request.json() for request in requests_mock.request_history] == [body]


# --- errors that all operators share ---------------------------------------------------------------------------------

TASKS: Final[dict[str, Callable[[], ViBaseOperator]]] = {
    "list": lambda: ListFlowsOperator(task_id="list"),
    "get": lambda: GetFlowOperator(task_id="get", flow_id=FLOW_ID),
    "delete": lambda: DeleteFlowOperator(task_id="delete", flow_id=FLOW_ID),
    "delete, dry run": lambda: DeleteFlowOperator(task_id="delete", flow_id=FLOW_ID, dry_run=True),
    "create": lambda: CreateFlowOperator(task_id="create", spec=SPEC, flow_id=FLOW_ID),
    "update": lambda: UpdateFlowOperator(task_id="update", flow_id=FLOW_ID, attributes={}),
}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "ViValidationError: "),
        (401, "ViAuthenticationError: "),
        (403, "ViPermissionError: "),
        (422, "ViValidationError: "),
    ],
)
def test_a_permanent_error_fails_the_task_without_retries(
    status: int, words: str, name: str, requests_mock: Mocker
) -> None:
    requests_mock.register_uri(ANY, BELOW, status_code=status, json={"message": "No."})
    with pytest.raises(AirflowFailException, match=rf"^{words}.*: {status} .*: No\.") as caught:
        run(TASKS[name]())
    assert type(caught.value.__cause__).__name__ == words.removesuffix(": ")
    assert SECRET_KEY not in str(caught.value)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(
    ("response", "error"),
    [
        ({"status_code": 408}, ViTimeoutError),
        ({"status_code": 409}, ViConflictError),
        ({"status_code": 429}, ViRateLimitError),
        ({"status_code": 500}, ViServerError),
        ({"status_code": 503}, ViServerError),
        ({"exc": ConnectionResetError}, ViNetworkError),
        ({"exc": requests.exceptions.ReadTimeout}, ViTimeoutError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_a_transient_error_keeps_its_class_so_that_airflow_retries(
    response: dict[str, Any], error: type[Exception], name: str, requests_mock: Mocker
) -> None:
    requests_mock.register_uri(ANY, BELOW, **response)
    with pytest.raises(error):
        run(TASKS[name]())


@pytest.mark.parametrize("name", [name for name in TASKS if name != "delete"])  # there, any 2xx is success
def test_a_response_of_another_server_is_retryable(name: str, requests_mock: Mocker) -> None:
    requests_mock.register_uri(ANY, BELOW, text="<html>Sign in</html>")
    with pytest.raises(ViResponseError):
        run(TASKS[name]())


BAD: Final[dict[str, Callable[[], ViBaseOperator]]] = {
    "result: 'all' is not one of 'flows', 'summaries', 'ids'": lambda: ListFlowsOperator(task_id="t", result="all"),
    "limit: -1 is not a whole number": lambda: ListFlowsOperator(task_id="t", limit=-1),
    "limit: 'ten' is not a whole number": lambda: ListFlowsOperator(task_id="t", limit="ten"),
    "limit: True is not a whole number": lambda: ListFlowsOperator(task_id="t", limit=True),
    "limit: 1.5 is not a whole number": lambda: ListFlowsOperator(task_id="t", limit=1.5),
    "page_size: 0 is not a whole number of at least 1": lambda: ListFlowsOperator(task_id="t", page_size=0),
    "page_size: 'None' is not a whole number": lambda: ListFlowsOperator(task_id="t", page_size="None"),
    "max_xcom_bytes: 'many' is not a whole number": lambda: ListFlowsOperator(task_id="t", max_xcom_bytes="many"),
    "name_pattern: ": lambda: ListFlowsOperator(task_id="t", name_pattern=""),
    "training_project: ": lambda: ListFlowsOperator(task_id="t", training_project=""),
    "older_than: ": lambda: ListFlowsOperator(task_id="t", older_than=90),
    "updated_before: ": lambda: ListFlowsOperator(task_id="t", updated_before="2026-07-01"),
    "attributes": lambda: ListFlowsOperator(task_id="t", attributes={"team": 5}),
    "flow_id: the template rendered to None": lambda: DeleteFlowOperator(task_id="t", flow_id="None"),
    "'../x' is no flow id": lambda: GetFlowOperator(task_id="t", flow_id="../x"),
    "'' is no flow id": lambda: GetFlowOperator(task_id="t", flow_id=""),
    "None is no flow id": lambda: GetFlowOperator(task_id="t", flow_id=None),
    "flow_id: 12 is a number, not a text; in a DAG that renders": lambda: GetFlowOperator(task_id="t", flow_id=12),
    "{'a': 1} is no flow id": lambda: DeleteFlowOperator(task_id="t", flow_id={"a": 1}),
    "'a\\n' is no flow id": lambda: DeleteFlowOperator(task_id="t", flow_id="a\n"),
    "'a/b' is no flow id": lambda: CreateFlowOperator(task_id="t", flow_id="a/b", spec=SPEC),
    "'ü' is no flow id": lambda: UpdateFlowOperator(task_id="t", flow_id="ü", spec={}),
    "if_missing: 'ignore' is not one of 'fail', 'skip'": lambda: GetFlowOperator(
        task_id="t", flow_id="a", if_missing="ignore"
    ),
    "if_missing: 'ignore' is not one of 'success', 'skip', 'fail'": lambda: DeleteFlowOperator(
        task_id="t", flow_id="a", if_missing="ignore"
    ),
    "if_exists: 'ignore' is not one of 'fail', 'skip', 'replace'": lambda: CreateFlowOperator(
        task_id="t", flow_id="a", spec=SPEC, if_exists="ignore"
    ),
    "nothing to update": lambda: UpdateFlowOperator(task_id="t", flow_id="a"),
    "spec.name: ": lambda: UpdateFlowOperator(task_id="t", flow_id="a", spec={"name": 5}),
    "spec: a flow spec or an object of its fields expected, str given": lambda: UpdateFlowOperator(
        task_id="t", flow_id="a", spec="{'name': 'n'}"
    ),
    "attributes['team']: text expected, int given": lambda: UpdateFlowOperator(
        task_id="t", flow_id="a", attributes={"team": 5}
    ),
}


@pytest.mark.parametrize("words", BAD)
def test_a_bad_value_fails_the_task_before_any_request(words: str, requests_mock: Mocker) -> None:
    task = BAD[words]()
    with pytest.raises(AirflowFailException) as caught:
        run(task)
    assert str(caught.value).startswith(f"ViValidationError: {words}")
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


@pytest.mark.parametrize("name", TASKS)
def test_an_unusable_connection_fails_the_task_without_retries(
    name: str, requests_mock: Mocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", connection(page_size="many"))
    with pytest.raises(AirflowFailException, match=r"^ViConfigurationError: extra\.page_size: 'many'"):
        run(TASKS[name]())
    assert requests_mock.call_count == 0


@pytest.mark.parametrize("backend", [UnavailableBackend(), EmptyBackend()], ids=["backend down", "not defined"])
@pytest.mark.parametrize("name", TASKS)
def test_a_connection_that_is_not_found_leaves_the_task_its_retries(
    name: str, backend: Any, requests_mock: Mocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Airflow does not tell the two apart.
    monkeypatch.setattr(SECRETS_BACKENDS, lambda: [backend])
    with pytest.raises(AirflowNotFoundException, match="The conn_id `vi_default` isn't defined"):
        run(TASKS[name]())
    assert requests_mock.call_count == 0


# --- link, connections, secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_the_link_is_stored_before_the_first_request(name: str, requests_mock: Mocker) -> None:
    ti = TaskInstance()
    requests_mock.register_uri(ANY, BELOW, status_code=500)
    with pytest.raises(ViServerError):
        run(TASKS[name](), ti)
    flow_id = "" if name == "list" else FLOW_ID
    assert ti.pushed == {"vi_link": f"https://ui.example/{ORGANIZATION_ID}/{flow_id}"}


def test_a_context_without_a_task_instance_is_enough(requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, json=wire_flow())
    assert GetFlowOperator(task_id="get", flow_id=FLOW_ID).execute({})["flow_id"] == FLOW_ID


@pytest.mark.parametrize("status", [200, 500])
def test_connections_are_closed_afterwards(status: int, requests_mock: Mocker, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(ViHook, "close", lambda self: closed.append(self.vi_conn_id))
    requests_mock.get(FLOW, status_code=status, json=wire_flow())
    try:
        run(GetFlowOperator(task_id="get", flow_id=FLOW_ID))
    except ViServerError:
        assert status == 500
    assert closed == ["vi_default"]


def test_another_connection_can_be_chosen(requests_mock: Mocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_VI_DEFAULT")
    monkeypatch.setenv("AIRFLOW_CONN_VI_TEST", connection())
    requests_mock.get(FLOW, json=wire_flow())
    assert run(GetFlowOperator(task_id="get", flow_id=FLOW_ID, vi_conn_id="vi_test"))["flow_id"] == FLOW_ID


@pytest.mark.parametrize("name", TASKS)
def test_no_task_log_shows_the_key(name: str, requests_mock: Mocker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    requests_mock.register_uri(ANY, BELOW, status_code=401, json={"message": SECRET_KEY})
    with pytest.raises(AirflowFailException) as caught:
        run(TASKS[name]())
    assert SECRET_KEY[:30] not in caplog.text + str(caught.value) + repr(caught.value)


# --- in a DAG --------------------------------------------------------------------------------------------------------


def dag() -> DAG:
    return DAG("dag", schedule=None, start_date=NOW)


def test_values_may_be_templates() -> None:
    with dag() as around:
        task = ListFlowsOperator(
            task_id="list",
            vi_conn_id="{{ conn }}",
            name_pattern="{{ pattern }}*",
            attributes={"team": "{{ team }}"},
            older_than="P{{ days }}D",
            updated_before="{{ when }}",
            limit="{{ limit }}",
            page_size="{{ limit }}",
            result="{{ result }}",
        )
    assert task.dag is around
    values = {"conn": "c", "pattern": "weld", "team": "a", "days": 9, "when": NOW, "limit": 5, "result": "ids"}
    task.render_template_fields(values)
    assert (task.vi_conn_id, task.name_pattern, task.attributes) == ("c", "weld*", {"team": "a"})
    assert (task.older_than, task.updated_before) == ("P9D", "2026-07-01 12:00:00+00:00")
    assert (task.limit, task.page_size, task.result) == ("5", "5", "ids")


@pytest.mark.parametrize(("text", "deletes"), [("{{ false }}", True), ("{{ true }}", False)])
def test_a_dry_run_may_be_a_template(text: str, deletes: bool, requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, json=wire_flow())
    requests_mock.delete(FLOW, status_code=204)
    with dag():
        task = DeleteFlowOperator(task_id="delete", flow_id=FLOW_ID, dry_run=text)
    task.render_template_fields({})
    assert run(task)["outcome"] == ("deleted" if deletes else "would_delete")


@pytest.mark.parametrize(
    ("operator", "partial", "expand"),
    [
        (ListFlowsOperator, {"result": "ids"}, {"training_project": ["a", "b"]}),
        (GetFlowOperator, {}, {"flow_id": ["a", "b"]}),
        (DeleteFlowOperator, {"dry_run": True}, {"flow_id": ["a", "b"]}),
        (DeleteFlowOperator, {"flow_id": "a"}, {"dry_run": [True, False]}),
        (CreateFlowOperator, {"attributes": {"a": "b"}}, {"spec": [SPEC, SPEC]}),
        (UpdateFlowOperator, {"spec": {"name": "n"}}, {"flow_id": ["a", "b"]}),
    ],
)
def test_every_operator_can_be_mapped(
    operator: type[ViBaseOperator], partial: dict[str, Any], expand: dict[str, list[Any]]
) -> None:
    with dag() as around:
        mapped = operator.partial(task_id="mapped", **partial).expand(**expand)
    assert around.get_task("mapped") is mapped
    assert mapped.operator_class is operator


def test_arguments_are_not_checked_when_the_dag_is_parsed() -> None:
    nonsense: Any = object()
    ListFlowsOperator(task_id="list", limit=nonsense, older_than=nonsense, result=nonsense, page_size=nonsense)
    GetFlowOperator(task_id="get", flow_id=nonsense, if_missing=nonsense)
    DeleteFlowOperator(task_id="delete", flow_id=nonsense, if_missing=nonsense, dry_run=nonsense)
    CreateFlowOperator(task_id="create", spec=nonsense, attributes=nonsense, flow_id=nonsense, if_exists=nonsense)
    UpdateFlowOperator(task_id="update", flow_id=nonsense, spec=nonsense, attributes=nonsense)
