"""Operators in a DAG, run by ``dag.test()``: whole tasks, with their XComs in Airflow's database."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo import local_airflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import BaseOperator


def list_flows() -> Callable[[], Any]:
    """``ListFlowsOperator``: a summary of every flow in the XCom."""
    from vi_airflow_provider.operators.flows import ListFlowsOperator

    return _runs(ListFlowsOperator(task_id="list", result="summaries"), _number)


def export_flows() -> Callable[[], Any]:
    """``ExportFlowsOperator``: every flow in a file."""
    from vi_airflow_provider.operators.flows import ExportFlowsOperator

    destination = (_folder() / "flows.jsonl").as_uri()
    return _runs(ExportFlowsOperator(task_id="export", destination=destination), lambda xcom: {"flows": xcom["count"]})


def prune_flows(*, dry_run: bool) -> Callable[[], Any]:
    """``PruneFlowsOperator``: flows older than 90 days."""
    from vi_airflow_provider.operators.flows import PruneFlowsOperator

    prune = PruneFlowsOperator(
        task_id="prune",
        older_than="P90D",
        dry_run=dry_run,
        max_delete=1_000_000,
        max_delete_fraction=1.0,
        archive_to=None if dry_run else _folder().as_uri(),
    )
    return _runs(prune, lambda xcom: {"selected": xcom["selected"], "deleted": xcom["deleted"]})


def _number(xcom: Any) -> dict[str, Any]:
    return {"flows": len(xcom)}


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="operators-", dir=os.environ["AIRFLOW_HOME"]))


def _runs(operator: BaseOperator, found: Callable[[Any], dict[str, Any]]) -> Callable[[], Any]:
    """Put an operator into a DAG of its own, and return a function that runs it."""
    dag = _stored(operator)

    def run() -> dict[str, Any]:
        dag_run = local_airflow.run(dag)
        if dag_run.state != "success":
            raise RuntimeError(f"{operator.task_id} ended as {dag_run.state}")
        task = dag_run.get_task_instances()[0]
        [xcom] = local_airflow.returned(dag_run, operator.task_id)
        return {"task_seconds": (task.end_date - task.start_date).total_seconds(), **found(xcom)}

    return run


def _stored(operator: BaseOperator) -> Any:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.providers.common.compat.sdk import DAG

    _create_database()
    dag = DAG(f"benchmark_{operator.task_id}_{id(operator)}", schedule=None)
    dag.add_task(operator)
    bag = DagBag(dag_folder=os.devnull)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    return dag


@cache
def _create_database() -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    local_airflow.create_database()
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
