"""Gates and exports in a real deployment: api-server, scheduler, dag-processor, and a triggerer that is killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from demo.deployment import Deployment
from tests.deployed import eventually, start, task_instances, xcom
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.triggers.version_store import HANDOVER

SPEC = {"name": "Gate", "schema": "v1", "tolerations": {}, "settings": {}, "blocks": []}


def states(airflow: Deployment, dag_id: str, run_id: str) -> list[str]:
    return [task["state"] for task in task_instances(airflow, dag_id, run_id)]


def runs(airflow: Deployment, dag_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = airflow.api("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]
    return found


def put(vi: Emulator, flow_id: str, **spec: str) -> None:
    vi.store.put_flow(flow_id, {"spec": {**SPEC, **spec}})


def all_are(airflow: Deployment, dag_id: str, run_id: str, state: str, count: int) -> bool:
    return states(airflow, dag_id, run_id) == [state] * count


def test_gates_and_watchers_survive_a_killed_triggerer(airflow: Deployment, vi: Emulator) -> None:
    one, twenty, late = (start(airflow, dag_id) for dag_id in ("one_gate", "twenty_gates", "late_gate"))
    eventually(lambda: all_are(airflow, "one_gate", one, "deferred", 1), "the gate was not deferred")
    eventually(lambda: all_are(airflow, "twenty_gates", twenty, "deferred", 20), "20 gates were not deferred")

    # A gate opens, with the flow as its XCom.
    put(vi, "one-flow")
    eventually(lambda: all_are(airflow, "one_gate", one, "success", 1), "the gate did not open")
    assert xcom(airflow, "one_gate", one, "gate")["flow_id"] == "one-flow"

    # A change starts one run, and its event describes it.
    assert runs(airflow, "on_change") == []
    put(vi, "watched-1", trainingProject="watched")
    eventually(lambda: [r for r in runs(airflow, "on_change") if r["state"] == "success"], "no run was started")
    assert len(runs(airflow, "on_change")) == 1

    # So does the example, which trains with the flow that changed.
    put(vi, "weld-1", trainingProject="weld-inspection")
    eventually(
        lambda: [r for r in runs(airflow, "train_when_flow_changes") if r["state"] == "success"], "nothing was trained"
    )
    (run,) = runs(airflow, "train_when_flow_changes")
    assert xcom(airflow, run["dag_id"], run["dag_run_id"], "train", 0).startswith("flow weld-1 at generation 1 ")

    # The triggerer is killed while 20 gates wait. Once an event is safe, it is not reported twice, and none is lost.
    safe_at = time.monotonic() + HANDOVER + 5
    eventually(lambda: time.monotonic() > safe_at, "time does not pass")
    airflow.kill("triggerer")
    put(vi, "watched-2", trainingProject="watched")
    airflow.start("triggerer")
    for number in range(20):
        put(vi, f"flow-{number}")
    eventually(lambda: all_are(airflow, "twenty_gates", twenty, "success", 20), "20 gates did not open")
    flow_ids = [xcom(airflow, "twenty_gates", twenty, "gate", number)["flow_id"] for number in range(20)]
    assert flow_ids == [f"flow-{number}" for number in range(20)]

    # The deadline of the third gate was set before the kill.
    eventually(lambda: all_are(airflow, "late_gate", late, "failed", 1), "the late gate did not time out")

    done = eventually(
        lambda: [run for run in runs(airflow, "on_change") if run["state"] == "success"][1:],
        "the change while the triggerer was down was lost",
    )
    assert len(done) == 1
    reported = [
        change["flow_id"]
        for run in runs(airflow, "on_change")
        for payload in xcom(airflow, "on_change", run["dag_run_id"], "read")
        for change in payload["changes"]
    ]
    assert sorted(reported) == ["watched-1", "watched-2"]


def test_an_export_starts_the_dag_scheduled_on_its_asset(airflow: Deployment, tmp_path: Path) -> None:
    run_id = start(airflow, "export", {"destination": (tmp_path / "flows.jsonl.gz").as_uri()})
    eventually(lambda: all_are(airflow, "export", run_id, "success", 1), "nothing was exported")
    written = xcom(airflow, "export", run_id, "export")
    (run,) = eventually(
        lambda: [run for run in runs(airflow, "after_export") if run["state"] == "success"], "no run was started"
    )
    received = xcom(airflow, "after_export", run["dag_run_id"], "read")
    assert received == [{name: written[name] for name in ("uri", "count", "sha256")}]
    assert verify(received[0]["uri"], every_document=True).count == received[0]["count"] > 0
