"""``vi-airflow runs`` against the emulator."""

from __future__ import annotations

import time

import pytest

from tests.background import in_background
from tests.unit.cli.conftest import Answer, Cli
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.store.schema import Document
from vi_airflow_provider.training import starting

pytestmark = pytest.mark.vi_emulator(flows=10, runs=6)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_KILL_POLL", 0.01)


def start(emulator: Emulator, run_id: str, **plan: object) -> Document:
    """Start a run of the first flow."""
    emulator.plans.add(run=run_id, **plan)  # type: ignore[arg-type]
    flow_id = emulator.store.flow_ids()[0]
    attributes = {"vi_airflow.flow_id": flow_id, "team": "line-9"}
    spec = {"flow": emulator.store.get_flow(flow_id)["spec"], "trainingProject": "special"}
    return emulator.store.put_run(run_id, {"spec": spec, "metadata": {"attributes": attributes}})


def ids(cli: Cli, *arguments: str) -> list[str]:
    return [row["run_id"] for row in cli("runs", "list", *arguments, "-o", "json").data]


def test_runs_are_listed_newest_first(cli: Cli, vi_emulator: Emulator) -> None:
    rows = cli("runs", "list", "-o", "json").data
    assert len(rows) >= 6
    assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)
    assert ids(cli, "--limit", "2") == [row["run_id"] for row in rows[:2]]


def test_runs_are_selected_as_the_operator_does(cli: Cli, vi_emulator: Emulator) -> None:
    start(vi_emulator, "mine", run_seconds=3600)
    for option in (
        ("--attribute", "team=line-9"),
        ("--training-project", "special"),
        ("--flow-id", vi_emulator.store.flow_ids()[0], "--attribute", "team=line-9"),
        ("--state", "queued", "--state", "running", "--attribute", "team=line-9", "--older-than", "PT0S"),
    ):
        assert ids(cli, *option) == ["mine"], option
    assert "mine" not in ids(cli, "--older-than", "P1D")
    assert "mine" not in ids(cli, "--state", "succeeded")


def test_run_is_shown_with_its_best_known_facts(cli: Cli, vi_emulator: Emulator) -> None:
    start(vi_emulator, "mine", run_seconds=0.01)
    vi_emulator.advance(10)
    run = cli("runs", "get", "mine", "-o", "json").data
    assert (run["run_id"], run["state"], run["training_project"]) == ("mine", "succeeded", "special")
    assert run["created_at"].endswith("Z")
    assert run["model"]["metrics"]
    assert "succeeded" in cli("runs", "get", "mine").out


def test_outputs_show_metrics_and_no_signed_url(cli: Cli, vi_emulator: Emulator) -> None:
    start(vi_emulator, "mine", run_seconds=0.01, checkpoints=3)
    vi_emulator.advance(10)
    for output in ("json", "yaml", "table", "plain"):
        code, out, err = cli("runs", "outputs", "mine", "-o", output, "--verbose")
        assert code == 0
        assert "signature" not in (out + err).lower()
    assert len(cli("runs", "outputs", "mine", "-o", "json").data) == 3


def test_log_is_printed_whole_or_its_end(cli: Cli, vi_emulator: Emulator) -> None:
    start(vi_emulator, "mine", run_seconds=0.01)
    vi_emulator.advance(10)
    lines = cli("runs", "logs", "mine").out.splitlines()
    assert "Training finished, model saved" in lines
    assert cli("runs", "logs", "mine", "--tail", "2").out.splitlines() == lines[-2:]
    assert cli("runs", "logs", "mine", "--tail", "0").out == ""
    assert len(cli("runs", "logs", "mine", "--block", "dataset").out.splitlines()) < len(lines)


@pytest.mark.parametrize("log_shape", ["items", "lines", "data", "text"])
def test_followed_log_ends_with_the_run_and_has_each_line_once(cli: Cli, vi_emulator: Emulator, log_shape: str) -> None:
    vi_emulator.configure(log_shape=log_shape)  # type: ignore[arg-type]
    start(vi_emulator, "mine", run_seconds=600)
    vi_emulator.advance(500)
    requests_before = len(vi_emulator.requests)

    def end_the_run_after_some_polls() -> None:
        while len(vi_emulator.requests) < requests_before + 4:
            time.sleep(0.01)
        vi_emulator.advance(400)

    with in_background(end_the_run_after_some_polls):
        followed = cli("runs", "logs", "mine", "--follow", "--poll-interval", "0.1").out.splitlines()
    assert followed == cli("runs", "logs", "mine").out.splitlines()
    assert "Training finished, model saved" in followed


def test_kill_asks_and_waits_until_the_run_has_ended(cli: Cli, vi_emulator: Emulator, answer: Answer) -> None:
    start(vi_emulator, "mine", run_seconds=3600)
    answer("n\n")
    code, _, err = cli("runs", "kill", "mine")
    assert (code, vi_emulator.store.get_run("mine")["spec"].get("killedAt")) == (1, None)
    assert "used credits are not refunded" in err
    answer("y\n")
    row = cli("runs", "kill", "mine", "-o", "json").data[0]
    assert (row["outcome"], row["state"]) == ("killed", "killed")
    assert vi_emulator.store.get_run("mine")["spec"]["killedAt"]
    assert "vi_airflow.kill_reason" not in vi_emulator.store.get_run("mine")["metadata"]["attributes"]


def test_kill_without_a_terminal_needs_yes(cli: Cli, vi_emulator: Emulator) -> None:
    start(vi_emulator, "mine", run_seconds=3600)
    vi_emulator.clear_requests()
    assert cli("runs", "kill", "mine").code == 2
    assert vi_emulator.requests == []
    assert cli("runs", "kill", "mine", "--dry-run", "-o", "json").data[0]["outcome"] == "would_kill"
    assert {request.method for request in vi_emulator.requests} == {"GET"}


def test_kill_can_return_before_the_run_ends(cli: Cli, vi_emulator: Emulator) -> None:
    start(vi_emulator, "mine", scenario="slow_kill", run_seconds=3600)
    assert cli("runs", "kill", "mine", "--yes", "--no-wait", "-o", "json").data[0]["outcome"] == "killed"


def test_run_that_has_ended_is_not_killed(cli: Cli, vi_emulator: Emulator) -> None:
    start(vi_emulator, "mine", run_seconds=0.01)
    vi_emulator.advance(10)
    assert cli("runs", "kill", "mine", "--yes", "-o", "json").data[0]["outcome"] == "already_ended"
    assert [request.method for request in vi_emulator.requests if request.method == "PATCH"] == []


@pytest.mark.parametrize("command", ["get", "logs", "outputs", "kill"])
def test_unknown_run_is_code_6(cli: Cli, command: str) -> None:
    code, out, err = cli("runs", command, "nope", *(["--yes"] if command == "kill" else []))
    assert (code, out) == (6, "") or (command, out) == ("outputs", "")
    assert err.count("\n") == 1
