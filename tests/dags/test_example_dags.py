"""The example DAGs run in a real Airflow against the emulator. Those for cleanup are in `test_cleanup_dags.py`."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from demo import local_airflow
from tests.background import in_background
from tests.versions import a_sensor_is_rescheduled
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.hooks.vi import ViHook

pytestmark = pytest.mark.vi_emulator(flows=40)

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])


@pytest.fixture
def before(vi_emulator: Emulator) -> dict[str, Flow]:
    """The flows before the run, by their ids."""
    return {flow.flow_id: flow for flow in ViHook().list_flows()}


def stale(flows: dict[str, Flow], days: int = 90) -> set[str]:
    """Return the ids of the flows that a cleanup with this age selects."""
    limit = (datetime.now(UTC) - timedelta(days=days)).timestamp() * 1000
    return {
        flow_id
        for flow_id, flow in flows.items()
        if flow.metadata.last_updated <= limit and flow.metadata.attributes.get("keep") != "true"
    }


def state(run: Any) -> str:
    return str(getattr(run.state, "value", run.state))


class TestCleanupStaleFlows:
    @pytest.fixture
    def dag(self, examples: dict[str, Any]) -> Any:
        return examples["cleanup_stale_flows"]

    def test_deletes_nothing_by_default(self, dag: Any, before: dict[str, Flow], vi_emulator: Emulator) -> None:
        run = local_airflow.run(dag)

        assert state(run) == "success"
        assert set(vi_emulator.store.flow_ids()) == set(before)
        outcomes = local_airflow.returned(run, "delete_flow")
        assert {outcome["flow_id"] for outcome in outcomes} == stale(before)
        assert {outcome["outcome"] for outcome in outcomes} == {"would_delete"}

    def test_deletes_exactly_the_stale_flows(self, dag: Any, before: dict[str, Flow], vi_emulator: Emulator) -> None:
        run = local_airflow.run(dag, {"dry_run": False})

        assert state(run) == "success"
        assert set(before) - set(vi_emulator.store.flow_ids()) == stale(before)
        assert local_airflow.returned(run, "report") == [{"deleted": len(stale(before))}]

    def test_age_is_a_parameter_of_the_run(self, dag: Any, before: dict[str, Flow], vi_emulator: Emulator) -> None:
        local_airflow.run(dag, {"dry_run": False, "older_than_days": 200})

        assert set(before) - set(vi_emulator.store.flow_ids()) == stale(before, days=200)

    def test_limit_fails_the_run_before_the_first_delete(
        self, dag: Any, before: dict[str, Flow], vi_emulator: Emulator
    ) -> None:
        run = local_airflow.run(dag, {"dry_run": False, "max_delete": len(stale(before)) - 1})

        assert state(run) == "failed"
        assert set(vi_emulator.store.flow_ids()) == set(before)

    def test_flow_in_use_does_not_stop_the_others(
        self, dag: Any, before: dict[str, Flow], vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        busy = min(stale(before))
        run_document = {
            "spec": {"flow": vi_emulator.store.get_flow(busy)["spec"]},
            "metadata": {"attributes": {"vi_airflow.flow_id": busy}},
        }
        vi_emulator.store.put_run("run-1", run_document)
        monkeypatch.setitem(dag.get_task("delete_flow").partial_kwargs, "retries", 0)

        run = local_airflow.run(dag, {"dry_run": False})

        assert state(run) == "failed"
        assert set(before) - set(vi_emulator.store.flow_ids()) == stale(before) - {busy}

    def test_failed_listing_deletes_nothing(self, dag: Any, before: dict[str, Flow], vi_emulator: Emulator) -> None:
        vi_emulator.faults.add(method="GET", path="/flows", status=403)

        run = local_airflow.run(dag, {"dry_run": False})

        assert state(run) == "failed"
        assert set(vi_emulator.store.flow_ids()) == set(before)


class TestGateTrainingOnFlow:
    @pytest.fixture
    def dag(self, examples: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
        dag = examples["gate_training_on_flow"]
        monkeypatch.setattr(dag.get_task("wait_for_flow"), "poke_interval", 0.1)
        return dag

    @a_sensor_is_rescheduled
    def test_trains_with_each_seed_once_the_flow_exists(self, dag: Any, vi_emulator: Emulator) -> None:
        hook = ViHook()
        template = next(hook.list_flows(limit=1)).spec.to_wire()
        requests_before = len(vi_emulator.requests)
        created: list[str] = []

        def create_after_the_first_poll() -> None:
            while len(vi_emulator.requests) == requests_before:
                time.sleep(0.02)
            created.append(hook.create_flow({**template, "name": "Weld seam defects - nightly"}).flow_id)

        with in_background(create_after_the_first_poll):
            run = local_airflow.run(dag, {"seeds": [3, 5]})

        assert state(run) == "success"
        (flow,) = local_airflow.returned(run, "wait_for_flow")
        assert flow["flow_id"] == created[0]
        trainings = local_airflow.returned(run, "train")
        assert [text.rpartition(" ")[2] for text in trainings] == ["3", "5"]
        assert all(created[0] in text for text in trainings)

    def test_flow_without_a_model_fails_the_run(self, dag: Any, vi_emulator: Emulator) -> None:
        flow_id = ViHook().create_flow({"name": "Empty", "schema": "v1", "blocks": []}).flow_id

        run = local_airflow.run(dag, {"flow_name": "Empty"})

        assert state(run) == "failed"
        assert local_airflow.returned(run, "wait_for_flow")[0]["flow_id"] == flow_id
        assert local_airflow.returned(run, "train") == []


class TestTrainFlow:
    @pytest.fixture
    def dag(self, examples: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
        dag = examples["train_flow"]
        monkeypatch.setitem(dag.get_task("train").partial_kwargs, "poll_interval", 0.1)
        return dag

    def test_each_seed_is_paid_for_once_and_the_best_is_named(self, dag: Any, vi_emulator: Emulator) -> None:
        vi_emulator.plans.add(run_seconds=0.5)
        paid_before = set(vi_emulator.bill())
        (flow_id, *_) = vi_emulator.store.flow_ids()

        run = local_airflow.run(dag, {"flow_id": flow_id, "seeds": [3, 5]})

        assert state(run) == "success"
        results = local_airflow.returned(run, "train")
        bill = {run_id: account for run_id, account in vi_emulator.bill().items() if run_id not in paid_before}
        assert {result["run_id"] for result in results} == set(bill)
        assert [account["starts"] for account in bill.values()] == [1, 1]
        seeds = [vi_emulator.store.get_run(run_id)["spec"]["flow"]["settings"]["seed"] for run_id in bill]
        assert sorted(seeds) == [3, 5]
        (best,) = local_airflow.returned(run, "name_the_best")
        assert best["f1"] == max(result["best"]["metrics"]["f1"] for result in results)


class TestAuditFlowSpecs:
    @pytest.fixture
    def dag(self, examples: dict[str, Any]) -> Any:
        return examples["audit_flow_specs"]

    def test_exports_every_flow_sorted_and_unchanged(self, dag: Any, vi_emulator: Emulator, tmp_path: Path) -> None:
        run = local_airflow.run(dag, {"destination": tmp_path.as_uri()})

        assert state(run) == "success"
        (written,) = local_airflow.returned(run, "write")
        (path,) = tmp_path.rglob("*.jsonl")
        assert written["uri"].endswith(str(path.relative_to(tmp_path)))
        flows = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert flows == [vi_emulator.store.get_flow(flow_id) for flow_id in sorted(vi_emulator.store.flow_ids())]
        assert written["count"] == len(flows) == 40
        assert written["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_reports_changes_since_the_previous_night(self, dag: Any, vi_emulator: Emulator, tmp_path: Path) -> None:
        conf = {"destination": tmp_path.as_uri()}
        (first,) = local_airflow.returned(local_airflow.run(dag, conf), "write")
        assert (first["added"], first["removed"], first["changed"]) == (None, None, None)
        (tonight,) = tmp_path.rglob("*.jsonl")
        for path in (tonight, tonight.with_name(f"{tonight.name}.manifest.json")):
            path.rename(path.with_name(path.name.replace(tonight.stem, "2020-01-01")))

        (second,) = local_airflow.returned(local_airflow.run(dag, conf), "write")
        assert second["sha256"] == first["sha256"]
        assert (second["added"], second["removed"], second["changed"]) == (0, 0, 0)

        hook = ViHook()
        kept, deleted, *_ = hook.list_flows(limit=2)
        hook.update_flow(kept.flow_id, spec={"name": "Renamed"})
        hook.delete_flow(deleted.flow_id)
        run = local_airflow.run(dag, {**conf, "fail_on_drift": True})

        assert state(run) == "failed"
        (third,) = local_airflow.returned(run, "write")
        assert (third["added"], third["removed"], third["changed"]) == (0, 1, 1)
        assert verify(third["uri"]).count == 39


def test_every_example_runs_in_a_test(examples: dict[str, Any]) -> None:
    here = {"cleanup_stale_flows", "gate_training_on_flow", "audit_flow_specs", "train_flow"}
    elsewhere = {"prune_stale_flows", "cleanup_runs", "train_and_export_model", "deploy_model"}
    newer = {
        "train_when_flow_changes": hasattr(sys.modules.get("airflow.sdk"), "AssetWatcher"),  # tests/system
        "approve_cleanup": AIRFLOW >= (3, 1),  # test_cleanup_dags.py
        "approve_training": AIRFLOW >= (3, 1),  # test_training_examples.py
        "audit_partitions": AIRFLOW >= (3, 2),
    }

    found = set(examples) - {"read_audit"}  # the second DAG of audit_partitions
    assert found == here | elsewhere | {name for name, supported in newer.items() if supported}
    assert {path.stem for path in local_airflow.EXAMPLES.glob("*.py")} == here | elsewhere | set(newer)


@pytest.mark.parametrize("path", sorted(local_airflow.EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_example_starts_with_a_description(path: Path) -> None:
    assert len(ast.get_docstring(ast.parse(path.read_text())) or "") > 100
