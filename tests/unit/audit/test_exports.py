"""An export is complete or absent, the same flows give the same bytes, and the manifest proves what is there."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import wire_flow
from tests.unit.audit.support import contents, export, files, flow
from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.audit import tabular, writer
from vi_airflow_provider.audit.spool import FlowSpool
from vi_airflow_provider.audit.writer import ExportError, newest_export, read_export, read_manifest, verify

ROOT: Final = Path(__file__).resolve().parents[3]
FLOWS: Final = [
    flow("b", spec__name="größer\u2028\n"),
    flow("a", spec__settings={"seed": 1}),
    flow("B", spec__trainingProject=None, unknown={"kept": [1.5, None]}),
    flow("a-1", spec__blocks=[]),
]
ALL_FORMS: Final = ["flows.jsonl", "flows.jsonl.gz", "flows.csv", "flows.csv.gz", "flows.parquet"]


def format_of(name: str) -> str:
    return name.split(".")[1]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


# --- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_FORMS)
def test_the_same_flows_give_the_same_bytes_in_whatever_order_they_come(name: str, tmp_path: Path) -> None:
    orders = [FLOWS, FLOWS[::-1], FLOWS[2:] + FLOWS[:2]]
    written = set()
    for number, flows in enumerate(orders):
        path = tmp_path / str(number) / name
        export(str(path), flows, format_of(name))
        written.add(path.read_bytes())
    assert len(written) == 1


def test_jsonl_is_the_canonical_document_of_each_flow_sorted_by_id(tmp_path: Path) -> None:
    export(str(tmp_path / "flows.jsonl"), FLOWS)
    ids = ["B", "a", "a-1", "b"]
    by_id = {each.flow_id: canonical_json(each.to_wire()) + b"\n" for each in FLOWS}
    assert (tmp_path / "flows.jsonl").read_bytes() == b"".join(by_id[flow_id] for flow_id in ids)


@pytest.mark.parametrize("name", ["flows.jsonl", "flows.jsonl.gz"])
def test_what_is_read_is_what_was_written(name: str, tmp_path: Path) -> None:
    uri = (tmp_path / name).as_uri()
    export(uri, FLOWS)
    assert [each.to_wire() for each in read_export(uri)] == [
        each.to_wire() for each in sorted(FLOWS, key=lambda each: each.flow_id)
    ]


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_gz_holds_the_same_as_the_plain_file_and_no_time(format_: str, tmp_path: Path) -> None:
    for name in (f"plain.{format_}", f"packed.{format_}.gz"):
        export(str(tmp_path / name), FLOWS, format_)
    packed = (tmp_path / f"packed.{format_}.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / f"plain.{format_}").read_bytes()
    assert packed[3:8] == bytes(5)  # RFC 1952: no name in FLG, MTIME of zero


@pytest.mark.parametrize("name", ALL_FORMS)
def test_no_flows_are_an_export_too(name: str, tmp_path: Path) -> None:
    uri = str(tmp_path / name)
    assert export(uri, [], format_of(name)).count == 0
    assert verify(uri).count == 0


def test_a_flow_that_two_pages_show_is_counted_once_as_it_was_last(tmp_path: Path) -> None:
    uri = str(tmp_path / "flows.jsonl")
    manifest = export(uri, [flow("a", spec__name="first"), flow("b"), flow("a", spec__name="second")])
    assert manifest.count == 2
    assert next(read_export(uri)).spec.name == "second"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_spool_is_on_the_disk_but_has_no_name_there() -> None:
    """So nothing is left of it, however its process ends."""

    def nameless() -> int:
        links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        return sum(link.name.endswith(" (deleted)") for link in links)

    before = nameless()
    with FlowSpool() as spool:
        for number in range(1000):
            spool.add(flow(f"f{number}", spec__settings={"text": f"{number} " * 2000}))
        writer.write_file(spool, "jsonl", compressed=False)
        assert nameless() == before + 2
    assert nameless() == before


# --- csv -----------------------------------------------------------------------------------------------------------

SLY: Final = st.text(st.sampled_from("=+-@\t\r\n'\";,| aß\x00\x85\u2028\ufeff\uff1d\uff0d"), max_size=6)
SIGNS: Final = ("=", "+", "-", "@", "\uff1d", "\uff0d")


def cells(text: str) -> list[str]:
    """The cells that programs may see in a csv: that split at another character, or do not know quoted line breaks."""
    found = []
    for lines in (io.StringIO(text, newline=""), text.splitlines()):
        for delimiter in ",;\t":
            try:
                found += [cell for row in csv.reader(lines, delimiter=delimiter) for cell in row]
            except csv.Error:
                continue  # refused
    return found


def is_formula(cell: str) -> bool:
    number = re.fullmatch(r"-?\d+", cell)
    return cell.startswith(("\t", "\r", "\n")) or (not number and cell.strip('\x00\ufeff \t\r\n"').startswith(SIGNS))


@given(name=SLY, flow_id=SLY.filter(bool), key=SLY, value=SLY, etag=SLY, block=SLY)
def test_no_cell_of_a_csv_can_become_a_formula(
    name: str, flow_id: str, key: str, value: str, etag: str, block: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("csv") / "flows.csv"
    sly = {"spec__name": name, "spec__schema": value, "spec__trainingProject": name, "etag": etag, "selfLink": value}
    written = flow(flow_id, metadata__attributes={key: value}, spec__blocks__0__block=block, **sly)
    export(str(path), [written], "csv")

    assert [cell for cell in cells(path.read_bytes().decode()) if is_formula(cell)] == []
    (row,) = rows(path)
    # Text has nothing but quotes added; JSON says the same.
    for column, original in {"flow_id": flow_id, "name": name, "etag": etag}.items():
        assert row[column].replace("'", "") == original.replace("'", "")
    assert json.loads(row["attributes"]) == {key: value}
    assert json.loads(row["spec"]) == written.spec.to_wire()


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("-1", "'-1"),
        ("  =1+1", "'  =1+1"),
        ("\ufeff=1+1", "'\ufeff=1+1"),
        ("\x7f\xad\u061c\u180e\u202e\u2066\ufe0f=1+1", "'\x7f\xad\u061c\u180e\u202e\u2066\ufe0f=1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("a\n=1+1", "a\n'=1+1"),
        ("a;=1+1", "a;'=1+1"),
        ('a;"=1+1"', 'a;\'"=1+1"'),
        ("\ttext", "'\ttext"),
        ("a\u2028\ttext", "a\u2028'\ttext"),
        ("a;\ttext", "a;'\ttext"),
        ('a\u2028"\ttext', "a\u2028'\"\ttext"),
        ("a\t\ttext", "a\t\ttext"),
        ("weld - T4", "weld - T4"),
        ("a;b", "a;b"),
        ("a=b@c", "a=b@c"),
    ],
)
def test_a_quote_in_front_makes_text_of_what_would_be_a_formula(name: str, cell: str, tmp_path: Path) -> None:
    export(str(tmp_path / "flows.csv"), [flow(spec__name=name)], "csv")
    (row,) = rows(tmp_path / "flows.csv")
    assert row["name"] == cell


@pytest.mark.parametrize("run", ["\n", " ", "\u2028", ";", '"', "=", ";\u2028"])
@pytest.mark.parametrize("end", ["", "=", "x"])
def test_a_long_run_of_what_may_stand_before_a_sign_takes_no_time(run: str, end: str) -> None:
    hostile = run * (1_000_000 // len(run)) + end
    began = time.process_time()
    for kind in ("string", "json"):
        tabular._cell(hostile, kind)
    assert time.process_time() - began < 1


def test_a_csv_has_one_row_a_flow_with_its_facts_in_columns(tmp_path: Path) -> None:
    export(str(tmp_path / "flows.csv"), [FLOWS[2], flow()], "csv")
    bare, row = rows(tmp_path / "flows.csv")
    assert (bare["flow_id"], bare["training_project"]) == ("B", "")
    spec = json.loads(row.pop("spec"))
    assert spec == wire_flow()["spec"]
    assert row == {
        "flow_id": "a",
        "name": "Weld seam defects - Qwen3-VL 4B",
        "schema": "v1",
        "training_project": "weld-inspection",
        "time_created": "1782864000123",
        "last_updated": "1783209600456",
        "generation": "4",
        "block_count": "2",
        "blocks": "system-prompt > vlm-model",
        "attributes": '{"team":"line-3"}',
        "digest": flow().digest,
        "etag": '"4-9d2f61"',
        "self_link": flow().self_link,
        "organization_id": flow().organization_id,
    }


# --- parquet -------------------------------------------------------------------------------------------------------


def test_parquet_has_typed_columns_and_the_spec_as_json_text(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    export(str(tmp_path / "flows.parquet"), FLOWS, "parquet")
    table = pq.read_table(tmp_path / "flows.parquet")
    moments, numbers = {"time_created", "last_updated"}, {"generation", "block_count"}
    assert {field.name: field.type for field in table.schema} == {
        name: pa.timestamp("ms", tz="UTC") if name in moments else pa.int64() if name in numbers else pa.string()
        for name in tabular.COLUMNS
    }
    first, second, *_ = table.to_pylist()
    assert (first["flow_id"], first["training_project"]) == ("B", None)
    assert second["time_created"] == datetime(2026, 7, 1, tzinfo=UTC) + timedelta(milliseconds=123)
    assert (second["generation"], second["block_count"]) == (4, 2)
    assert json.loads(second["spec"]) == FLOWS[1].spec.to_wire()
    assert first["name"] == FLOWS[2].spec.name


def test_parquet_of_more_flows_than_a_batch_has_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tabular, "_BATCH", 3)
    for number in (2, 3, 7):
        export(str(tmp_path / "flows.parquet"), [flow(f"f{each}") for each in range(number)], "parquet")
        table = pq.read_table(tmp_path / "flows.parquet")
        assert table.column("flow_id").to_pylist() == [f"f{each}" for each in range(number)]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"install vi-airflow-provider\[parquet\]"):
        export(str(tmp_path / "flows.parquet"), [flow()], "parquet")
    assert files(tmp_path) == set()


# --- the manifest --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_FORMS)
def test_the_manifest_says_what_is_in_the_file(name: str, tmp_path: Path) -> None:
    export(str(tmp_path / name), FLOWS, format_of(name), filters={"limit": 9}, organization_id="acme")
    content = (tmp_path / name).read_bytes()
    assert files(tmp_path) == {name, f"{name}.manifest.json"}
    assert json.loads((tmp_path / f"{name}.manifest.json").read_bytes()) == {
        "kind": "vi-flow-export",
        "version": 1,
        "file": name,
        "format": format_of(name),
        "count": 4,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "created_at": "2026-07-01T00:00:00+00:00",
        "organization_id": "acme",
        "filters": {"limit": 9},
        "provider_version": "0",
        "replaces": None,
        "flows": {each.flow_id: each.fingerprint for each in FLOWS},
    }


def test_an_id_that_no_flow_should_have_does_not_break_the_manifest(tmp_path: Path) -> None:
    sly = ['"', "a\nb", '": {', "\\", "é"]
    export(str(tmp_path / "flows.jsonl"), [flow(flow_id) for flow_id in sly])
    assert set(json.loads((tmp_path / "flows.jsonl.manifest.json").read_bytes())["flows"]) == set(sly)


@pytest.mark.parametrize("name", ALL_FORMS)
def test_an_export_may_be_moved_with_its_manifest(name: str, tmp_path: Path) -> None:
    manifest = export(str(tmp_path / "here" / name), FLOWS, format_of(name))
    (tmp_path / "here").rename(tmp_path / "there")
    assert verify(str(tmp_path / "there" / name)) == manifest


def cut(content: bytes) -> bytes:
    return content[:-1]


def flip(content: bytes) -> bytes:
    return content[:20] + bytes([content[20] ^ 1]) + content[21:]


@pytest.mark.parametrize("name", ALL_FORMS)
@pytest.mark.parametrize("damage", [cut, flip, lambda content: content * 2, lambda _: b""])
def test_a_file_that_is_not_what_was_written_is_refused(
    name: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    export(str(tmp_path / name), FLOWS, format_of(name))
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(ExportError, match="is not what its manifest says: it was cut off or changed"):
        verify(str(tmp_path / name))


def test_a_manifest_without_its_file_is_no_export(tmp_path: Path) -> None:
    export(str(tmp_path / "flows.jsonl"), FLOWS)
    (tmp_path / "flows.jsonl").unlink()
    with pytest.raises(ExportError, match="there is a manifest, but no file"):
        verify(str(tmp_path / "flows.jsonl"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is none"),
        (b"", "JSONDecodeError"),
        (b"\xff", "UnicodeDecodeError"),
        (b"[]", "TypeError"),
        (b"{}", "KeyError: 'kind'"),
        ({"kind": "something else"}, "it is a 'something else' of version 1"),
        ({"version": 2}, "it is a 'vi-flow-export' of version 2"),
        ({"count": "many"}, "count: "),
        ({"created_at": 5}, "created_at: "),
        ({"replaces": {"sha256": ""}}, "file: Field required"),
    ],
)
def test_a_manifest_that_is_none_of_ours_is_refused(content: Any, words: str, tmp_path: Path) -> None:
    export(str(tmp_path / "flows.jsonl"), FLOWS)
    path = tmp_path / "flows.jsonl.manifest.json"
    whole = json.loads(path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(whole | content).encode())
    with pytest.raises(ExportError, match=f"manifest .*: .*{words}"):
        verify(str(tmp_path / "flows.jsonl"))


@pytest.mark.parametrize("name", ["flows.jsonl", "flows.jsonl.gz"])
def test_verifying_every_flow_names_the_first_that_are_not_as_they_were(name: str, tmp_path: Path) -> None:
    uri = str(tmp_path / name)
    export(uri, FLOWS)
    assert verify(uri, every_flow=True).count == 4

    changed = [flow("a", spec__name="another"), *FLOWS[2:], *(flow(f"new-{number}") for number in range(9))]
    export(str(tmp_path / "changed" / name), changed)
    (tmp_path / "changed" / name).replace(tmp_path / name)
    with pytest.raises(ExportError) as caught:
        verify(uri, every_flow=True)
    assert str(caught.value).splitlines() == [
        f"{uri} is not what its manifest says: it was cut off or changed",
        "  a: not as it was exported",
        "  b: not in the file",
        "  new-0: not in the manifest",
        "  new-1: not in the manifest",
        "  new-2: not in the manifest",
        "  …",
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"count": 4', b'"count": 5', "it counts 5 flows, and lists 4"),
        (b'"a": "', b'"A": "', "A: not in the file"),
        (b" }\n}\n", b"", "it is cut off"),
        (b'"flows": {\n', b'"flows": { \n', "it lists no flows"),
        (b'  "b": ', b'  "b" ', "JSONDecodeError"),
    ],
)
def test_a_manifest_that_was_changed_is_found_out_although_the_file_is_whole(
    old: bytes, new: bytes, words: str, tmp_path: Path
) -> None:
    uri = str(tmp_path / "flows.jsonl")
    export(uri, FLOWS)
    path = tmp_path / "flows.jsonl.manifest.json"
    assert path.read_bytes().count(old) == 1
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(ExportError, match=words):
        verify(uri, every_flow=True)


def test_a_file_that_was_to_be_replaced_is_verified_by_what_the_manifest_says_of_it(tmp_path: Path) -> None:
    """As after a kill between manifest and file."""
    uri = str(tmp_path / "flows.jsonl")
    old = export(uri, FLOWS[:2])
    content = (tmp_path / "flows.jsonl").read_bytes()
    export(uri, FLOWS)
    (tmp_path / "flows.jsonl").write_bytes(content)
    assert verify(uri, every_flow=True) == old
    path = tmp_path / "flows.jsonl.manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"count": 2', b'"count": 3'))
    with pytest.raises(ExportError, match="is not what its manifest says: it holds 2 flows"):
        verify(uri, every_flow=True)


# --- publishing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [1, 2], ids=["manifest", "file"])
@pytest.mark.parametrize("before", [None, "old", "foreign"])
def test_publishing_that_fails_leaves_what_was_there(
    broken: int, before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(tmp_path / "flows.jsonl")
    if before == "old":
        export(uri, FLOWS[:2])
    elif before == "foreign":
        Path(uri).write_bytes(b"not ours")
    found = contents(tmp_path)
    write, written = writer.write_atomically, []

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
def test_what_cannot_be_put_back_hides_neither_the_error_nor_keeps_the_rest_from_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    uri = str(tmp_path / "flows.jsonl")
    old = export(uri, FLOWS[:2], report=b"old") if kind == "replaced" else None
    found = contents(tmp_path)
    write, unlink, broken = writer.write_atomically, ObjectStoragePath.unlink, []

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
    done = "put back as it was" if old else "removed"
    assert f"flows.jsonl.report.html could not be {done}: PermissionError: nor may you" in caplog.text


@pytest.mark.parametrize("arrived", [False, True])
def test_a_storage_that_fails_altogether_does_not_hide_what_failed_first(
    arrived: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    uri = str(tmp_path / "flows.jsonl")
    old = export(uri, FLOWS[:2])
    write, sha256, failed = writer.write_atomically, writer._sha256, []

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
        patched.setattr(writer, "_sha256", partial(until_it_fails, sha256))
        with pytest.raises(TimeoutError, match="first"):
            export(uri, FLOWS)
    assert "flows.jsonl has arrived cannot be seen: ConnectionError: second" in caplog.text
    assert verify(uri).count == (len(FLOWS) if arrived else old.count)


def test_no_report_stays_beside_an_export_that_it_does_not_tell_of(tmp_path: Path) -> None:
    uri = str(tmp_path / "flows.jsonl")
    export(uri, FLOWS[:2], report=b"old")
    assert "flows.jsonl.report.html" in files(tmp_path)
    export(uri, FLOWS)
    assert files(tmp_path) == {"flows.jsonl", "flows.jsonl.manifest.json"}


def test_a_file_that_arrived_although_its_answer_was_lost_keeps_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(tmp_path / "flows.jsonl")
    write = writer.write_atomically

    def lose_the_answer(path: ObjectStoragePath, content: Any) -> None:
        write(path, content)
        if path.name == "flows.jsonl":
            raise TimeoutError("no answer")

    monkeypatch.setattr(writer, "write_atomically", lose_the_answer)
    with pytest.raises(TimeoutError):
        export(uri, FLOWS)
    assert verify(uri).count == 4


def test_between_manifest_and_file_the_manifest_vouches_for_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(tmp_path / "flows.jsonl")
    old = export(uri, FLOWS[:2], created_at="2026-06-30")
    write, seen = writer.write_atomically, []

    def look_before(path: ObjectStoragePath, content: Any) -> None:
        seen.append([manifest.count for manifest in read_manifest(uri)])
        assert verify(uri) == old
        write(path, content)

    monkeypatch.setattr(writer, "write_atomically", look_before)
    new = export(uri, FLOWS)
    assert seen == [[2], [4, 2]]
    assert verify(uri) == new


# --- the export before ---------------------------------------------------------------------------------------------


def previous(folder: Path, name: str = "new.jsonl") -> str | None:
    target = ObjectStoragePath(str(folder / name))
    uri = newest_export(target.parent, "acme", but=target)
    return uri and Path(uri).name


def day(folder: Path, number: int, name: str | None = None, **facts: Any) -> None:
    name = name or f"{number}.jsonl"
    given = {"organization_id": "acme", "created_at": f"2026-07-{number:02}T02:00:00+00:00", **facts}
    export(str(folder / name), FLOWS, format_of(name), **given)


def test_there_is_none_in_a_folder_that_is_missing_empty_or_full_of_other_files(tmp_path: Path) -> None:
    assert previous(tmp_path / "missing") is None
    assert previous(tmp_path) is None
    for name, content in (("new.jsonl", b"no manifest"), ("x.manifest.json", b"[]"), ("y.manifest.json", b"")):
        (tmp_path / name).write_bytes(content)
    assert previous(tmp_path) is None


def test_it_is_the_one_that_was_made_last_whatever_its_name(tmp_path: Path) -> None:
    for number, name in ((2, "a.jsonl"), (9, "c.jsonl.gz"), (5, "z.jsonl")):
        day(tmp_path, number, name)
    assert previous(tmp_path) == "c.jsonl.gz"


def test_it_is_one_of_the_same_organization_that_can_be_compared(tmp_path: Path) -> None:
    day(tmp_path, 1)
    day(tmp_path, 2, organization_id="another")
    day(tmp_path, 3, "3.csv")
    assert previous(tmp_path) == "1.jsonl"


def test_a_day_that_is_exported_again_is_not_compared_with_itself(tmp_path: Path) -> None:
    day(tmp_path, 1)
    day(tmp_path, 2)
    assert previous(tmp_path, "2.jsonl") == "1.jsonl"


def test_a_file_that_is_replaced_every_day_is_compared_with_what_it_was(tmp_path: Path) -> None:
    day(tmp_path, 1, "flows.jsonl")
    assert previous(tmp_path, "flows.jsonl") == "flows.jsonl"


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["missing", "cut"])
def test_an_export_that_was_killed_or_damaged_is_passed_over_with_a_warning(
    damage: Callable[[Path], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    day(tmp_path, 1)
    day(tmp_path, 2)
    damage(tmp_path / "2.jsonl")
    assert previous(tmp_path) == "1.jsonl"
    assert "2.jsonl" in caplog.text


def test_to_find_it_in_a_year_of_exports_only_the_heads_of_manifests_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_HEAD", 1000)
    for number in (1, 2):
        export(
            str(tmp_path / f"{number}.jsonl"),
            [flow(f"f{each}") for each in range(30)],
            organization_id="acme",
            created_at=str(number),
        )
    # Cut behind the head: nobody who looks only there can tell.
    path = tmp_path / "1.jsonl.manifest.json"
    path.write_bytes(path.read_bytes()[:1200])
    assert previous(tmp_path) == "2.jsonl"
    (tmp_path / "2.jsonl.manifest.json").unlink()
    assert previous(tmp_path) is None


def test_below_a_folder_it_is_the_newest_in_whatever_folder(tmp_path: Path) -> None:
    for number in (2, 3, 1):
        export(
            str(tmp_path / f"day-{number}" / "x.jsonl"), FLOWS, organization_id="acme", created_at=f"2026-07-0{number}"
        )
    target = ObjectStoragePath(str(tmp_path / "day-3" / "x.jsonl"))
    for folder in (f"{tmp_path}/", f"{tmp_path.as_uri()}/"):
        uri = newest_export(ObjectStoragePath(folder), "acme", but=target, below=True)
        assert uri is not None
        assert verify(uri).created_at == "2026-07-02"
    assert newest_export(ObjectStoragePath(str(tmp_path)), "acme", but=target) is None
    assert newest_export(ObjectStoragePath(str(tmp_path / "missing")), "acme", but=target, below=True) is None


def test_exports_in_the_root_folder_are_not_looked_for_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(str(tmp_path / "flows.jsonl"), FLOWS)
    monkeypatch.chdir(tmp_path)
    found = writer._manifest_paths(ObjectStoragePath("file:///"), below=False)
    assert "flows.jsonl.manifest.json" not in {path.name for path in found}


# --- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("no.jsonl", b"hello"),
        ("no.jsonl", b'{"kind": "Flow"}\n'),
        ("no.jsonl", b"\xff\xfe"),
        ("no.jsonl", gzip.compress(b"{}")),
        ("no.jsonl.gz", b"hello"),
        ("no.jsonl.gz", gzip.compress(canonical_json(wire_flow()), mtime=0)[:-9]),
        ("no.jsonl.gz", gzip.compress(canonical_json(wire_flow()), mtime=0)[:40] + b"\xff" * 40),
    ],
)
def test_a_file_that_is_no_jsonl_export_is_refused_by_name(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExportError, match=f"{name} is no jsonl export: "):
        list(read_export(str(tmp_path / name)))


def test_an_export_that_is_not_there_is_said_not_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"there is no export .*flows\.jsonl"):
        list(read_export(str(tmp_path / "flows.jsonl")))


# --- memory --------------------------------------------------------------------------------------------------------

#: Exports so many flows of 12 blocks, page by page, in a process of its own for each case; prints its peak memory.
#: jsonl is compared with an export in which every value of every flow was another.
MEASURE: Final = """
import json, os, re, sys, tempfile
import pyarrow.parquet, requests_mock
from tests.documents import wire_flow, wire_page
from tests.tasks import FLOWS
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

def export(folder, name, **arguments):
    with requests_mock.Mocker() as mocker:
        mocker.get(re.compile(re.escape(FLOWS)), text=page)
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
def test_6000_flows_of_12_blocks_cost_less_than_40_mib_more_than_100() -> None:
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
