"""``python -m benchmarks.clients.first_call NAME``: the cost of a task's first call, up to its first connection.

The process has loaded what every task has: Airflow's SDK, task runner and supervisor, from which a task is forked. The
DAG file's imports and the creation of the operator or hook are not measured either. Prints the seconds from the call
until it opens a connection, and the top-level packages that were imported meanwhile.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable


def _provider() -> Callable[[], Any]:
    from vi_airflow_provider.operators.flows import GetFlowOperator

    operator = GetFlowOperator(task_id="first", flow_id="a")
    return lambda: operator.execute({})


def _sdk() -> Callable[[], Any]:
    def call() -> Any:
        from benchmarks.clients.sdk import new_client

        client = new_client()  # an unnamed one would be closed before the call
        return client.flows.get("00000000-0000-4000-8000-000000000000")

    return call


def _http() -> Callable[[], Any]:
    from airflow.providers.http.operators.http import HttpOperator

    operator = HttpOperator(task_id="first", endpoint="flows", method="GET")
    return lambda: operator.execute({})


def _dbt() -> Callable[[], Any]:
    from airflow.providers.dbt.cloud.operators.dbt import (  # type: ignore[import-not-found]  # only in its environment
        DbtCloudGetJobRunArtifactOperator,
    )

    operator = DbtCloudGetJobRunArtifactOperator(task_id="first", run_id=1, path="manifest.json", account_id=1)
    return lambda: operator.execute({})


def _databricks() -> Callable[[], Any]:
    from airflow.providers.databricks.operators.databricks import (  # type: ignore[import-not-found]
        DatabricksRunNowOperator,
    )

    operator = DatabricksRunNowOperator(task_id="first", job_id=1)
    return lambda: operator.execute({})


CALLS: Final = {"provider": _provider, "sdk": _sdk, "http": _http, "dbt": _dbt, "databricks": _databricks}


def main() -> None:
    """Make the call; the process ends where it would connect."""
    import airflow.sdk
    import airflow.sdk.execution_time.supervisor
    import airflow.sdk.execution_time.task_runner

    airflow.sdk.BaseOperator  # noqa: B018 - imported on attribute access
    channel = os.dup(1)
    os.dup2(2, 1)  # what the libraries print
    call = CALLS[sys.argv[1]]()
    before = set(sys.modules)

    def connect(*_: Any) -> None:
        seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        packages = {name.partition(".")[0] for name in set(sys.modules) - before if not name.startswith("_")}
        foreign = sorted(packages - {name.partition(".")[0] for name in before} - sys.stdlib_module_names)
        os.write(channel, json.dumps(seconds | {"foreign": foreign}).encode())
        os._exit(0)

    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, connect)
    cpu, wall = time.process_time(), time.perf_counter()
    call()


if __name__ == "__main__":
    main()
