"""Every operator and sensor of the provider, with success and failure; and a DAG that leaks a planted secret."""

from __future__ import annotations

import base64
import json
import logging
import os
import urllib.parse
from pathlib import Path
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from vi_airflow_provider.operators.flows import (
    CreateFlowOperator,
    DeleteFlowOperator,
    ExportFlowsOperator,
    GetFlowOperator,
    ListFlowsOperator,
    PruneFlowsOperator,
    RestoreFlowsOperator,
    UpdateFlowOperator,
)
from vi_airflow_provider.operators.runs import (
    ExportModelOperator,
    ExportRunLogsOperator,
    ExportRunsOperator,
    GetRunOperator,
    GetRunOutputsOperator,
    KillOverdueRunsOperator,
    KillRunOperator,
    ListRunsOperator,
    PruneRunsOperator,
    StartRunOperator,
)
from vi_airflow_provider.sensors.flows import FlowExistsSensor, FlowSpecSensor
from vi_airflow_provider.sensors.runs import RunStateSensor

SCENARIO: dict[str, Any] = json.loads(Path(os.environ["SECURITY_SCENARIO"]).read_text())
FILES = SCENARIO["files"]
SPEC = {"name": "Made by a task", "schema": "v1", "blocks": []}
START = pendulum.datetime(2026, 1, 1, tz="UTC")


def everything(conn: str) -> None:
    """Create a task for each operator and sensor, on the flows of this connection."""
    gate: dict[str, Any] = {"vi_conn_id": conn, "poke_interval": 0.2, "timeout": 20, "max_failures": 1}
    ListFlowsOperator(task_id=f"list.{conn}", vi_conn_id=conn, limit=3)
    GetFlowOperator(task_id=f"get.{conn}", vi_conn_id=conn, flow_id=f"{conn}-get")
    CreateFlowOperator(task_id=f"create.{conn}", vi_conn_id=conn, spec=SPEC)
    UpdateFlowOperator(task_id=f"update.{conn}", vi_conn_id=conn, flow_id=f"{conn}-update", spec={"name": "x"})
    DeleteFlowOperator(
        task_id=f"delete.{conn}", vi_conn_id=conn, flow_id=f"{conn}-delete", archive_to=f"{FILES}/archives"
    )
    PruneFlowsOperator(
        task_id=f"prune.{conn}",
        vi_conn_id=conn,
        older_than="PT0S",
        attributes={"prune": conn},
        dry_run=False,
        archive_to=f"{FILES}/archives",
    )
    RestoreFlowsOperator(task_id=f"restore.{conn}", vi_conn_id=conn, archive=SCENARIO["archive"], if_exists="replace")
    ExportFlowsOperator(
        task_id=f"export.{conn}", vi_conn_id=conn, destination=f"{FILES}/exports/{conn}.jsonl", html_report=True
    )
    ExportRunsOperator(
        task_id=f"export_runs.{conn}", vi_conn_id=conn, destination=f"{FILES}/runs/{conn}.jsonl", html_report=True
    )
    existing = [
        ListRunsOperator(task_id=f"list_runs.{conn}", vi_conn_id=conn),
        GetRunOperator(task_id=f"get_run.{conn}", vi_conn_id=conn, run_id="trained"),
        KillRunOperator(task_id=f"kill_run.{conn}", vi_conn_id=conn, run_id="trained"),
    ]
    GetRunOutputsOperator(
        task_id=f"outputs.{conn}", vi_conn_id=conn, run_id="trained", destination=f"{FILES}/outputs/{conn}.jsonl"
    )
    ExportModelOperator(
        task_id=f"model.{conn}", vi_conn_id=conn, run_id="trained", destination=f"{FILES}/models/{conn}.bin"
    )
    ExportModelOperator(
        task_id=f"rejected_model.{conn}",
        vi_conn_id=conn,
        run_id="trained",
        select=SCENARIO["rejected"],
        destination=f"{FILES}/models/{conn}-rejected.bin",
    )
    ExportRunLogsOperator(
        task_id=f"log.{conn}", vi_conn_id=conn, run_id="trained", destination=f"{FILES}/logs/{conn}.log"
    )
    FlowExistsSensor(task_id=f"poke.{conn}", flow_id=f"{conn}-get", **gate)
    FlowExistsSensor(
        task_id=f"reschedule.{conn}", flow_name=f"{conn}-get", mode="reschedule", **{**gate, "poke_interval": 60}
    )
    FlowSpecSensor(
        task_id=f"defer.{conn}", flow_id=f"{conn}-get", deferrable=True, unchanged_for=SCENARIO["wait"], **gate
    )
    flow: dict[str, Any] = {"vi_conn_id": conn, "flow_id": f"{conn}-get", "trigger_rule": "all_done"}
    train = StartRunOperator(task_id=f"train.{conn}", deferrable=True, poll_interval=0.2, **flow)
    start = StartRunOperator(task_id=f"start.{conn}", wait_for_completion=False, **flow)
    # In this order, so that the run is still active when the sensor begins to wait.
    state = RunStateSensor(task_id=f"state.{conn}", newest=True, deferrable=True, **{**gate, **flow})
    kill_overdue = KillOverdueRunsOperator(task_id=f"overdue.{conn}", vi_conn_id=conn, dry_run=False)
    prune_runs = PruneRunsOperator(
        task_id=f"prune_runs.{conn}",
        vi_conn_id=conn,
        older_than="PT0S",
        attributes={"vi_airflow.flow_id": f"{conn}-get"},
        keep_best=0,
        best_metric=("f1", "max"),
        keep_succeeded=1,
        dry_run=False,
        archive_to=f"{FILES}/archives",
        trigger_rule="all_done",
    )
    existing >> train >> start >> state >> prune_runs
    kill_overdue >> prune_runs


def something(conn: str) -> None:
    """Create a task for each client: synchronous, asynchronous in a worker, asynchronous in a trigger."""
    GetFlowOperator(task_id=f"get.{conn}", vi_conn_id=conn, flow_id=f"{conn}-get")
    PruneFlowsOperator(
        task_id=f"prune.{conn}",
        vi_conn_id=conn,
        plan=[{"flow_id": "a", "name": "a", "etag": "e", "last_updated": 1, "reason": "r"}],
        dry_run=False,
        allow_unarchived=True,
    )
    FlowExistsSensor(
        task_id=f"defer.{conn}", vi_conn_id=conn, flow_id="missing", deferrable=True, poke_interval=0.2, timeout=1
    )


def shown_url(number: int) -> str:
    """Return a URL with a secret, as a template with a macro does."""
    return str(SCENARIO["urls"][number])


with DAG("everything", schedule=None, start_date=START, user_defined_macros={"shown_url": shown_url}):
    for conn_id in SCENARIO["everything"]:
        everything(conn_id)
    for conn_id in SCENARIO["something"]:
        something(conn_id)
    for conn_id in SCENARIO["one thing"]:
        GetFlowOperator(task_id=f"get.{conn_id}", vi_conn_id=conn_id, flow_id=f"{conn_id}-get")
    for number in range(len(SCENARIO["urls"])):
        url = f"{{{{ shown_url({number}) }}}}"
        ExportFlowsOperator(task_id=f"export.to_{number}", vi_conn_id="env", destination=url)
        DeleteFlowOperator(task_id=f"archive.to_{number}", vi_conn_id="env", flow_id="keep", archive_to=url)
        RestoreFlowsOperator(task_id=f"restore.from_{number}", vi_conn_id="env", archive=url)


class LeakingOperator(BaseOperator):
    """Leaks in every way that a task can."""

    template_fields = ("argument",)

    def __init__(self, *, argument: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.argument = argument

    def execute(self, context: Any) -> str:
        """Leak the planted secret."""
        planted: str = SCENARIO["planted"]
        logging.getLogger("urllib3").debug("Authorization: %s", json.dumps(planted[10:70]))
        print("printed", repr(planted[20:60]))
        Path(FILES, "exports").mkdir(parents=True, exist_ok=True)
        Path(FILES, "exports", "leak.html").write_text(planted[30:70])
        return base64.b64encode(f"prefix {planted}".encode()).decode()


with DAG("leaking", schedule=None, start_date=START, doc_md=SCENARIO["planted"][::-1]):
    LeakingOperator(task_id="leak", argument="{{ '" + urllib.parse.quote(SCENARIO["planted"][40:90]) + "' }}")
