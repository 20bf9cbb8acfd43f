"""Runs the Python samples of the documentation: code at module level, functions of ``@task``, and the tasks of DAGs."""

from __future__ import annotations

import inspect
import json
import tempfile
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from tests.documents import SECRET_KEY
from tests.unit.docs.pages import Block
from tests.unit.docs.vi_server import NOW


class TaskInstance:
    """The task instance that a task sees; XComs come from the results of one DAG run."""

    dag_id, run_id, map_index, try_number = "docs", "manual", -1, 1

    def __init__(self, task_id: str, results: dict[str, Any]) -> None:
        self.task_id = task_id
        self._results = results

    def xcom_push(self, key: str, value: Any) -> None:
        json.dumps(value)

    def xcom_pull(self, task_ids: str, **_: Any) -> Any:
        return self._results[task_ids]

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        return None


def run(block: Block) -> dict[str, Any]:
    """Run a sample inside a DAG, then its tasks; print and return their results.

    Files that it writes to /tmp go to a temporary folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        code = block.code.replace("dtvi_…", SECRET_KEY).replace("/tmp/", f"{folder}/")  # noqa: S108 - text of the page
        text = json.dumps(_run_code(code, str(block)))
    results: dict[str, Any] = json.loads(text.replace(folder, "/tmp"))  # noqa: S108
    for task_id, result in results.items():
        print(f"{task_id}: {result!r}")
    return results


def _run_code(code: str, origin: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "sample"}
    with DAG("sample", start_date=NOW, schedule=None) as dag:
        exec(compile(code, origin, "exec"), namespace)  # noqa: S102 - a page of this repository
    for value in namespace.values():
        function = getattr(value, "function", None)
        if function is not None and not inspect.signature(function).parameters:
            print(f"{function.__name__}: {function()!r}")
    # A sample that defines a DAG of its own leaves ours empty.
    return _run_tasks(namespace.get("dag", dag))


def _run_tasks(dag: Any) -> dict[str, Any]:
    """Execute the tasks of a DAG in topological order, without a scheduler; return their results."""
    results: dict[str, Any] = {}
    for task in dag.topological_sort():
        results[task.task_id] = _execute(task, results, dag)
        json.dumps(results[task.task_id])
    return results


def _execute(task: Any, results: dict[str, Any], dag: Any) -> Any:
    context = {
        "ti": TaskInstance(task.task_id, results),
        "params": dag.params.dump(),
        "task": task,
        "ds": f"{NOW:%Y-%m-%d}",
        "dag_run": SimpleNamespace(start_date=NOW),
        "macros": SimpleNamespace(timedelta=timedelta),
        "expanded_ti_count": None,
    }
    if hasattr(task, "expand_input"):
        (name, source) = next(iter(task.expand_input.value.items()))
        values = source.resolve(context) if hasattr(source, "resolve") else source
        return [_execute(task.unmap({name: value}), results, dag) for value in values]
    if getattr(task, "mode", None) == "reschedule":
        task.mode = "poke"  # rescheduling needs Airflow's database
    task.render_template_fields(context)
    return task.execute(context)
