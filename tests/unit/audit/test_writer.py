"""An export is complete or absent, and the same flows give the same bytes."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from tests.unit.audit.support import ALL_FORMS, FLOWS, contents, export, files, flow, format_of
from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.audit import writer
from vi_airflow_provider.audit.manifest import ExportError, files_of, read_manifest
from vi_airflow_provider.audit.reader import read_export
from vi_airflow_provider.audit.spool import Spool
from vi_airflow_provider.audit.subject import FLOWS as SUBJECT
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.storage.files import write_atomically
from vi_airflow_provider.storage.manifest import sha256_of

ROOT: Final = Path(__file__).resolve().parents[3]


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_FORMS)
def test_same_flows_give_same_bytes_in_any_order(name: str, tmp_path: Path) -> None:
    orders = [FLOWS, FLOWS[::-1], FLOWS[2:] + FLOWS[:2]]
    written = set()
    for number, flows in enumerate(orders):
        path = tmp_path / str(number) / name
        export(str(path), flows, format_of(name))
        written.add(path.read_bytes())
    assert len(written) == 1


def test_jsonl_has_the_canonical_document_of_each_flow_sorted_by_id(tmp_path: Path) -> None:
    export(str(tmp_path / "flows.jsonl"), FLOWS)
    ids = ["B", "a", "a-1", "b"]
    by_id = {each.flow_id: canonical_json(each.to_wire()) + b"\n" for each in FLOWS}
    assert (tmp_path / "flows.jsonl").read_bytes() == b"".join(by_id[flow_id] for flow_id in ids)


@pytest.mark.parametrize("name", ["flows.jsonl", "flows.jsonl.gz"])
def test_written_flows_are_read_back_unchanged(name: str, tmp_path: Path) -> None:
    uri = (tmp_path / name).as_uri()
    export(uri, FLOWS)
    assert [each.to_wire() for each in read_export(uri)] == [
        each.to_wire() for each in sorted(FLOWS, key=lambda each: each.flow_id)
    ]


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_gzip_holds_the_plain_file_without_a_timestamp(format_: str, tmp_path: Path) -> None:
    for name in (f"plain.{format_}", f"packed.{format_}.gz"):
        export(str(tmp_path / name), FLOWS, format_)
    packed = (tmp_path / f"packed.{format_}.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / f"plain.{format_}").read_bytes()
    assert packed[3:8] == bytes(5)  # RFC 1952: no name in FLG, MTIME of zero


@pytest.mark.parametrize("name", ALL_FORMS)
def test_export_of_no_flows_is_complete(name: str, tmp_path: Path) -> None:
    uri = str(tmp_path / name)
    assert export(uri, [], format_of(name)).count == 0
    assert verify(uri).count == 0


def test_flow_listed_twice_is_exported_once_in_its_last_version(tmp_path: Path) -> None:
    uri = str(tmp_path / "flows.jsonl")
    manifest = export(uri, [flow("a", spec__name="first"), flow("b"), flow("a", spec__name="second")])
    assert manifest.count == 2
    assert next(read_export(uri)).spec.name == "second"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("folder", ["", "missing/"])
def test_spool_is_on_disk_without_a_name(folder: str, tmp_path: Path) -> None:
    """So nothing is left of it, however its process ends."""

    def nameless() -> int:
        links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        return sum(link.name.endswith(" (deleted)") for link in links)

    before = nameless()
    with Spool(SUBJECT) as spool:
        for number in range(1000):
            spool.add(flow(f"f{number}", spec__settings={"text": f"{number} " * 2000}))
        writer.write_file(spool, ObjectStoragePath(f"{tmp_path}/{folder}flows.jsonl"), "jsonl", compressed=False)
        assert nameless() == before + 2
        assert files(tmp_path) == set()
    assert nameless() == before


def test_spool_tells_which_ids_it_has_not_met() -> None:
    met = [f"f{number}" for number in range(600)]
    with Spool(SUBJECT) as spool:
        assert list(spool.unknown(met)) == met
        for number, each in enumerate(met):
            spool.skip(each) if number % 3 else spool.add(flow(each))
        assert list(spool.unknown([])) == []
        assert list(spool.unknown(["z", *met, "a", "f\0", "z"])) == ["z", "a", "f\0", "z"]


# --- publishing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [1, 2], ids=["manifest", "file"])
@pytest.mark.parametrize("before", [None, "old", "foreign"])
def test_failed_publish_restores_what_was_there(
    broken: int, before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(tmp_path / "flows.jsonl")
    if before == "old":
        export(uri, FLOWS[:2])
    elif before == "foreign":
        Path(uri).write_bytes(b"not ours")
    found = contents(tmp_path)
    write, written = write_atomically, []

    def fail_once(path: ObjectStoragePath, content: Any) -> None:
        written.append(path.name)
        if len(written) == broken:
            raise OSError("the disk is full")
        write(path, content)

    monkeypatch.setattr(writer, "write_atomically", fail_once)
    with pytest.raises(OSError, match="the disk is full"):
        export(uri, FLOWS)
    assert written[:broken] == ["flows.jsonl.manifest.json", "flows.jsonl"][:broken]
    assert contents(tmp_path) == found


@pytest.mark.parametrize("kind", ["replaced", "new"])
def test_failed_restore_keeps_the_error_and_restores_the_rest(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    uri = str(tmp_path / "flows.jsonl")
    old = export(uri, FLOWS[:2], report=b"old") if kind == "replaced" else None
    found = contents(tmp_path)
    write, unlink, broken = write_atomically, ObjectStoragePath.unlink, []

    def fails(path: ObjectStoragePath, act: Callable[[], None]) -> None:
        if path.name == "flows.jsonl":
            broken.append(path)
            raise OSError("the disk is full")
        if broken and path.name == "flows.jsonl.report.html":
            raise PermissionError("nor may you")
        act()

    monkeypatch.setattr(writer, "write_atomically", lambda path, content: fails(path, lambda: write(path, content)))
    monkeypatch.setattr(ObjectStoragePath, "unlink", lambda path: fails(path, lambda: unlink(path)))
    with pytest.raises(OSError, match="the disk is full"):
        export(uri, FLOWS, report=b"new")
    assert contents(tmp_path) == {**found, "flows.jsonl.report.html": b"new"}
    assert old is None or verify(uri) == old
    done = "restored" if old else "removed"
    assert f"flows.jsonl.report.html could not be {done}: PermissionError: nor may you" in caplog.text


@pytest.mark.parametrize("arrived", [False, True])
def test_failing_storage_does_not_hide_the_first_error(
    arrived: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    uri = str(tmp_path / "flows.jsonl")
    old = export(uri, FLOWS[:2])
    write, sha256 = write_atomically, sha256_of
    failed: list[Any] = []

    def until_it_fails(act: Callable[..., Any], *arguments: Any) -> Any:
        if failed:
            raise ConnectionError("second")
        if act is write and arguments[0].name == "flows.jsonl":
            failed.append(arguments)
            if arrived:
                act(*arguments)
            raise TimeoutError("first")
        return act(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(writer, "write_atomically", partial(until_it_fails, write))
        patched.setattr(writer, "sha256_of", partial(until_it_fails, sha256))
        with pytest.raises(TimeoutError, match="first"):
            export(uri, FLOWS)
    assert "flows.jsonl was stored: ConnectionError: second" in caplog.text
    assert verify(uri).count == (len(FLOWS) if arrived else old.count)


def test_stale_report_is_removed(tmp_path: Path) -> None:
    uri = str(tmp_path / "flows.jsonl")
    export(uri, FLOWS[:2], report=b"old")
    assert "flows.jsonl.report.html" in files(tmp_path)
    export(uri, FLOWS)
    assert files(tmp_path) == {"flows.jsonl", "flows.jsonl.manifest.json"}


def test_file_stored_despite_a_lost_response_keeps_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(tmp_path / "flows.jsonl")
    write = write_atomically

    def lose_the_response(path: ObjectStoragePath, content: Any) -> None:
        write(path, content)
        if path.name == "flows.jsonl":
            raise TimeoutError("no response")

    monkeypatch.setattr(writer, "write_atomically", lose_the_response)
    with pytest.raises(TimeoutError):
        export(uri, FLOWS)
    assert verify(uri).count == 4


def test_export_that_others_keep_replacing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(str(tmp_path / "other.jsonl"), [])
    others = read_manifest(files_of(str(tmp_path / "other.jsonl")).manifest)
    monkeypatch.setattr(writer, "read_manifest", lambda *_: others)
    with pytest.raises(ExportError, match=r"flows\.jsonl keeps being replaced by other tasks"):
        export(str(tmp_path / "flows.jsonl"), FLOWS)


def test_lost_file_is_replaced(tmp_path: Path) -> None:
    for flows in (FLOWS[:1], FLOWS[:2], FLOWS):
        export(str(tmp_path / "flows.jsonl"), flows)
        Path(tmp_path / "flows.jsonl").unlink()
    export(str(tmp_path / "flows.jsonl"), FLOWS)
    assert verify(str(tmp_path / "flows.jsonl"), every_document=True).count == len(FLOWS)


def test_manifest_accepts_the_old_file_until_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = str(tmp_path / "flows.jsonl")
    old = export(uri, FLOWS[:2], created_at="2026-06-30")
    write, seen = write_atomically, []

    def check_before(path: ObjectStoragePath, content: Any) -> None:
        seen.append([manifest.count for manifest in read_manifest(files_of(uri).manifest)])
        assert verify(uri) == old
        write(path, content)

    monkeypatch.setattr(writer, "write_atomically", check_before)
    new = export(uri, FLOWS)
    assert seen == [[2], [4, 2]]
    assert verify(uri) == new


# --- memory -----------------------------------------------------------------------------------------------------------


#: Exports flows of 12 blocks, page by page, in a process of its own for each case, and prints its peak memory.
#: jsonl is compared with an export in which every value of every flow was another.
MEASURE: Final = """
import json, os, re, sys, tempfile
import pyarrow.parquet, requests_mock
from tests.documents import wire_flow, wire_page
from tests.tasks import FLOWS
from tests.unit.audit.support import SIMPLE_FLOWS
from vi_airflow_provider.operators.flows import ExportFlowsOperator

LINE = json.dumps(wire_flow(flowId="ID", spec__blocks=[
    {"block": "step", "settings": {"prompt": "Find each defect. " * 10, "rate": 0.5, "seed": i}, "style": {"x": 1}}
    for i in range(12)
])) + ","

def page(request, context):
    start = int(request.qs.get("p", ["0"])[0])
    end = min(start + 100, number)
    items = "".join(LINE.replace('"ID"', f'"f{i * 7919 % 6000:04}"') for i in range(start, end))
    items = items.replace("defect", "fault") if changed else items
    return f'{{"items": [{items[:-1]}], "nextPage": {json.dumps(str(end) if end < number else None)}}}'

def ids(request, context):
    return json.dumps({"items": [{"flowId": f"f{i * 7919 % 6000:04}"} for i in range(number)]})

def export(folder, name, **arguments):
    with requests_mock.Mocker() as mocker:
        mocker.get(re.compile(re.escape(FLOWS)), text=page)
        mocker.get(re.compile(re.escape(SIMPLE_FLOWS)), text=ids)
        task = ExportFlowsOperator(task_id="t", destination=f"{folder}/{name}", **arguments)
        assert task.execute({})["count"] == number

def measured(*arguments, **options):
    if (child := os.fork()) == 0:
        export(*arguments, **options)
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    assert status == 0
    return used.ru_maxrss / 1024

number, changed = 1, False
with tempfile.TemporaryDirectory() as folder:
    for options in ({"format": "parquet"}, {"html_report": True}, {"html_report": True, "compare_to": "previous"}):
        export(folder, "warm-up", **options)  # imports everything
    for number in (100, 6000):
        changed = False
        for format_ in ("jsonl", "csv", "parquet"):
            print(json.dumps([format_, number, measured(f"{folder}/{number}", f"old.{format_}", format=format_)]))
        changed = True
        peak = measured(f"{folder}/{number}", "new.jsonl", compare_to="previous", html_report=True)
        print(json.dumps(["all changed", number, peak]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is that of Linux")
def test_memory_does_not_grow_with_the_number_of_flows() -> None:
    pytest.importorskip("pyarrow")
    from tests.tasks import connection

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AIRFLOW_CONN_VI_DEFAULT": connection()}
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-c", MEASURE], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    peak = {tuple(case[:2]): case[2] for case in cases}
    kinds = ("jsonl", "csv", "parquet", "all changed")
    growth = {kind: peak[kind, 6000] - peak[kind, 100] for kind in kinds}
    assert max(growth.values()) < 40, growth
