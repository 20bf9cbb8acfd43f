"""UpdateFlowOperator sends what is given, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from requests_mock import Mocker

from tests.documents import FLOW_ID, wire_flow
from tests.unit.operators.support import FLOW, run
from vi_airflow_provider.operators.flows import UpdateFlowOperator


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
