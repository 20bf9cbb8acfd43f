"""The last step of the demonstration: a training, the export of its best model, and the DAG that this starts.

An asset starts a DAG only where a scheduler runs, so this step needs the real processes of Airflow. They start while
the other steps run, and stop with them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from demo.deployment import Deployment
from demo.local_airflow import EXAMPLES

if TYPE_CHECKING:
    from vi_airflow_provider.emulator import Emulator

TRAIN: Final = "train_and_export_model"
DEPLOY: Final = "deploy_model"
#: Seconds that the training takes on the emulator.
RUN_SECONDS: Final = 5.0
_PATIENCE: Final = 180.0


class BackgroundDeployment:
    """An Airflow that starts in the background, with the two DAGs."""

    def __init__(self, airflow: Deployment, dags: Path) -> None:
        self.airflow = airflow
        self._dags = dags
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._start, daemon=True)
        self._thread.start()

    def _start(self) -> None:
        try:
            for name in (TRAIN, DEPLOY):
                (self._dags / f"{name}.py").write_text((EXAMPLES / f"{name}.py").read_text())
            self.airflow.migrate()
            self.airflow.start()
            self.airflow.wait_until_healthy()
        except Exception as error:
            self._error = error

    def ready(self) -> Deployment:
        """Wait until Airflow has read the DAGs.

        :raises TimeoutError: it does not start
        """
        self._thread.join(_PATIENCE)
        if self._error is not None:
            raise self._error
        wait_for(lambda: len(self.airflow.api("GET", "/dags")["dags"]) == 2, "the DAGs were not read")
        return self.airflow


@contextmanager
def deployment(folder: Path, vi: Emulator) -> Iterator[BackgroundDeployment]:
    """Start an Airflow in the background, and stop it at the end."""
    home, dags = folder / "deployment", folder / "dags"
    for path in (home, dags):
        path.mkdir()
    variables = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        **vi.environment,
    }
    stopping = threading.Event()
    with Deployment(home, variables, stopping=stopping) as airflow:
        try:
            yield BackgroundDeployment(airflow, dags)
        finally:
            stopping.set()


def train_and_deploy(airflow: Deployment, vi: Emulator, models: Path) -> dict[str, Any]:
    """Train a flow, export its best model, and wait until the asset has started the other DAG.

    :return: the XCom of the export, and what the other DAG returned
    :raises RuntimeError: a DAG run failed
    """
    vi.plans.add(run_seconds=RUN_SECONDS)
    conf = {"destination": models.as_uri(), "poll_interval": 1}
    run_id = airflow.api("POST", f"/dags/{TRAIN}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"]
    _wait_for_success(airflow, TRAIN, run_id)
    wait_for(lambda: airflow.api("GET", f"/dags/{DEPLOY}/dagRuns")["dag_runs"], "the asset started no DAG")
    (deployed,) = airflow.api("GET", f"/dags/{DEPLOY}/dagRuns")["dag_runs"]
    _wait_for_success(airflow, DEPLOY, deployed["dag_run_id"])
    return {
        "train": _returned(airflow, TRAIN, run_id, "train"),
        "model": _returned(airflow, TRAIN, run_id, "export_model"),
        "started_by": deployed["run_type"],
        "deployed": _returned(airflow, DEPLOY, deployed["dag_run_id"], "deploy"),
    }


def wait_for(condition: Callable[[], Any], otherwise: str) -> None:
    """Wait until a condition holds.

    :raises TimeoutError: it does not hold in time
    """
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.5)


def _wait_for_success(airflow: Deployment, dag_id: str, run_id: str) -> None:
    def ended() -> bool:
        state = airflow.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        if state == "failed":
            raise RuntimeError(f"{dag_id} failed; see the logs in {airflow.home}")
        return bool(state == "success")

    wait_for(ended, f"{dag_id} did not end")


def _returned(airflow: Deployment, dag_id: str, run_id: str, task_id: str) -> Any:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    return airflow.api("GET", path)["value"]
