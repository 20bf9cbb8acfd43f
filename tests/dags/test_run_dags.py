"""Training runs in DAGs that Airflow runs."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.utils.session import create_session

from demo import local_airflow
from tests.conftest import LINEAGE
from tests.documents import wire_spec
from tests.versions import AIRFLOW
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID


@pytest.fixture
def dags(database: None, one_api_server: None) -> dict[str, Any]:
    return local_airflow.load_dags(Path(__file__).parent / "dags")


@pytest.fixture
def scheduled(dags: dict[str, Any]) -> None:
    """Register the DAGs and the assets that schedule them, as the DAG processor does, and unpause the DAGs."""
    if AIRFLOW < (3, 0):
        dags["train_a_model"].bulk_write_to_db(list(dags.values()))
    dag_model = importlib.import_module("airflow.models.dag").DagModel
    with create_session() as session:
        session.query(dag_model).update({"is_paused": False})


def events_and_queue() -> tuple[list[dict[str, Any]], list[str]]:
    """Return the extras of all asset events of the models, and the DAGs that these have scheduled."""
    if AIRFLOW < (3, 0):
        models: Any = importlib.import_module("airflow.models.dataset")
        event, asset, queue = models.DatasetEvent, models.DatasetModel, models.DatasetDagRunQueue
        key = event.dataset_id
    else:
        models = importlib.import_module("airflow.models.asset")
        event, asset, queue = models.AssetEvent, models.AssetModel, models.AssetDagRunQueue
        key = event.asset_id
    with create_session() as session:
        found = session.query(event).join(asset, asset.id == key).filter(asset.uri.like("%/flows/trained/models"))
        extras = [dict(row.extra) for row in found.order_by(event.id)]
        return extras, [row.target_dag_id for row in session.query(queue)]


@pytest.mark.skipif((3, 0) <= AIRFLOW < (3, 1), reason="Airflow 3.0 does not register the assets of such a DAG")
@pytest.mark.vi_emulator(flows=0, runs=0, run_seconds=1.0)
def test_model_schedules_its_deployment_once_and_only_after_success(
    dags: dict[str, Any], scheduled: None, vi_emulator: Emulator
) -> None:
    spec = wire_spec(blocks=[{"block": "dataset", "settings": {"datasetId": "weld-2026q2"}, "style": {}}])
    vi_emulator.store.put_flow("trained", {"spec": spec})
    for scenario in ("fail_at_end", "killed_by_person", "vanish"):
        vi_emulator.plans.add(scenario=scenario, times=1)
        assert local_airflow.run(dags["train_a_model"]).state == "failed"
    assert events_and_queue() == ([], [])
    run = local_airflow.run(dags["train_a_model"])
    (result,) = local_airflow.returned(run, "train")
    ((extra,), queue) = events_and_queue()
    best = result["best"]
    expected = {"run_id": result["run_id"], "digest": result["flow_digest"]}
    expected |= {name: best[name] for name in ("run_output_id", "epoch", "metrics")}
    assert {name: extra[name] for name in expected} == expected
    assert queue == ["deploy_a_model"]
    check_lineage(result)


def check_lineage(result: dict[str, Any]) -> None:
    """Check what OpenLineage's own listener has emitted of the runs that failed and of the one that succeeded."""
    lines = [json.loads(line) for line in LINEAGE.read_text().splitlines()]
    events = [line for line in lines if line["job"]["name"] == "train_a_model.train"]
    (complete,) = [event for event in events if event["eventType"] == "COMPLETE"]
    failed = [event["outputs"] for event in events if event["eventType"] == "FAIL"]
    assert failed
    # Airflow reports a declared outlet in any case; a version would be a model.
    assert not any("version" in output["facets"] for outputs in failed for output in outputs)
    flow, dataset = complete["inputs"]
    assert (flow["namespace"], flow["name"]) == (f"vi://{DEFAULT_ORGANIZATION_ID}", "flows/trained")
    assert flow["facets"]["version"]["datasetVersion"] == result["flow_digest"]
    assert dataset["name"] == "datasets/weld-2026q2"
    (models,) = complete["outputs"]
    assert models["name"] == "flows/trained/models"
    assert models["facets"]["version"]["datasetVersion"] == result["best"]["run_output_id"]
    facet = complete["run"]["facets"]["viTrainingRun"]
    assert (facet["run_id"], facet["metrics"]) == (result["run_id"], result["best"]["metrics"])


@pytest.mark.vi_emulator(flows=2, runs=0, run_seconds=1.0)
def test_sensors_wait_for_the_run_that_a_task_has_started(dags: dict[str, Any], vi_emulator: Emulator) -> None:
    run = local_airflow.run(dags["start_then_wait"], {"flow_id": vi_emulator.store.flow_ids()[0]})
    assert run.state == "success"
    (started,) = local_airflow.returned(run, "start")
    for task_id in ("poked", "rescheduled", "deferred", "newest"):
        (summary,) = local_airflow.returned(run, task_id)
        assert (summary["run_id"], summary["state"]) == (started["run_id"], "succeeded")
        assert summary["model"]["run_output_id"]
