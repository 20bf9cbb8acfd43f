"""`ViHook.list_flows` takes the criteria of the operators."""

from __future__ import annotations

from typing import Any

import pytest

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.operators.flows import ListFlowsOperator

pytestmark = pytest.mark.vi_emulator(flows=40)


@pytest.mark.parametrize(
    "criteria",
    [
        {},
        {"name_pattern": "PCB*"},
        {"older_than": "P90D"},
        {"attributes": {"keep": "true"}},
        {"older_than": "P90D", "limit": 3, "page_size": 7},
        {"limit": 0},
        {"created_before": "2026-01-01T00:00:00Z"},
    ],
    ids=str,
)
def test_hook_and_operator_select_the_same(vi_emulator: Emulator, criteria: dict[str, Any]) -> None:
    listed = [flow.flow_id for flow in ViHook().list_flows(**criteria)]
    assert listed == ListFlowsOperator(task_id="list", result="ids", **criteria).execute({})


def test_a_criterion_selects_some_flows(vi_emulator: Emulator) -> None:
    assert 0 < len(list(ViHook().list_flows(older_than="P90D"))) < 40


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ({"older_than": 90}, "older_than: 90 is not a timedelta"),
        ({"limit": -1}, "limit: -1 is not a whole number of at least 0"),
        ({"name_pattern": "x", "limit": True}, "limit: True is not a whole number"),
        ({"owner": "me"}, "owner: "),
    ],
    ids=str,
)
def test_unusable_criterion_is_refused_before_any_request(
    vi_emulator: Emulator, criteria: dict[str, Any], message: str
) -> None:
    with pytest.raises(ViValidationError, match=message):
        list(ViHook().list_flows(**criteria))
    assert vi_emulator.requests == []
