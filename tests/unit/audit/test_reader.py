"""The manifest of an export proves what its file holds; damage is found, and so is the newest export."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from tests.documents import wire_flow
from tests.unit.audit.support import ALL_FORMS, FLOWS, export, files, flow, format_of
from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.audit.manifest import ExportError
from vi_airflow_provider.audit.newest import newest_export
from vi_airflow_provider.audit.reader import read_export
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.storage import manifest as manifests
from vi_airflow_provider.storage.files import list_files

ROOT: Final = Path(__file__).resolve().parents[3]


# --- the manifest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_FORMS)
def test_manifest_describes_the_file(name: str, tmp_path: Path) -> None:
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
        "passes": 1,
        "late": 0,
        "replaces": None,
        "flows": {each.flow_id: each.fingerprint for each in FLOWS},
    }


def test_unusual_flow_ids_do_not_break_the_manifest(tmp_path: Path) -> None:
    sly = ['"', "a\nb", '": {', "\\", "é"]
    export(str(tmp_path / "flows.jsonl"), [flow(flow_id) for flow_id in sly])
    assert set(json.loads((tmp_path / "flows.jsonl.manifest.json").read_bytes())["flows"]) == set(sly)


@pytest.mark.parametrize("name", ALL_FORMS)
def test_export_can_be_moved_with_its_manifest(name: str, tmp_path: Path) -> None:
    manifest = export(str(tmp_path / "here" / name), FLOWS, format_of(name))
    (tmp_path / "here").rename(tmp_path / "there")
    assert verify(str(tmp_path / "there" / name)) == manifest


def cut(content: bytes) -> bytes:
    return content[:-1]


def flip(content: bytes) -> bytes:
    return content[:20] + bytes([content[20] ^ 1]) + content[21:]


@pytest.mark.parametrize("name", ALL_FORMS)
@pytest.mark.parametrize("damage", [cut, flip, lambda content: content * 2, lambda _: b""])
def test_damaged_file_is_refused(name: str, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    export(str(tmp_path / name), FLOWS, format_of(name))
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(ExportError, match="does not match its manifest: it was truncated or changed"):
        verify(str(tmp_path / name))


def test_manifest_without_its_file_is_refused(tmp_path: Path) -> None:
    export(str(tmp_path / "flows.jsonl"), FLOWS)
    (tmp_path / "flows.jsonl").unlink()
    with pytest.raises(ExportError, match="the manifest exists, but the file does not"):
        verify(str(tmp_path / "flows.jsonl"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"it does not exist, so flows\.jsonl may be incomplete"),
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
def test_foreign_or_malformed_manifest_is_refused(content: Any, words: str, tmp_path: Path) -> None:
    export(str(tmp_path / "flows.jsonl"), FLOWS)
    path = tmp_path / "flows.jsonl.manifest.json"
    whole = json.loads(path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(whole | content).encode())
    with pytest.raises(ExportError, match=f"manifest .*: .*{words}"):
        verify(str(tmp_path / "flows.jsonl"))


@pytest.mark.parametrize("name", ["flows.jsonl", "flows.jsonl.gz"])
def test_verify_names_the_first_flows_that_contradict_the_manifest(name: str, tmp_path: Path) -> None:
    uri = str(tmp_path / name)
    export(uri, FLOWS)
    assert verify(uri, every_document=True).count == 4

    changed = [flow("a", spec__name="another"), *FLOWS[2:], *(flow(f"new-{number}") for number in range(9))]
    export(str(tmp_path / "changed" / name), changed)
    (tmp_path / "changed" / name).replace(tmp_path / name)
    with pytest.raises(ExportError) as caught:
        verify(uri, every_document=True)
    assert str(caught.value).splitlines() == [
        f"{uri} does not match its manifest: it was truncated or changed",
        "  a: changed since it was exported",
        "  b: missing from the file",
        "  new-0: not in the manifest",
        "  new-1: not in the manifest",
        "  new-2: not in the manifest",
        "  …",
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"count": 4', b'"count": 5', "its count is 5 flows, but it lists 4"),
        (b'"a": "', b'"Z": "', "Z: missing from the file"),
        (b" }\n}\n", b"", "it is truncated"),
        (b'"flows": {\n', b'"flows": { \n', "it lists no flows"),
        (b'  "b": ', b'  "b" ', "JSONDecodeError"),
    ],
)
def test_changed_manifest_is_detected_although_the_file_is_whole(
    old: bytes, new: bytes, words: str, tmp_path: Path
) -> None:
    uri = str(tmp_path / "flows.jsonl")
    export(uri, FLOWS)
    path = tmp_path / "flows.jsonl.manifest.json"
    assert path.read_bytes().count(old) == 1
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(ExportError, match=words):
        verify(uri, every_document=True)


def test_interrupted_replacement_verifies_as_the_old_version(tmp_path: Path) -> None:
    """As after a kill between manifest and file."""
    uri = str(tmp_path / "flows.jsonl")
    old = export(uri, FLOWS[:2])
    content = (tmp_path / "flows.jsonl").read_bytes()
    export(uri, FLOWS)
    (tmp_path / "flows.jsonl").write_bytes(content)
    assert verify(uri, every_document=True) == old
    path = tmp_path / "flows.jsonl.manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"count": 2', b'"count": 3'))
    with pytest.raises(ExportError, match="does not match its manifest: it was truncated or changed: it has 2 flows"):
        verify(uri, every_document=True)


# --- the export before ------------------------------------------------------------------------------------------------


def previous(folder: Path, name: str = "new.jsonl") -> str | None:
    target = ObjectStoragePath(str(folder / name))
    found = newest_export(target.parent, "acme", exclude=target)
    return found and Path(found.uri).name


def day(folder: Path, number: int, name: str | None = None, **facts: Any) -> None:
    name = name or f"{number}.jsonl"
    given = {"organization_id": "acme", "created_at": f"2026-07-{number:02}T02:00:00+00:00", **facts}
    export(str(folder / name), FLOWS, format_of(name), **given)


def test_folder_without_exports_has_no_newest_export(tmp_path: Path) -> None:
    assert previous(tmp_path / "missing") is None
    assert previous(tmp_path) is None
    for name, content in (("new.jsonl", b"no manifest"), ("x.manifest.json", b"[]"), ("y.manifest.json", b"")):
        (tmp_path / name).write_bytes(content)
    assert previous(tmp_path) is None


def test_newest_export_is_chosen_by_time_not_by_name(tmp_path: Path) -> None:
    for number, name in ((2, "a.jsonl"), (9, "c.jsonl.gz"), (5, "z.jsonl")):
        day(tmp_path, number, name)
    assert previous(tmp_path) == "c.jsonl.gz"


def test_newest_export_is_of_this_organization_and_comparable(tmp_path: Path) -> None:
    day(tmp_path, 1)
    day(tmp_path, 2, organization_id="another")
    day(tmp_path, 3, "3.csv")
    assert previous(tmp_path) == "1.jsonl"


def test_repeated_export_is_not_compared_with_itself(tmp_path: Path) -> None:
    day(tmp_path, 1)
    day(tmp_path, 2)
    assert previous(tmp_path, "2.jsonl") == "1.jsonl"


def test_export_replaced_in_place_is_compared_with_its_old_version(tmp_path: Path) -> None:
    day(tmp_path, 1, "flows.jsonl")
    assert previous(tmp_path, "flows.jsonl") == "flows.jsonl"


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["missing", "cut"])
def test_damaged_export_is_skipped_with_a_warning(
    damage: Callable[[Path], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    day(tmp_path, 1)
    day(tmp_path, 2)
    damage(tmp_path / "2.jsonl")
    assert previous(tmp_path) == "1.jsonl"
    assert "2.jsonl" in caplog.text


def test_finding_the_newest_export_reads_only_heads_of_manifests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "HEAD_BYTES", 1000)
    for number in (1, 2):
        export(
            str(tmp_path / f"{number}.jsonl"),
            [flow(f"f{each}") for each in range(30)],
            organization_id="acme",
            created_at=str(number),
        )
    # Truncated after the head, which is all that is read.
    path = tmp_path / "1.jsonl.manifest.json"
    path.write_bytes(path.read_bytes()[:1200])
    assert previous(tmp_path) == "2.jsonl"
    (tmp_path / "2.jsonl.manifest.json").unlink()
    assert previous(tmp_path) is None


def test_newest_export_is_found_in_subfolders(tmp_path: Path) -> None:
    for number in (2, 3, 1):
        export(
            str(tmp_path / f"day-{number}" / "x.jsonl"), FLOWS, organization_id="acme", created_at=f"2026-07-0{number}"
        )
    target = ObjectStoragePath(str(tmp_path / "day-3" / "x.jsonl"))
    for folder in (f"{tmp_path}/", f"{tmp_path.as_uri()}/"):
        found = newest_export(ObjectStoragePath(folder), "acme", exclude=target, recursive=True)
        assert found is not None
        assert found.manifest == verify(found.uri)
        assert found.manifest.created_at == "2026-07-02"
    assert newest_export(ObjectStoragePath(str(tmp_path)), "acme", exclude=target) is None
    assert newest_export(ObjectStoragePath(str(tmp_path / "missing")), "acme", exclude=target, recursive=True) is None


def test_listing_the_root_folder_is_not_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(str(tmp_path / "flows.jsonl"), FLOWS)
    monkeypatch.chdir(tmp_path)
    found = list_files(ObjectStoragePath("file:///"))
    assert "flows.jsonl.manifest.json" not in {path.name for path in found}


# --- reading ----------------------------------------------------------------------------------------------------------


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
def test_file_that_is_not_a_jsonl_export_is_refused_by_name(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExportError, match=f"{name} is not a jsonl export: ") as raised:
        list(read_export(str(tmp_path / name)))
    assert "pydantic" not in str(raised.value)


def test_missing_export_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"flows\.jsonl: this export does not exist"):
        list(read_export(str(tmp_path / "flows.jsonl")))
