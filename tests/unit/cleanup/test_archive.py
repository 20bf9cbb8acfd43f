"""An archive is complete or ignored: how it is written, and what is refused when it is read."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import wire_bytes, wire_flow
from tests.unit.audit.support import attached_memory
from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.cleanup import archive
from vi_airflow_provider.cleanup.archive import (
    ArchiveError,
    archives_of,
    prefix_of,
    read_archive,
    read_manifest,
    unique_name,
    write_archive,
)
from vi_airflow_provider.storage.files import write_atomically

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def document(flow_id: str = "a", **changes: Any) -> bytes:
    return canonical_json(Flow.model_validate(wire_flow(flowId=flow_id, **changes)).to_wire())


def write(folder: Path, *documents: bytes, name: str = "archive", **details: Any) -> str:
    by_id = {json.loads(content)["flowId"]: content for content in documents}
    return write_archive(folder.as_uri(), name, by_id, "org", details).uri


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_archive_is_canonical_json_lines_and_a_manifest(tmp_path: Path) -> None:
    lines = [document("a", spec__name="größer\u2028\n"), document("b")]
    uri = write(tmp_path, lines[1], lines[0], policy={"older_than": "P90D"})

    assert uri == (tmp_path / "archive.flows.jsonl").as_uri()
    assert files(tmp_path) == {"archive.flows.jsonl", "archive.flows.manifest.json"}
    content = (tmp_path / "archive.flows.jsonl").read_bytes()
    assert content == lines[0] + b"\n" + lines[1] + b"\n"
    manifest = json.loads((tmp_path / "archive.flows.manifest.json").read_bytes())
    assert manifest.pop("created_at").endswith("+00:00")
    assert manifest.pop("provider_version")
    assert manifest == {
        "kind": "vi-flow-archive",
        "version": 1,
        "file": "archive.flows.jsonl",
        "count": 2,
        "sha256": hashlib.sha256(content).hexdigest(),
        "organization_id": "org",
        "policy": {"older_than": "P90D"},
    }


@given(st.dictionaries(st.text(), JSON, max_size=3), st.dictionaries(st.text(), st.text(), max_size=3))
def test_written_flows_are_read_back_unchanged(settings: dict[str, Any], attributes: dict[str, str]) -> None:
    wire = wire_flow(
        spec__settings=settings,
        spec__unknown=settings,
        spec__blocks__0__unknown=settings,
        metadata__attributes=attributes,
        metadata__unknown=settings,
        unknown=settings,
    )
    content = canonical_json(Flow.model_validate_json(wire_bytes(wire)).to_wire())
    with tempfile.TemporaryDirectory() as folder:
        uri = write(Path(folder), content)
        assert [canonical_json(flow.to_wire()) for flow in read_archive(uri)] == [content] == [canonical_json(wire)]


def test_archive_can_be_moved_with_its_manifest(tmp_path: Path) -> None:
    write(tmp_path / "here", document("a"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert [flow.flow_id for flow in read_archive((tmp_path / "there" / "archive.flows.jsonl").as_uri())] == ["a"]


def test_archive_is_never_overwritten(tmp_path: Path) -> None:
    uri = write(tmp_path, document("a"))
    with pytest.raises(ArchiveError, match="exists, and an archive is never overwritten"):
        write(tmp_path, document("b"))
    assert [flow.flow_id for flow in read_archive(uri)] == ["a"]


def test_names_are_unique_and_fit_into_a_file_system(tmp_path: Path) -> None:
    parts = ("dag/../" + "d" * 250, "group.task" * 25, "f" * 255)
    names = {unique_name(prefix_of("dag/run/task/0", *parts)) for _ in range(50)}
    assert len(names) == 50
    for name in names:
        assert "/" not in name
        write(tmp_path, document("a"), name=name)


# --- writing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["None", "archive", "./archive", "", "~/archive", "file://archive", "file://~/x"])
def test_relative_folder_is_refused(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for use in (
        lambda: write_archive(folder, "archive", {"a": document()}, "org", {}),
        lambda: archives_of(folder, "archive"),
        lambda: list(read_archive(f"{folder}/archive.flows.jsonl".removeprefix("/"))),
    ):
        with pytest.raises(ViValidationError, match="absolute path"):
            use()
    assert files(tmp_path) == set()


def test_absolute_path_is_accepted(tmp_path: Path) -> None:
    uri = write_archive(str(tmp_path), "archive", {"a": document()}, "org", {}).uri
    assert uri == str(tmp_path / "archive.flows.jsonl")
    assert len(list(read_archive(uri))) == 1


def test_unusable_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "archive"
    with pytest.raises(ArchiveError, match=f"cannot be written to {folder.as_uri()}: Not a directory"):
        write(folder, document())


def test_unknown_storage_is_an_error_that_names_it() -> None:
    with pytest.raises(ViValidationError, match="archive_to: 'nowhere://x' cannot be used"):
        write_archive("nowhere://x", "archive", {"a": document()}, "org", {})


def test_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArchiveError, match="No space left on device"):
        write(tmp_path, document())
    assert files(tmp_path) == set()


def test_manifest_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a failure before it leaves no archive, only a file that is ignored."""
    written: list[str] = []
    whole = write_atomically

    def write_or_fail(path: Any, content: bytes) -> None:
        written.append(path.name)
        if len(written) == 2:
            raise OSError("the power fails")
        whole(path, content)

    monkeypatch.setattr(archive, "write_atomically", write_or_fail)
    with pytest.raises(ArchiveError, match="the power fails"):
        write(tmp_path, document())
    assert written == ["archive.flows.jsonl", "archive.flows.manifest.json"]
    with pytest.raises(ArchiveError, match=r"it does not exist, so .* may be incomplete"):
        list(read_archive((tmp_path / "archive.flows.jsonl").as_uri()))


def test_flow_that_cannot_be_restored_gets_no_manifest(tmp_path: Path) -> None:
    """1e400 is JSON, and beyond the numbers of Python: it could be read, and not be sent again."""
    content = document("huge", spec__settings={"x": float("inf")})
    with pytest.raises(ArchiveError, match="flow 'huge' could not be restored"):
        write(tmp_path, document("a"), content)
    assert "archive.flows.manifest.json" not in files(tmp_path)


# --- reading -------------------------------------------------------------------------------------------------------


def cut(folder: Path) -> None:
    path = folder / "archive.flows.jsonl"
    path.write_bytes(path.read_bytes()[:-10])


def drop_a_line(folder: Path) -> None:
    path = folder / "archive.flows.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


def repeat_a_line(folder: Path) -> None:
    path = folder / "archive.flows.jsonl"
    path.write_bytes(path.read_bytes() * 2)


def rename_a_flow(folder: Path) -> None:
    path = folder / "archive.flows.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Weld", b"Wild"))


def remove(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def manifest(content: bytes | None = None, **facts: Any) -> Any:
    def replace(folder: Path) -> None:
        path = folder / "archive.flows.manifest.json"
        path.write_bytes(content if content is not None else json.dumps(json.loads(path.read_bytes()) | facts).encode())

    return replace


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "does not match its manifest"),
        (drop_a_line, "does not match its manifest"),
        (repeat_a_line, "does not match its manifest"),
        (rename_a_flow, "does not match its manifest"),
        (remove("archive.flows.jsonl"), "this archive does not exist"),
        (remove("archive.flows.manifest.json"), "it does not exist, so .* may be incomplete"),
        (manifest(b""), "manifest .*: JSONDecodeError"),
        (manifest(b"\xff"), "manifest .*: UnicodeDecodeError"),
        (manifest(b"[]"), "manifest .*: TypeError"),
        (manifest(b"{}"), "manifest .*: KeyError"),
        (manifest(kind="something else"), "it is a 'something else' of version 1"),
        (manifest(version=2), "it is a 'vi-flow-archive' of version 2"),
        (manifest(count=1), "does not match its manifest"),
        (manifest(count="many"), "manifest .*: ValueError"),
        (manifest(sha256="0" * 64), "does not match its manifest"),
    ],
)
def test_damaged_archive_is_refused_before_its_first_flow(damage: Any, words: str, tmp_path: Path) -> None:
    uri = write(tmp_path, document("a"), document("b"))
    damage(tmp_path)
    with pytest.raises(ArchiveError, match=words):
        next(read_archive(uri))


def test_malformed_line_is_refused_with_its_number(tmp_path: Path) -> None:
    uri = write(tmp_path, document("a"))
    content = document("a") + b'\n{"flowId": "b"}\n'
    (tmp_path / "archive.flows.jsonl").write_bytes(content)
    manifest(count=2, sha256=hashlib.sha256(content).hexdigest())(tmp_path)
    with pytest.raises(ArchiveError, match="line 2: "):
        list(read_archive(uri))


def test_manifest_can_be_read_alone(tmp_path: Path) -> None:
    uri = write(tmp_path, document("a"))
    found = read_manifest(uri)
    assert (found.uri, found.count, found.organization_id) == (uri, 1, "org")


def test_folder_in_the_place_of_an_archive_is_named_as_such(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, document("a"), name=str(number))
    for uri in (str(tmp_path), f"{tmp_path}/", tmp_path.as_uri()):
        with pytest.raises(ArchiveError, match="is a folder; name one of the 3 files in it"):
            list(read_archive(uri))


# --- finding archives ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "a[1]b", "[!x]", "a*", "what?really", "a//b", "größe", "a#b", "{x,y}"])
@pytest.mark.parametrize("storage", ["path", "file", "memory"])
def test_archives_are_found_in_a_folder_of_any_name(storage: str, name: str, tmp_path: Path) -> None:
    root = {"path": str(tmp_path), "file": tmp_path.as_uri(), "memory": "memory://bucket"}[storage]
    folder = f"{root}/{name}"
    with attached_memory():
        for made in ("mine-1", "mine-2", "other-1", "mine-1.flows.copy"):
            write_archive(folder, made, {"a": document()}, "org", {})
        found = archives_of(folder, "mine")
        assert [uri.rpartition("/")[2] for uri in found] == [
            "mine-1.flows.copy.flows.jsonl", "mine-1.flows.jsonl", "mine-2.flows.jsonl",
        ]  # fmt: skip
        assert all(next(read_archive(uri)).flow_id == "a" for uri in found)


def test_missing_folder_has_no_archives(tmp_path: Path) -> None:
    assert archives_of(str(tmp_path / "missing"), "x") == []
