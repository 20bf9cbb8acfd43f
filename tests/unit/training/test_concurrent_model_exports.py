"""Several tasks that export models to one destination, each unaware of the others."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tasks import TaskInstance
from tests.tries import Try, execute
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.runs import ExportModelOperator
from vi_airflow_provider.storage.spool import ContentSpool
from vi_airflow_provider.training import model_export
from vi_airflow_provider.training.model_export import ModelVersion, read_manifest

pytestmark = pytest.mark.vi_emulator(flows=3, run_seconds=1000, runs=0)


@pytest.fixture
def run_id(vi_emulator: Emulator) -> str:
    """A run that has succeeded, with two checkpoints."""
    vi_emulator.plans.add(checkpoints=2)
    run_id = execute(vi_emulator.store.flow_ids()[0], Try(), wait_for_completion=False)["run_id"]
    vi_emulator.advance(1001)
    return str(run_id)


def export(run_id: str, destination: Path, select: str) -> Any:
    operator = ExportModelOperator(task_id="task", run_id=run_id, destination=str(destination), select=select)
    return operator.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]


def test_task_whose_file_was_replaced_leaves_the_manifest_alone(
    vi_emulator: Emulator, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another task has announced its model, and a third one stores its own while the first one reads the manifest."""
    target = tmp_path / "model.bin"
    ids = [output["runOutputId"] for output in vi_emulator.store.outputs.of(run_id)]
    read, moved = model_export._accepted, ContentSpool.move_to
    stored: list[str] = []

    def move_and_note(spool: ContentSpool, path: Path) -> None:
        moved(spool, path)
        stored.append("file")

    def read_and_be_overtaken(files: Any) -> list[ModelVersion]:
        if stored != ["file"]:
            return read(files)
        stored.append("overtaken")
        announced = replace(read(files)[0], sha256="b" * 64)
        stored.append(export(run_id, target, select=ids[1])["sha256"])
        return [announced]

    monkeypatch.setattr(ContentSpool, "move_to", move_and_note)
    monkeypatch.setattr(model_export, "_accepted", read_and_be_overtaken)
    export(run_id, target, select=ids[0])
    assert hashlib.sha256(target.read_bytes()).hexdigest() == stored[-1] == read_manifest(str(target))[0].sha256
