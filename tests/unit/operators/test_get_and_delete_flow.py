"""GetFlowOperator, and what DeleteFlowOperator does without an archive."""

from __future__ import annotations

from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator
from requests_mock import Mocker

from tests.documents import FLOW_ID, wire_flow
from tests.unit.operators.support import FLOW, ROOT, run, sent
from vi_airflow_provider.api.errors import ViConflictError, ViNotFoundError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.operators.flows import DeleteFlowOperator, GetFlowOperator


def test_get_returns_the_flow(requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, json=wire_flow())
    result = run(GetFlowOperator(task_id="get", flow_id=FLOW_ID))
    assert Flow.model_validate(result).to_wire() == wire_flow()


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


@pytest.mark.parametrize("if_missing", ["success", "skip", "fail"])
def test_delete_deletes(if_missing: Any, requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, json=wire_flow())
    requests_mock.delete(FLOW, status_code=204)
    result = run(DeleteFlowOperator(task_id="delete", flow_id=FLOW_ID, if_missing=if_missing))
    assert result == {"flow_id": FLOW_ID, "outcome": "deleted", "archive": None}
    assert sent(requests_mock) == [f"GET {ROOT}/flows/{FLOW_ID}", f"DELETE {ROOT}/flows/{FLOW_ID}"]


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
    requests_mock.get(FLOW, json=wire_flow())
    requests_mock.delete(FLOW, status_code=409, json={"message": "A run uses this flow."})
    with pytest.raises(ViConflictError, match=r"A run uses this flow\. If a run uses the flow, wait for it to end"):
        run(DeleteFlowOperator(task_id="delete", flow_id=FLOW_ID))
