"""The example DAGs that train: export of the best model, deployment, approval, and the audit by partitions."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from demo import local_airflow
from tests.dags.approval import Person
from tests.dags.test_cleanup_dags import state, task_states
from tests.dags.test_example_dags import AIRFLOW
from tests.versions import a_person_answers
from vi_airflow_provider.emulator import Emulator

pytestmark = pytest.mark.vi_emulator(flows=40, run_seconds=0.5)


class TestTrainAndExportModel:
    @pytest.fixture
    def dag(self, examples: dict[str, Any]) -> Any:
        return examples["train_and_export_model"]

    def test_best_model_of_the_only_run_is_exported_whole(
        self, dag: Any, vi_emulator: Emulator, tmp_path: Path
    ) -> None:
        paid_before = set(vi_emulator.bill())
        run = local_airflow.run(dag, {"destination": tmp_path.as_uri(), "poll_interval": 1})

        assert state(run) == "success"
        (run_id,) = set(vi_emulator.bill()) - paid_before
        assert vi_emulator.bill()[run_id]["starts"] == 1
        (trained,) = local_airflow.returned(run, "train")
        (exported,) = local_airflow.returned(run, "export_model")
        assert exported["run_id"] == trained["run_id"] == run_id
        assert exported["run_output_id"] == trained["best"]["run_output_id"]
        (model,) = (path for path in tmp_path.iterdir() if path.suffix == ".model")
        assert model.stat().st_size == exported["size"]
        manifest = json.loads(Path(exported["manifest_uri"].removeprefix("file://")).read_text())
        assert manifest["sha256"] == exported["sha256"]

    def test_failed_training_exports_nothing(self, dag: Any, vi_emulator: Emulator, tmp_path: Path) -> None:
        vi_emulator.plans.add(scenario="fail_at_end", run_seconds=0.5)
        run = local_airflow.run(dag, {"destination": tmp_path.as_uri(), "poll_interval": 1})

        assert state(run) == "failed"
        assert list(tmp_path.iterdir()) == []


class TestDeployModel:
    @pytest.fixture
    def newest_model(self, examples: dict[str, Any]) -> Any:
        return examples["deploy_model"].get_task("newest_model").python_callable

    def test_newest_model_is_deployed(self, newest_model: Any) -> None:
        events = [
            SimpleNamespace(timestamp=time, extra={"run_id": f"r{time}", "run_output_id": output})
            for time, output in ((1, "a"), (3, "c"), (2, "b"), (4, None))
        ]
        assert newest_model(triggering_asset_events={"models": events[:2], "more": events[2:]}) == events[1].extra

    def test_manual_run_without_an_event_is_skipped(self, newest_model: Any) -> None:
        with pytest.raises(AirflowSkipException):
            newest_model(triggering_asset_events={})

    def test_dag_is_scheduled_on_the_outlet_of_the_training(self, examples: dict[str, Any]) -> None:
        (outlet,) = examples["train_and_export_model"].get_task("train").outlets
        timetable = examples["deploy_model"].timetable
        condition = timetable.asset_condition if AIRFLOW >= (3, 0) else timetable.dataset_condition
        assert outlet.uri in repr(condition)


@pytest.mark.skipif(AIRFLOW < (3, 1), reason="Airflow 3.1 brought approvals")
class TestApproveTraining:
    @a_person_answers
    @pytest.mark.parametrize("response", ["Approve", "Reject"])
    def test_run_is_started_only_if_approved(
        self, examples: dict[str, Any], vi_emulator: Emulator, response: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dag = examples["approve_training"]
        dag.get_task("train").poll_interval = 0.2
        paid_before = set(vi_emulator.bill())
        person = Person(dag.dag_id, response)
        person.attend(monkeypatch)
        run = local_airflow.run(dag, {"epochs": 3})

        started = set(vi_emulator.bill()) - paid_before
        ((_, body),) = person.shown
        assert "vlm-model" in body
        if response == "Reject":
            assert not started
            assert task_states(run)["train", -1] == "skipped"
        else:
            (run_id,) = started
            blocks = {b["block"]: b for b in vi_emulator.store.get_run(run_id)["spec"]["flow"]["blocks"]}
            assert blocks["vlm-model"]["settings"]["hyperparameters"]["epochs"] == 3


@pytest.mark.skipif(AIRFLOW < (3, 2), reason="Airflow 3.2 brought partitions")
class TestAuditPartitions:
    def test_file_of_the_partition_is_written(
        self, examples: dict[str, Any], vi_emulator: Emulator, tmp_path: Path
    ) -> None:
        run = local_airflow.run(examples["audit_partitions"], {"destination": tmp_path.as_uri()})

        assert state(run) == "success"
        (written,) = local_airflow.returned(run, "export")
        assert written["count"] == 40
        assert [path.suffix for path in tmp_path.iterdir() if path.suffix == ".jsonl"] == [".jsonl"]

    def test_reader_is_scheduled_by_partition(self, examples: dict[str, Any]) -> None:
        assert type(examples["read_audit"].timetable).__name__ == "PartitionedAssetTimetable"
