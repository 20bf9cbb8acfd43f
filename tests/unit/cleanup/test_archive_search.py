"""Which archive of a folder contains a flow."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import time_machine

from tests.unit.cleanup.test_archive import document, write
from vi_airflow_provider.cleanup.archive import ArchiveError
from vi_airflow_provider.cleanup.archive_search import ArchivedFlow, Period, find_archived


def found(folder: Path, period: Period | None = None) -> tuple[list[tuple[str, str]], list[str]]:
    """Return flow id and name of the archive of each flow, and what could not be read."""
    problems: list[str] = []
    flows = find_archived(str(folder), lambda flow: True, period or Period(), problems.append)
    return [(archived.flow.flow_id, Path(archived.manifest.uri).name) for archived in flows], problems


def write_on(day: int, folder: Path, *flow_ids: str) -> str:
    with time_machine.travel(datetime(2026, 10, day, tzinfo=UTC), tick=False):
        return write(folder, *(document(flow_id) for flow_id in flow_ids), name=f"day-{day}")


def test_newest_archive_comes_first_whatever_its_folder(tmp_path: Path) -> None:
    write_on(2, tmp_path / "z", "a")
    write_on(3, tmp_path / "a" / "b", "a", "b")
    write_on(1, tmp_path, "a")
    assert found(tmp_path) == (
        [
            ("a", "day-3.flows.jsonl"),
            ("b", "day-3.flows.jsonl"),
            ("a", "day-2.flows.jsonl"),
            ("a", "day-1.flows.jsonl"),
        ],
        [],
    )


def test_only_archives_of_the_period_are_searched(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        write_on(day, tmp_path, "a")
    second, third = datetime(2026, 10, 2, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC)
    assert found(tmp_path, Period(second, third))[0] == [("a", "day-2.flows.jsonl")]
    assert len(found(tmp_path, Period(after=second))[0]) == 2
    assert len(found(tmp_path, Period(before=second))[0]) == 1


@pytest.mark.parametrize("created_at", ["", "yesterday", "2026-10-01T00:00:00"])
def test_archive_of_unknown_age_is_searched(created_at: str) -> None:
    assert Period(datetime(2026, 10, 2, tzinfo=UTC)).contains(created_at)


def test_damaged_archives_are_named_and_the_others_searched(tmp_path: Path) -> None:
    write_on(1, tmp_path, "a")
    changed, without_facts = write_on(2, tmp_path, "b"), write_on(3, tmp_path, "c")
    (tmp_path / "day-2.flows.jsonl").write_bytes(b"")
    (tmp_path / "day-3.flows.manifest.json").write_text("{}")
    flows, problems = found(tmp_path)
    assert flows == [("a", "day-1.flows.jsonl")]
    names = [Path(uri).name for uri in (without_facts.replace(".jsonl", ".manifest.json"), changed)]
    assert [name in problem for name, problem in zip(names, problems, strict=True)] == [True, True]


def test_files_without_a_manifest_and_exports_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "killed.flows.jsonl").write_bytes(document() + b"\n")
    (tmp_path / "2026-10-01.jsonl.manifest.json").write_text('{"kind": "vi-flow-export"}')
    assert found(tmp_path) == ([], [])


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError, match="is not a folder"):
        found(tmp_path / name)


def test_flows_are_filtered(tmp_path: Path) -> None:
    write_on(1, tmp_path, "a", "b")
    flows: list[ArchivedFlow] = list(
        find_archived(tmp_path.as_uri(), lambda flow: flow.flow_id == "b", Period(), print)
    )
    assert [archived.flow.flow_id for archived in flows] == ["b"]
    assert flows[0].manifest.organization_id == "org"
