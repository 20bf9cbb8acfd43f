"""Training runs in DAGs that Airflow runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from demo import local_airflow
from vi_airflow_provider.emulator import Emulator


@pytest.fixture
def dags(database: None, one_api_server: None) -> dict[str, Any]:
    return local_airflow.load_dags(Path(__file__).parent / "dags")


@pytest.mark.vi_emulator(flows=2, runs=0, run_seconds=1.0)
def test_sensors_wait_for_the_run_that_a_task_has_started(dags: dict[str, Any], vi_emulator: Emulator) -> None:
    run = local_airflow.run(dags["start_then_wait"], {"flow_id": vi_emulator.store.flow_ids()[0]})
    assert run.state == "success"
    (started,) = local_airflow.returned(run, "start")
    for task_id in ("poked", "rescheduled", "deferred", "newest"):
        (summary,) = local_airflow.returned(run, task_id)
        assert (summary["run_id"], summary["state"]) == (started["run_id"], "succeeded")
        assert summary["model"]["run_output_id"]
