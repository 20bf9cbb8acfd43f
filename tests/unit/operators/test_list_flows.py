"""ListFlowsOperator: which flows it returns, in which shape, and how much it reads."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final

import pytest
import time_machine
from airflow.providers.common.compat.sdk import AirflowFailException
from requests_mock import Mocker

from tests.documents import ABSENT, FLOW_ID, wire_flow, wire_page, wire_spec
from tests.tasks import FLOWS
from tests.unit.operators.support import DAY_MS, NOW, NOW_MS, run
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.operators.flows import ListFlowsOperator


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


MARKED: Final = {"metadata__attributes": {"__id__": "a"}}


@pytest.mark.parametrize("shape", ["flows", "summaries"])
def test_a_flow_that_no_xcom_can_carry_is_refused_by_its_id(shape: str, requests_mock: Mocker) -> None:
    with pytest.raises(AirflowFailException, match=r"flow old: (metadata\.)?attributes\.__id__: Airflow reserves"):
        listed(requests_mock, ALL[0], aged("old", 100, **MARKED), result=shape)


def test_ids_and_results_that_become_no_xcom_are_never_refused(requests_mock: Mocker) -> None:
    assert listed(requests_mock, aged("old", 100, **MARKED), result="ids") == ["old"]
    (found,) = listed(requests_mock, aged("old", 100, **MARKED), do_xcom_push=False)
    assert found["metadata"]["attributes"] == {"__id__": "a"}
