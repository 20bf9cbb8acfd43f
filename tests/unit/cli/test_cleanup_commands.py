"""``vi-airflow flows prune`` and ``delete``: they look, show, ask, archive, look again, and delete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.unit.cleanup.support import Vi
from tests.unit.cli.conftest import Answer, Cli
from vi_airflow_provider.cleanup import prune
from vi_airflow_provider.cleanup.archive import read_archive
from vi_airflow_provider.cli.connection import CountingClient
from vi_airflow_provider.emulator import Emulator

PRUNE: Final = ("flows", "prune", "--older-than", "P90D")


@pytest.fixture
def vi(vi_emulator: Emulator) -> Vi:
    return Vi(vi_emulator)


# --- prune -----------------------------------------------------------------------------------------------------------


def test_prune_is_a_dry_run_by_default(cli: Cli, vi: Vi) -> None:
    stale = vi.stale()
    for arguments in ((), ("--dry-run",), ("--yes",)):
        code, out, err = cli(*PRUNE, *arguments, "-o", "json")
        report = json.loads(out)
        assert (code, report["dry_run"]) == (0, True)
        assert {row["flow_id"] for row in report["outcomes"]} == stale
        assert err.startswith("Dry run: nothing is deleted. 40 flows: ")
    assert vi.sent("DELETE", "PUT", "PATCH") == []


def test_prune_shows_a_table_of_outcomes(cli: Cli, vi: Vi) -> None:
    out = cli(*PRUNE).out
    assert out.splitlines()[0].split(" | ")[0].strip() == "outcome"
    assert out.count("would_delete") == len(vi.stale())


def test_prune_deletes_what_it_has_archived(cli: Cli, vi: Vi, tmp_path: Path) -> None:
    stale = vi.stale()
    code, out, _ = cli(*PRUNE, "--no-dry-run", "--yes", "--archive-to", tmp_path, "-o", "json")
    report = json.loads(out)
    assert (code, report["deleted"]) == (0, len(stale))
    assert {flow.flow_id for flow in read_archive(report["archive"])} == stale
    assert vi.stale() == set()
    manifest = json.loads(Path(report["archive"].replace(".jsonl", ".manifest.json")).read_text())
    assert manifest["policy"]["older_than"] == "P90D"


def test_prune_deletes_exactly_what_was_shown(cli: Cli, vi: Vi, answer: Answer, tmp_path: Path) -> None:
    stale = vi.stale()
    touched = min(stale)
    answer("y\n", lambda: vi.touch(touched))
    code, out, err = cli(*PRUNE, "--no-dry-run", "--archive-to", tmp_path, "-o", "json")
    report = json.loads(out)
    assert (code, report["deleted"], report["changed"]) == (0, len(stale) - 1, 1)
    assert touched in vi.flows
    assert f"Delete {len(stale)} flows of organization {vi.emulator.organization_id}, after they are archived" in err


@pytest.mark.parametrize("typed", ["n\n", "\n", "", "yess\n"])
def test_prune_deletes_nothing_without_a_yes(cli: Cli, vi: Vi, answer: Answer, tmp_path: Path, typed: str) -> None:
    answer(typed)
    code, out, err = cli(*PRUNE, "--no-dry-run", "--archive-to", tmp_path)
    assert (code, out) == (1, "")
    assert err.endswith("? [y/N] Nothing was changed.\n")
    assert vi.sent("DELETE") == []
    assert list(tmp_path.iterdir()) == []


def test_prune_asks_for_yes_before_it_reads_anything(cli: Cli, vi: Vi, tmp_path: Path) -> None:
    code, _, err = cli(*PRUNE, "--no-dry-run", "--archive-to", tmp_path)
    assert (code, err) == (2, "This needs a confirmation: run it in a terminal, or add --yes.\n")
    assert vi.sent() == []


def test_prune_without_an_archive_must_be_allowed(cli: Cli, vi: Vi) -> None:
    code, _, err = cli(*PRUNE, "--no-dry-run", "--yes")
    assert code == 2
    assert err.startswith("--archive-to: give a folder for what is deleted, or --allow-unarchived to delete")
    assert vi.sent() == []
    assert cli(*PRUNE, "--no-dry-run", "--yes", "--allow-unarchived").code == 0
    assert vi.stale() == set()


@pytest.mark.parametrize("arguments", [("--no-dry-run", "--yes", "--allow-unarchived"), ("--dry-run",)])
def test_guard_refuses_with_code_1(cli: Cli, vi: Vi, arguments: tuple[str, ...]) -> None:
    code, _, err = cli(*PRUNE, "--max-delete", "2", *arguments)
    assert code == 1
    assert ("more than max_delete (2)." if "--dry-run" in arguments else "more than --max-delete (2).") in err
    assert vi.sent("DELETE") == []


def test_policy_without_a_limit_is_refused(cli: Cli, vi: Vi) -> None:
    code, _, err = cli("flows", "prune")
    assert (code, vi.sent()) == (2, [])
    assert err.startswith("give --older-than, --keep-last or both")


def test_protected_flow_is_spared(cli: Cli, vi: Vi) -> None:
    spared, *_ = sorted(vi.stale())
    name = vi.flows[spared]["spec"]["name"]
    for protection in (("--protect-id", spared), ("--protect-name", name)):
        report = cli(*PRUNE, *protection, "-o", "json").data
        assert spared not in {row["flow_id"] for row in report["outcomes"]}
        assert spared in {row["flow_id"] for row in report["spared_flows"]}


def test_saved_plan_is_carried_out_as_it_was_reviewed(cli: Cli, vi: Vi, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(cli(*PRUNE, "-o", "json").out)
    touched, *others = sorted(vi.stale())
    vi.touch(touched)
    arguments = ("flows", "prune", "--plan", plan, "--no-dry-run", "--yes", "--archive-to", tmp_path, "-o", "json")
    code, out, err = cli(*arguments)
    report = json.loads(out)
    assert (code, report["deleted"]) == (0, len(others))
    assert err.startswith(f"Given plan: {len(others)} selected")
    assert touched in vi.flows


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, (), "--plan: '{plan}' cannot be read: No such file or directory."),
        ("no json", (), "--plan: '{plan}' cannot be read: it is not JSON, as -o json prints it."),
        ("{}", ("--keep-last", "3"), "--plan: it replaces the policy; leave out --keep-last."),
    ],
)
def test_unusable_plan_is_refused(
    cli: Cli, tmp_path: Path, content: str | None, arguments: tuple[str, ...], message: str
) -> None:
    plan = tmp_path / "plan.json"
    if content is not None:
        plan.write_text(content)
    code, _, err = cli("flows", "prune", "--plan", plan, *arguments)
    assert (code, err) == (2, message.format(plan=plan) + "\n")


def test_failed_delete_is_reported_with_code_1(cli: Cli, vi: Vi, tmp_path: Path) -> None:
    failing = min(vi.stale())
    vi.faults.add(method="DELETE", path=failing, status=403)
    code, out, err = cli(*PRUNE, "--no-dry-run", "--yes", "--archive-to", tmp_path, "-o", "json")
    assert (code, json.loads(out)["failed"]) == (1, 1)
    assert "1 flows could not be deleted" in err


def test_nothing_is_asked_if_no_flow_is_selected(cli: Cli, answer: Answer, tmp_path: Path) -> None:
    answer("n\n")
    arguments = ("flows", "prune", "--older-than", "P2000D", "--no-dry-run", "--archive-to", tmp_path)
    code, out, err = cli(*arguments)
    assert (code, out) == (0, "No data found\n")
    assert "[y/N]" not in err


@pytest.mark.vi_emulator(flows=40, runs=20)
@pytest.mark.parametrize("command", ["flows prune", "flows delete", "runs prune"])
def test_archive_is_named_before_anything_is_deleted(
    command: str, cli: Cli, vi: Vi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = (
        [min(vi.stale())] if command == "flows delete" else ["--older-than", "P30D", "--max-delete-fraction", "1"]
    )

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(prune, "delete_unchanged", interrupted)
    monkeypatch.setattr(CountingClient, "delete_flow_if", interrupted)
    confirmed = ("--yes", "--archive-to", tmp_path, *([] if command == "flows delete" else ["--no-dry-run"]))
    code, out, err = cli(*command.split(), *selection, *confirmed)
    (archive,) = tmp_path.glob("*s.jsonl")
    assert (code, out, vi.sent("DELETE")) == (130, "", [])
    assert err.splitlines()[-2:] == [f"archive: {archive}", "Interrupted."]


# --- delete ----------------------------------------------------------------------------------------------------------


def row_of(out: str) -> dict[str, Any]:
    (row,) = json.loads(out)
    return dict(row)


def test_delete_archives_and_deletes_one_flow(cli: Cli, vi: Vi, tmp_path: Path) -> None:
    flow_id = min(vi.stale())
    code, out, _ = cli("flows", "delete", flow_id, "--yes", "--archive-to", tmp_path, "-o", "json")
    row = row_of(out)
    assert (code, row["outcome"]) == (0, "deleted")
    assert [flow.flow_id for flow in read_archive(row["archive"])] == [flow_id]
    assert flow_id not in vi.flows


def test_delete_shows_the_flow_and_asks(cli: Cli, vi: Vi, answer: Answer) -> None:
    flow_id = min(vi.stale())
    answer("n\n")
    code, out, err = cli("flows", "delete", flow_id)
    assert (code, out) == (1, "")
    assert flow_id in err
    assert repr(vi.flows[flow_id]["spec"]["name"]) in err
    assert "WITHOUT an archive" in err
    assert flow_id in vi.flows
    answer("Y\n")
    assert cli("flows", "delete", flow_id).code == 0
    assert flow_id not in vi.flows


def test_delete_leaves_a_flow_alone_that_changes_while_it_is_shown(cli: Cli, vi: Vi, answer: Answer) -> None:
    flow_id = min(vi.stale())
    answer("y\n", lambda: vi.touch(flow_id))
    code, _, err = cli("flows", "delete", flow_id)
    assert (code, flow_id in vi.flows) == (7, True)
    assert err.endswith(f"Flow {flow_id} was changed since it was selected, so it is left alone.\n")


def test_delete_of_another_version_than_expected_is_refused(cli: Cli, vi: Vi) -> None:
    flow_id = min(vi.stale())
    assert cli("flows", "delete", flow_id, "--yes", "--expected-etag", '"other"').code == 7
    etag = vi.flows[flow_id]["etag"]
    assert cli("flows", "delete", flow_id, "--yes", "--expected-etag", etag.strip('"')).code == 0


def test_dry_run_of_a_delete_needs_no_yes(cli: Cli, vi: Vi) -> None:
    code, out, _ = cli("flows", "delete", min(vi.stale()), "--dry-run", "-o", "json")
    assert (code, row_of(out)["outcome"]) == (0, "would_delete")
    assert vi.sent("DELETE") == []


def test_delete_of_an_unknown_flow_is_code_6(cli: Cli) -> None:
    code, out, err = cli("flows", "delete", "nope", "--yes")
    assert (code, out) == (6, "")
    assert "404 Not Found" in err


def test_delete_of_a_flow_in_use_is_code_7(cli: Cli, vi: Vi) -> None:
    flow_id = min(vi.stale())
    vi.occupy(flow_id)
    code, _, err = cli("flows", "delete", flow_id, "--yes")
    assert (code, flow_id in vi.flows) == (7, True)
    assert "409" in err


def test_nothing_is_deleted_if_the_archive_cannot_be_written(cli: Cli, vi: Vi, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    flow_id = min(vi.stale())
    code, _, err = cli("flows", "delete", flow_id, "--yes", "--archive-to", file)
    assert (code, flow_id in vi.flows) == (3, True)
    assert err.startswith("the archive cannot be written to ")


def test_relative_folder_is_meant_from_the_working_directory(
    cli: Cli, vi: Vi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = cli("flows", "delete", min(vi.stale()), "--yes", "--archive-to", "archives", "-o", "json").out
    assert Path(row_of(out)["archive"]).parent == tmp_path / "archives"
