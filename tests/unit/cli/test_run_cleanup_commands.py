"""``vi-airflow runs export`` and ``runs prune``: the commands of flows, for runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.unit.cli.conftest import Answer, Cli
from vi_airflow_provider.emulator import Emulator

pytestmark = pytest.mark.vi_emulator(flows=10, runs=20)

PRUNE: Final = ("runs", "prune", "--older-than", "P1D", "--max-delete-fraction", "1")


def deleted(emulator: Emulator) -> list[str]:
    return [request.path.rpartition("/")[2] for request in emulator.requests if request.method == "DELETE"]


# --- export ----------------------------------------------------------------------------------------------------------


def test_export_writes_the_runs_with_their_metrics(cli: Cli, vi_emulator: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    exported = cli("runs", "export", file, "-o", "json").data
    documents = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(documents) == exported["count"] > 0
    assert any("f1" in json.dumps(document) for document in documents)
    assert f"{exported['count']} runs" in cli("audit", "verify", file).out


def test_export_selects_runs_and_may_leave_out_their_metrics(cli: Cli, vi_emulator: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    arguments = ("--state", "failed", "--state", "killed", "--older-than", "P1D")
    exported = cli("runs", "export", file, *arguments, "--no-outputs", "-o", "json").data
    listed = cli("runs", "list", *arguments, "-o", "json").data
    assert exported["count"] == len(listed) > 0
    assert not [request for request in vi_emulator.requests if "outputs" in request.path]
    assert "states" in json.loads(Path(exported["manifest_uri"]).read_text())["filters"]


def test_drift_of_runs_is_code_1(cli: Cli, vi_emulator: Emulator, tmp_path: Path) -> None:
    cli("runs", "export", tmp_path / "a.jsonl")
    compare = ("--compare-to", "previous", "--fail-on-drift", "-o", "json")
    assert cli("runs", "export", tmp_path / "b.jsonl", *compare).code == 0
    assert cli(*PRUNE, "--max-delete", "100", "--no-dry-run", "--yes", "--allow-unarchived").code == 0
    code, out, err = cli("runs", "export", tmp_path / "c.jsonl", *compare)
    assert (code, json.loads(out)["removed"]) == (1, len(deleted(vi_emulator)))
    assert "The runs differ from" in err


@pytest.mark.parametrize("noun", ["flows", "runs"])
def test_place_that_cannot_be_written_is_code_3(cli: Cli, vi_emulator: Emulator, tmp_path: Path, noun: str) -> None:
    (tmp_path / "file").touch()
    code, out, err = cli(noun, "export", tmp_path / "file" / "export.jsonl")
    assert (code, out) == (3, "")
    assert "Not a directory" in err


# --- prune -----------------------------------------------------------------------------------------------------------


def test_prune_of_runs_is_a_dry_run_by_default(cli: Cli, vi_emulator: Emulator) -> None:
    code, out, err = cli(*PRUNE, "--state", "failed", "-o", "json")
    report = json.loads(out)
    assert (code, report["dry_run"]) == (0, True)
    assert report["outcomes"]
    assert err.startswith("Dry run: nothing is deleted.")
    assert deleted(vi_emulator) == []
    failed = {run["run_id"] for run in cli("runs", "list", "--state", "failed", "-o", "json").data}
    assert {row["run_id"] for row in report["outcomes"]} <= failed
    assert cli(*PRUNE).out.splitlines()[0].split(" | ")[1].strip() == "run_id"


def test_prune_of_runs_spares_what_the_operator_spares(cli: Cli, vi_emulator: Emulator) -> None:
    best = ("--keep-best", "1", "--best-metric", "f1", "max", "--keep-succeeded", "1")
    spared = cli(*PRUNE, *best, "-o", "json").data["spared_runs"]
    reasons = {row["reason"] for row in spared}
    assert "kept by keep_best=1 per flow, by f1" in reasons
    assert "kept by keep_succeeded=1 per flow" in reasons


def test_prune_of_runs_archives_their_records_and_deletes(
    cli: Cli, vi_emulator: Emulator, answer: Answer, tmp_path: Path
) -> None:
    answer("yes\n")
    arguments = ("--state", "failed", "--no-dry-run", "--archive-to", tmp_path, "-o", "json")
    code, out, err = cli(*PRUNE, *arguments)
    report = json.loads(out)
    selected = {row["run_id"] for row in report["outcomes"]}
    assert (code, report["deleted"]) == (0, len(selected))
    assert {*deleted(vi_emulator)} == selected
    assert "a run cannot be restored" in err
    records = [json.loads(line) for line in Path(report["archive"]).read_text().splitlines()]
    assert len(records) == len(selected)
    assert all("/org/" in json.dumps(record) for record in records)


def test_prune_of_runs_deletes_nothing_without_a_yes(cli: Cli, vi_emulator: Emulator, answer: Answer) -> None:
    answer("n\n")
    assert cli(*PRUNE, "--no-dry-run", "--allow-unarchived").code == 1
    assert deleted(vi_emulator) == []


def test_saved_plan_of_runs_is_carried_out(cli: Cli, vi_emulator: Emulator, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(cli(*PRUNE, "--state", "killed", "-o", "json").out)
    assert cli("runs", "prune", "--plan", plan, "--keep-best", "1").code == 2
    report = cli("runs", "prune", "--plan", plan, "--no-dry-run", "--yes", "--allow-unarchived", "-o", "json").data
    assert report["deleted"] == len(json.loads(plan.read_text())["outcomes"]) > 0


def test_plan_for_flows_is_refused_for_runs(cli: Cli, vi_emulator: Emulator, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(cli("flows", "prune", "--older-than", "P1D", "-o", "json").out)
    code, _, err = cli("runs", "prune", "--plan", plan)
    assert code == 2
    assert "run_id: Field required" in err


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("runs", "prune"), "give --older-than, --keep-last, --keep-succeeded, --keep-best or some of them"),
        (("runs", "prune", "--older-than", "P1D", "--keep-best", "1"), "--keep-best, --best-metric: give both"),
        (("runs", "prune", "--older-than", "P1D", "--best-metric", "f1", "up"), "--best-metric: "),
        (("runs", "prune", "--older-than", "P1D", "--no-dry-run", "--yes"), "or --allow-unarchived to delete"),
        (("flows", "list", "--attribute", "older_than"), "--attribute: 'older_than' is not"),
    ],
)
def test_messages_name_options_instead_of_arguments(
    cli: Cli, vi_emulator: Emulator, arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = cli(*arguments)
    assert code == 2
    assert message in err
    assert vi_emulator.requests == []
