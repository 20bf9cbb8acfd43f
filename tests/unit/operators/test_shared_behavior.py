"""What all operators of one flow or a listing share: errors, the link, connections, secrets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException
from requests_mock import ANY, Mocker

from tests.documents import FLOW_ID, ORGANIZATION_ID, SECRET_KEY, wire_flow
from tests.tasks import SECRETS_BACKENDS, EmptyBackend, TaskInstance, UnavailableBackend, connection
from tests.unit.operators.support import BELOW, FLOW, SPEC, run
from vi_airflow_provider.api.errors import (
    ViConflictError,
    ViNetworkError,
    ViRateLimitError,
    ViResponseError,
    ViServerError,
    ViTimeoutError,
)
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.operators.flows import (
    CreateFlowOperator,
    DeleteFlowOperator,
    GetFlowOperator,
    ListFlowsOperator,
    UpdateFlowOperator,
)

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


BAD: Final[dict[str, tuple[type[ViBaseOperator], dict[str, Any]]]] = {
    "result: 'all' is not one of 'flows', 'summaries', 'ids'": (ListFlowsOperator, {"result": "all"}),
    "limit: -1 is not a whole number": (ListFlowsOperator, {"limit": -1}),
    "limit: 'ten' is not a whole number": (ListFlowsOperator, {"limit": "ten"}),
    "limit: True is not a whole number": (ListFlowsOperator, {"limit": True}),
    "limit: 1.5 is not a whole number": (ListFlowsOperator, {"limit": 1.5}),
    "page_size: 0 is not a whole number of at least 1": (ListFlowsOperator, {"page_size": 0}),
    "page_size: 'None' is not a whole number": (ListFlowsOperator, {"page_size": "None"}),
    "max_xcom_bytes: 'many' is not a whole number": (ListFlowsOperator, {"max_xcom_bytes": "many"}),
    "name_pattern: ": (ListFlowsOperator, {"name_pattern": ""}),
    "training_project: ": (ListFlowsOperator, {"training_project": ""}),
    "older_than: ": (ListFlowsOperator, {"older_than": 90}),
    "updated_before: ": (ListFlowsOperator, {"updated_before": "2026-07-01"}),
    "attributes": (ListFlowsOperator, {"attributes": {"team": 5}}),
    "flow_id: 'None' is given, or the template rendered to None": (DeleteFlowOperator, {"flow_id": "None"}),
    "'../x' is not a valid flow id": (GetFlowOperator, {"flow_id": "../x"}),
    "'' is not a valid flow id": (GetFlowOperator, {"flow_id": ""}),
    "None is not a valid flow id": (GetFlowOperator, {"flow_id": None}),
    "flow_id: 12 is a number, not text; write '12', or in a DAG that renders": (GetFlowOperator, {"flow_id": 12}),
    "{'a': 1} is not a valid flow id": (DeleteFlowOperator, {"flow_id": {"a": 1}}),
    "'a\\n' is not a valid flow id": (DeleteFlowOperator, {"flow_id": "a\n"}),
    "'a/b' is not a valid flow id": (CreateFlowOperator, {"flow_id": "a/b", "spec": SPEC}),
    "'ü' is not a valid flow id": (UpdateFlowOperator, {"flow_id": "ü", "spec": {}}),
    "if_missing: 'ignore' is not one of 'fail', 'skip'": (GetFlowOperator, {"flow_id": "a", "if_missing": "ignore"}),
    "if_missing: 'ignore' is not one of 'success', 'skip', 'fail'": (
        DeleteFlowOperator,
        {"flow_id": "a", "if_missing": "ignore"},
    ),
    "if_exists: 'ignore' is not one of 'fail', 'skip', 'replace'": (
        CreateFlowOperator,
        {"flow_id": "a", "spec": SPEC, "if_exists": "ignore"},
    ),
    "nothing to update": (UpdateFlowOperator, {"flow_id": "a"}),
    "spec.name: ": (UpdateFlowOperator, {"flow_id": "a", "spec": {"name": 5}}),
    "spec: a flow spec or an object of its fields expected": (
        UpdateFlowOperator,
        {"flow_id": "a", "spec": "{'name': 'n'}"},
    ),
    "attributes['team']: text expected": (UpdateFlowOperator, {"flow_id": "a", "attributes": {"team": 5}}),
}


@pytest.mark.parametrize("words", BAD)
def test_a_bad_value_fails_the_task_before_any_request(words: str, requests_mock: Mocker) -> None:
    operator, arguments = BAD[words]
    task = operator(task_id="t", **arguments)
    with pytest.raises(AirflowFailException) as caught:
        run(task)
    assert str(caught.value).startswith(f"ViValidationError: {words}")
    assert requests_mock.call_count == 0


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
