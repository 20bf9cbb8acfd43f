"""Training runs in a real deployment: what becomes of a run whose task is killed, failed, cleared or abandoned.

The bill of the emulator is the judge. No run ends by itself until its clock is moved forward.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

import pytest

from demo.deployment import Deployment
from tests.deployed import eventually, start, task_instances, xcom
from vi_airflow_provider.emulator import Emulator

WORKER, TRIGGERER = "train_in_a_worker", "train_on_the_triggerer"
MODEL, DEPLOY = "train_a_model", "deploy_a_model"


@dataclass(frozen=True)
class Training:
    """The only task of a DAG run, and the training runs that it has started."""

    airflow: Deployment
    vi: Emulator
    dag_id: str
    run_id: str

    @property
    def task(self) -> dict[str, Any]:
        (task,) = task_instances(self.airflow, self.dag_id, self.run_id)
        return task

    def runs(self) -> list[dict[str, Any]]:
        """The training runs of this task, oldest first."""
        task, found = f"{self.dag_id}/{self.run_id}/train", []
        for run_id in self.vi.bill():
            run = self.vi.store.get_run(run_id)
            if run["metadata"]["attributes"]["vi_airflow.task"] == task:
                found.append(run)
        return found

    def starts(self) -> list[int]:
        return [self.vi.bill()[run["runId"]]["starts"] for run in self.runs()]

    def wait_for(self, state: str, runs: int = 1, try_number: int = 1) -> None:
        """Wait until the task is in this state, with this many training runs.

        :param try_number: the lowest: Airflow may end a try of its own accord, and the next one takes the run over
        """

        def reached() -> bool:
            task = self.task
            return task["state"] == state and task["try_number"] >= try_number and len(self.runs()) == runs

        failure = f"the task of {self.dag_id} is not {state} in try {try_number} or later with {runs} runs"
        eventually(reached, failure, seen=self.describe)

    def wait_for_success(self) -> None:
        """Wait until the task succeeds, in whatever try: Airflow may fail a resumed one for a stale event."""
        failure = f"the task of {self.run_id} did not succeed"
        eventually(lambda: self.task["state"] == "success", failure, seen=self.describe)

    def wait_for_poll(self) -> None:
        """Wait until the trigger runs: Airflow tells a trigger that has not begun nothing about its task."""
        (run,) = self.runs()

        def polled() -> bool:
            requests = [request for request in self.vi.requests if request.path.endswith(f"/runs/{run['runId']}")]
            return any((request.method, request.status) == ("GET", 200) for request in requests)

        eventually(polled, f"no trigger polls the run of {self.run_id}")

    def wait_for_kill(self) -> None:
        """Wait until the oldest training run is killed."""
        eventually(lambda: self.runs()[0]["spec"].get("killedAt"), "the run was not killed", seen=self.describe)

    def describe(self) -> str:
        """Return the state of the task, its runs, and the end of the log of each try."""
        task = self.task
        lines = [
            f"{task['state']} in try {task['try_number']}",
            *(str(run["spec"].get("killedAt")) for run in self.runs()),
        ]
        path = f"/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/train/logs"
        for number in range(1, task["try_number"] + 1):
            log = self.airflow.api("GET", f"{path}/{number}?full_content=true")["content"]
            lines += [f"try {number}:", *(str(line)[:400] for line in log[-40:])]
        return "\n".join(lines)

    def fail(self) -> None:
        """Mark the task as failed, as a person does."""
        self.airflow.api(
            "PATCH", f"/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/train", {"new_state": "failed"}
        )

    def clear(self) -> None:
        """Clear the task, as a person does."""
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": ["train"], "only_failed": False}
        self.airflow.api("POST", f"/dags/{self.dag_id}/clearTaskInstances", body)


def result(training: Training) -> Any:
    return xcom(training.airflow, training.dag_id, training.run_id, "train")


def deployments(airflow: Deployment) -> list[Any]:
    """Return the events that each successful run of the deploying DAG was started by."""
    runs = airflow.api("GET", f"/dags/{DEPLOY}/dagRuns")["dag_runs"]
    return [xcom(airflow, DEPLOY, run["dag_run_id"], "deploy") for run in runs if run["state"] == "success"]


@pytest.fixture
def train(airflow: Deployment, vi: Emulator) -> Iterator[Any]:
    """Start a DAG that trains a flow; what is still active at the end of the test is killed."""
    flow_id = vi.store.flow_ids()[0]
    begun: list[Training] = []

    def begin(dag_id: str) -> Training:
        begun.append(Training(airflow, vi, dag_id, start(airflow, dag_id, {"flow_id": flow_id})))
        return begun[-1]

    yield begin
    for training in begun:
        with suppress(HTTPError):
            training.fail()


def test_runs_outlive_processes_and_end_when_a_person_means_it(airflow: Deployment, vi: Emulator, train: Any) -> None:
    crashed, failed = train(WORKER), train(WORKER)
    failed_deferred, cleared, abandoned = (train(TRIGGERER) for _ in range(3))
    model, no_model = train(MODEL), train(MODEL)
    for training in (crashed, failed, model, no_model):
        training.wait_for("running")
    for training in (failed_deferred, cleared, abandoned):
        training.wait_for("deferred")
        training.wait_for_poll()

    # The process of a task is killed: the next try takes its run over.
    os.kill(crashed.task["pid"], signal.SIGKILL)
    # A person fails or clears a task: its run is killed. A cleared task trains again, and keeps its new run.
    failed.fail()
    failed_deferred.fail()
    no_model.fail()
    cleared.clear()
    for training in (failed, failed_deferred, cleared):
        training.wait_for_kill()
    cleared.wait_for("deferred", runs=2, try_number=2)
    crashed.wait_for("running", try_number=2)
    assert failed.task["state"] == failed_deferred.task["state"] == "failed"

    # The triggerer is killed: the runs live.
    airflow.kill("triggerer")
    airflow.start("triggerer")
    airflow.wait_until_healthy("triggerer")
    old, new = cleared.runs()
    assert (old["spec"]["killedAt"] is None, new["spec"].get("killedAt")) == (False, None)
    assert abandoned.runs()[0]["spec"].get("killedAt") is None

    # All runs that are left succeed, each paid for once.
    vi.advance(2 * 3600)
    for training in (crashed, cleared, abandoned, model):
        training.wait_for_success()
    assert result(crashed)["run_id"] == crashed.runs()[0]["runId"]
    assert result(cleared)["run_id"] == new["runId"]
    everything = (crashed, failed, failed_deferred, cleared, abandoned, model, no_model)
    assert [training.starts() for training in everything] == [[1], [1], [1], [1, 1], [1], [1], [1]]

    # The model that was trained schedules its deployment, and the run that was killed does not.
    (deployed,) = eventually(lambda: deployments(airflow), "the model was not deployed")
    trained = result(model)
    expected = {"run_id": trained["run_id"], "run_output_id": trained["model"]["run_output_id"]}
    assert [{name: extra[name] for name in expected} for extra in deployed] == [expected]
