"""``vi-airflow archive``: find deleted flows, look at them, and restore them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.cleanup.support import Vi
from tests.unit.cli.conftest import Answer, Cli
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.cli.connection import CountingClient
from vi_airflow_provider.emulator import Emulator


@pytest.fixture
def vi(vi_emulator: Emulator) -> Vi:
    return Vi(vi_emulator)


@pytest.fixture
def deleted(cli: Cli, vi: Vi, tmp_path: Path) -> tuple[Flow, str]:
    """A flow that was deleted, and its archive; another flow was deleted before it."""
    first, second = sorted(vi.stale())[:2]
    flow = Flow.model_validate(vi.flows[second])
    for flow_id, folder in ((first, "a"), (second, "b")):
        done = cli("flows", "delete", flow_id, "--yes", "--archive-to", tmp_path / folder, "-o", "json")
    return flow, done.data[0]["archive"]


def test_flow_is_found_by_id_name_and_date(cli: Cli, deleted: tuple[Flow, str], tmp_path: Path) -> None:
    flow, archive = deleted
    for options in (
        ("--flow-id", flow.flow_id),
        ("--name-pattern", flow.spec.name, "--flow-id", flow.flow_id),
        ("--limit", "1"),  # the newest archive comes first
        ("--archived-after", "2001-01-01T00:00:00Z", "--limit", "1"),
    ):
        code, out, err = cli("archive", "find", tmp_path, *options, "-o", "plain")
        assert (code, err) == (0, ""), options
        assert out.splitlines()[1].startswith(flow.flow_id)
        assert out.splitlines()[1].endswith(archive)
    assert len(cli("archive", "find", tmp_path, "-o", "json").data) == 2


def test_archive_is_not_replaced_by_an_export(cli: Cli, deleted: tuple[Flow, str]) -> None:
    _, archive = deleted
    manifest = archive.removesuffix(".jsonl") + ".manifest.json"
    before = Path(archive).read_bytes()
    for place, reason in ((archive, "is a 'vi-flow-archive', which is not replaced"), (manifest, "name of a manifest")):
        code, out, err = cli("flows", "export", place, "--format", "jsonl")
        assert (code, out) == (2, "")
        assert reason in err
    assert Path(archive).read_bytes() == before


def test_nothing_found_is_code_1(cli: Cli, deleted: tuple[Flow, str], tmp_path: Path) -> None:
    assert cli("archive", "find", tmp_path, "--flow-id", "nope") == (1, "No data found\n", "")
    assert cli("archive", "find", tmp_path, "--archived-before", "2001-01-01T00:00:00Z").code == 1


def test_damaged_archive_is_reported_with_code_2(cli: Cli, deleted: tuple[Flow, str], tmp_path: Path) -> None:
    flow, archive = deleted
    Path(archive).write_bytes(b"{}\n")
    code, out, err = cli("archive", "find", tmp_path)
    assert code == 2
    assert flow.flow_id not in out
    assert len(out.splitlines()) == 3
    assert err.splitlines() == [
        f"{archive} does not match its manifest: it was truncated or changed",
        "1 archives could not be searched.",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("find", "/no/such/folder"), "/no/such/folder is not a folder"),
        (
            ("find", "/tmp", "--archived-after", "2026-01-01"),  # noqa: S108
            "--archived-after: '2026-01-01' has no time zone; write '2026-01-01T00:00:00+00:00' for UTC.",
        ),
        (("show", "/no/such.flows.jsonl"), "manifest /no/such.flows.manifest.json: it does not exist"),
        (("restore", "/no/such.flows.jsonl", "--yes"), "manifest /no/such.flows.manifest.json: it does not exist"),
    ],
)
def test_unusable_place_is_code_2(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = cli("archive", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)


def test_archive_is_shown_as_a_list_or_flow_by_flow(cli: Cli, deleted: tuple[Flow, str]) -> None:
    flow, archive = deleted
    assert [row["flow_id"] for row in cli("archive", "show", archive, "-o", "json").data] == [flow.flow_id]
    shown = cli("archive", "show", archive, "--flow-id", flow.flow_id, "-o", "json").data
    assert Flow.model_validate(shown).to_wire() == flow.to_wire()
    code, _, err = cli("archive", "show", archive, "--flow-id", "nope")
    assert (code, err) == (2, "--flow-id: not in the archive: 'nope'.\n")


def test_restore_asks_and_writes_the_flow_as_it_was(
    cli: Cli, vi: Vi, deleted: tuple[Flow, str], answer: Answer
) -> None:
    flow, archive = deleted
    assert cli("archive", "restore", archive, "--dry-run", "-o", "json").data[0]["outcome"] == "would_restore"
    assert cli("archive", "restore", archive).code == 2
    answer("n\n")
    code, _, err = cli("archive", "restore", archive)
    assert code == 1
    assert f"Restore 1 flows in organization {vi.emulator.organization_id}" in err
    assert flow.flow_id not in vi.flows
    answer("y\n")
    assert cli("archive", "restore", archive, "-o", "json").data[0]["outcome"] == "restored"
    assert vi.flows[flow.flow_id]["spec"] == flow.to_wire()["spec"]
    assert cli("archive", "restore", archive, "--yes", "-o", "json").data[0]["outcome"] == "as_archived"


def test_flow_with_other_content_is_left_alone_unless_replaced(cli: Cli, vi: Vi, deleted: tuple[Flow, str]) -> None:
    flow, archive = deleted
    cli("archive", "restore", archive, "--yes")
    vi.touch(flow.flow_id)
    expected = {"fail": (1, "would_fail"), "skip": (0, "would_skip"), "replace": (0, "would_replace")}
    for if_exists, (code, outcome) in expected.items():
        done = cli("archive", "restore", archive, "--if-exists", if_exists, "--dry-run", "-o", "json")
        assert (done.code, done.data[0]["outcome"]) == (code, outcome)
    code, out, err = cli("archive", "restore", archive, "--yes")
    assert (code, out) == (1, "")
    assert "1 flows exist with another spec or other attributes" in err
    skipped = cli("archive", "restore", archive, "--yes", "--if-exists", "skip", "-o", "json")
    assert (skipped.code, skipped.data[0]["outcome"]) == (0, "left_alone")
    assert "touched" in vi.flows[flow.flow_id]["metadata"]["attributes"]
    assert cli("archive", "restore", archive, "--yes", "--if-exists", "replace").code == 0
    assert "touched" not in vi.flows[flow.flow_id]["metadata"]["attributes"]


@pytest.fixture
def missing(cli: Cli, vi: Vi, tmp_path: Path) -> tuple[list[str], str]:
    """Flows that were deleted, in the order of their archive, and the archive."""
    arguments = ("--older-than", "P90D", "--no-dry-run", "--yes", "--archive-to", tmp_path, "-o", "json")
    archive = cli("flows", "prune", *arguments).data["archive"]
    return [row["flow_id"] for row in cli("archive", "show", archive, "-o", "json").data], archive


def test_restore_that_ends_early_shows_what_it_has_written(cli: Cli, vi: Vi, missing: tuple[list[str], str]) -> None:
    flow_ids, archive = missing
    vi.faults.add(method="PUT", status=403, times=None, skip=2)
    done = cli("archive", "restore", archive, "--yes", "-o", "json")
    expected = ["restored", "restored", "failed", *["not_tried"] * (len(flow_ids) - 3)]
    assert done.code == 5
    assert {row["flow_id"]: row["outcome"] for row in done.data} == dict(zip(flow_ids, expected, strict=True))
    assert set(flow_ids) & set(vi.flows) == set(flow_ids[:2])
    vi.faults.clear()
    again = cli("archive", "restore", archive, "--yes", "-o", "json")
    assert (again.code, [row["outcome"] for row in again.data[:3]]) == (0, ["as_archived", "as_archived", "restored"])


def test_restore_that_is_interrupted_shows_what_it_has_written(
    cli: Cli, vi: Vi, missing: tuple[list[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_ids, archive = missing
    restore_flow_if = CountingClient.restore_flow_if

    def interrupted(client: CountingClient, document: Any, matches: Any) -> Any:
        if document["flowId"] == flow_ids[1]:
            raise KeyboardInterrupt
        return restore_flow_if(client, document, matches)

    monkeypatch.setattr(CountingClient, "restore_flow_if", interrupted)
    done = cli("archive", "restore", archive, "--yes", "-o", "json")
    assert (done.code, [row["outcome"] for row in done.data[:3]]) == (130, ["restored", "failed", "not_tried"])


def test_question_names_the_organization_of_the_archive(
    cli: Cli, vi: Vi, deleted: tuple[Flow, str], answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, archive = deleted
    monkeypatch.setenv("DATATURE_VI_ORGANIZATION_ID", "another")
    answer("n\n")
    err = cli("archive", "restore", archive, "--if-exists", "replace").err
    assert f"(archived in organization {flow.organization_id}) in organization another, REPLACING" in err
