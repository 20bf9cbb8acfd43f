"""Each example DAG is run, in a real Airflow, against the emulator."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import threading
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from demo import local_airflow
from tests.versions import a_sensor_is_rescheduled
from vi_airflow_provider.audit.writer import verify
from vi_airflow_provider.hooks.vi import ViHook

pytestmark = pytest.mark.vi_emulator(flows=40)

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])


@pytest.fixture
def before(vi_emulator):
    return {flow.flow_id: flow for flow in ViHook().list_flows()}


def stale(flows, days=90):
    limit = (datetime.now(UTC) - timedelta(days=days)).timestamp() * 1000
    return {
        flow_id
        for flow_id, flow in flows.items()
        if flow.metadata.last_updated <= limit and flow.metadata.attributes.get("keep") != "true"
    }


def state(run):
    return str(getattr(run.state, "value", run.state))


class TestCleanupStaleFlows:
    @pytest.fixture
    def dag(self, examples):
        return examples["cleanup_stale_flows"]

    def test_deletes_nothing_as_it_comes(self, dag, before, vi_emulator):
        run = local_airflow.run(dag)

        assert state(run) == "success"
        assert set(vi_emulator.store.flow_ids()) == set(before)
        outcomes = local_airflow.returned(run, "delete_flow")
        assert {outcome["flow_id"] for outcome in outcomes} == stale(before)
        assert {outcome["outcome"] for outcome in outcomes} == {"would_delete"}

    def test_deletes_exactly_the_stale_flows_when_told_to(self, dag, before, vi_emulator):
        run = local_airflow.run(dag, {"dry_run": False})

        assert state(run) == "success"
        assert set(before) - set(vi_emulator.store.flow_ids()) == stale(before)
        assert local_airflow.returned(run, "report") == [{"deleted": len(stale(before))}]

    def test_the_age_is_a_parameter_of_the_run(self, dag, before, vi_emulator):
        local_airflow.run(dag, {"dry_run": False, "older_than_days": 200})

        assert set(before) - set(vi_emulator.store.flow_ids()) == stale(before, days=200)

    def test_stops_before_the_first_delete_when_there_is_too_much_to_do(self, dag, before, vi_emulator):
        run = local_airflow.run(dag, {"dry_run": False, "max_delete": len(stale(before)) - 1})

        assert state(run) == "failed"
        assert set(vi_emulator.store.flow_ids()) == set(before)

    def test_goes_on_when_one_flow_is_in_use(self, dag, before, vi_emulator, monkeypatch):
        busy = min(stale(before))
        vi_emulator.store.put_run(
            "run-1",
            {
                "spec": {"flow": vi_emulator.store.get_flow(busy)["spec"]},
                "metadata": {"attributes": {"vi_airflow.flow_id": busy}},
            },
        )
        monkeypatch.setitem(dag.get_task("delete_flow").partial_kwargs, "retries", 0)

        run = local_airflow.run(dag, {"dry_run": False})

        assert state(run) == "failed"
        assert set(before) - set(vi_emulator.store.flow_ids()) == stale(before) - {busy}

    def test_a_listing_that_fails_deletes_nothing(self, dag, before, vi_emulator):
        vi_emulator.faults.add(method="GET", path="/flows", status=403)

        run = local_airflow.run(dag, {"dry_run": False})

        assert state(run) == "failed"
        assert set(vi_emulator.store.flow_ids()) == set(before)


class TestGateTrainingOnFlow:
    @pytest.fixture
    def dag(self, examples, monkeypatch):
        dag = examples["gate_training_on_flow"]
        monkeypatch.setattr(dag.get_task("wait_for_flow"), "poke_interval", 0.1)
        return dag

    @a_sensor_is_rescheduled
    def test_trains_with_each_seed_once_the_flow_is_there(self, dag, vi_emulator):
        hook = ViHook()
        template = next(hook.list_flows(limit=1)).spec.to_wire()
        looked = len(vi_emulator.requests)
        created = []

        def colleague():
            while len(vi_emulator.requests) == looked:
                threading.Event().wait(0.02)
            created.append(hook.create_flow({**template, "name": "Weld seam defects - nightly"}).flow_id)

        thread = threading.Thread(target=colleague)
        thread.start()
        run = local_airflow.run(dag, {"seeds": [3, 5]})
        thread.join()

        assert state(run) == "success"
        (flow,) = local_airflow.returned(run, "wait_for_flow")
        assert flow["flow_id"] == created[0]
        trainings = local_airflow.returned(run, "train")
        assert [text.rpartition(" ")[2] for text in trainings] == ["3", "5"]
        assert all(created[0] in text for text in trainings)

    def test_says_what_is_missing_in_a_flow_without_a_model(self, dag, vi_emulator):
        flow_id = ViHook().create_flow({"name": "Empty", "schema": "v1", "blocks": []}).flow_id

        run = local_airflow.run(dag, {"flow_name": "Empty"})

        assert state(run) == "failed"
        assert local_airflow.returned(run, "wait_for_flow")[0]["flow_id"] == flow_id
        assert local_airflow.returned(run, "train") == []


class TestAuditFlowSpecs:
    @pytest.fixture
    def dag(self, examples):
        return examples["audit_flow_specs"]

    def test_writes_every_flow_once_sorted_and_as_the_server_has_it(self, dag, vi_emulator, tmp_path):
        run = local_airflow.run(dag, {"destination": tmp_path.as_uri()})

        assert state(run) == "success"
        (written,) = local_airflow.returned(run, "write")
        (path,) = tmp_path.rglob("*.jsonl")
        assert written["uri"].endswith(str(path.relative_to(tmp_path)))
        flows = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert flows == [vi_emulator.store.get_flow(flow_id) for flow_id in sorted(vi_emulator.store.flow_ids())]
        assert written["count"] == len(flows) == 40
        assert written["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_says_what_has_changed_since_the_night_before(self, dag, vi_emulator, tmp_path):
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
        kept, gone, *_ = hook.list_flows(limit=2)
        hook.update_flow(kept.flow_id, spec={"name": "Renamed"})
        hook.delete_flow(gone.flow_id)
        run = local_airflow.run(dag, {**conf, "fail_on_drift": True})

        assert state(run) == "failed"
        (third,) = local_airflow.returned(run, "write")
        assert (third["added"], third["removed"], third["changed"]) == (0, 1, 1)
        assert verify(third["uri"]).count == 39


def test_every_example_is_run_in_a_test(examples):
    here = {"cleanup_stale_flows", "gate_training_on_flow", "audit_flow_specs"}
    beside = {"prune_stale_flows"}  # test_cleanup_dags.py
    newer = {
        "train_when_flow_changes": hasattr(sys.modules.get("airflow.sdk"), "AssetWatcher"),  # tests/system
        "approve_cleanup": AIRFLOW >= (3, 1),  # test_cleanup_dags.py
    }

    assert set(examples) == here | beside | {name for name, possible in newer.items() if possible}
    assert {path.stem for path in local_airflow.EXAMPLES.glob("*.py")} == here | beside | set(newer)


@pytest.mark.parametrize("path", sorted(local_airflow.EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_says_in_its_first_lines_what_it_is_for(path: Path):
    assert len(ast.get_docstring(ast.parse(path.read_text())) or "") > 100
