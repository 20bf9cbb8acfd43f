"""Passes flows from task to task in every way that Airflow offers."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from vi_airflow_provider.operators.flows import (
    CreateFlowOperator,
    DeleteFlowOperator,
    GetFlowOperator,
    ListFlowsOperator,
    UpdateFlowOperator,
)


def copy_of(flow: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that create a copy of a flow."""
    attributes = flow["metadata"]["attributes"]
    return {"flow_id": f"copy-of-{flow['flow_id']}", "spec": flow["spec"], "attributes": attributes}


with DAG("hostile_names", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC")):
    listed = ListFlowsOperator(task_id="listed")
    got = GetFlowOperator.partial(task_id="get").expand(flow_id=listed.output.map(lambda flow: flow["flow_id"]))
    copied = CreateFlowOperator.partial(task_id="copy", vi_conn_id="{{ 'vi_default' }}").expand_kwargs(
        listed.output.map(copy_of)
    )
    specs = listed.output.map(lambda flow: flow["spec"])
    remade = CreateFlowOperator.partial(task_id="remake", if_exists="replace").expand(spec=specs)
    one = GetFlowOperator(task_id="one", flow_id="original")
    template = UpdateFlowOperator(
        task_id="template",
        flow_id="renamed",
        spec={"name": "{{ ti.xcom_pull(task_ids='one')['spec']['name'] }}"},
    )
    deleted = DeleteFlowOperator.partial(task_id="delete").expand_kwargs(
        got.output.map(lambda flow: {"flow_id": flow["flow_id"], "expected_etag": flow["etag"]})
    )
    one >> template >> got
    [copied, remade, template] >> deleted
