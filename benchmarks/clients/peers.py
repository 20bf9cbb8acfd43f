"""Triggers of other providers that wait for a run of their own service."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def dbt_runs() -> Callable[..., Any]:
    """``DbtCloudRunJobTrigger``, to which ``DbtCloudRunJobOperator(deferrable=True)`` defers."""
    from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook  # type: ignore[import-not-found]
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger  # type: ignore[import-not-found]

    from benchmarks.clients.waiting import wait

    url_of = DbtCloudHook.get_request_url_params

    def without_tls(*args: Any, **options: Any) -> tuple[str, dict[str, Any]]:
        """Nothing is measured with TLS, but this hook knows no other scheme."""
        url, parameters = url_of(*args, **options)
        return url.replace("https://", "http://", 1), parameters

    DbtCloudHook.get_request_url_params = staticmethod(without_tls)

    def run(count: int, poll: float, **times: float) -> dict[str, Any]:
        end = time.time() + 3600
        triggers = {
            str(number): DbtCloudRunJobTrigger("dbt_cloud_default", number, end, poll, 1) for number in range(count)
        }
        return wait(triggers, **times)

    return run


def databricks_runs() -> Callable[..., Any]:
    """``DatabricksExecutionTrigger``, to which ``DatabricksSubmitRunOperator(deferrable=True)`` defers."""
    from airflow.providers.databricks.triggers.databricks import (  # type: ignore[import-not-found]
        DatabricksExecutionTrigger,
    )

    from benchmarks.clients.waiting import wait

    def run(count: int, poll: float, **times: float) -> dict[str, Any]:
        triggers = {
            str(number): DatabricksExecutionTrigger(number, "databricks_default", polling_period_seconds=poll)
            for number in range(count)
        }
        return wait(triggers, **times)

    return run
