"""A file is written whole or not at all, wherever it is."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from tests.background import in_background
from tests.unit.audit.support import attached_memory, contents, files
from vi_airflow_provider.storage import tempfiles
from vi_airflow_provider.storage.files import file_for, list_files, open_to_read, write_atomically


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.fixture
def big() -> Iterator[IO[bytes]]:
    """More than one block of it is copied."""
    with tempfile.TemporaryFile() as file:
        file.write(os.urandom(1 << 20) + b"tail")
        yield file


def whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_local_file_is_written_and_its_folders_are_created(form: str, tmp_path: Path, big: IO[bytes]) -> None:
    for name, content in (("bytes", b"x"), ("file", big)):
        write_atomically(ObjectStoragePath(form.format(tmp_path / "a" / "b" / name)), content)
    assert contents(tmp_path / "a" / "b") == {"bytes": b"x", "file": whole(big)}


def test_object_is_written_and_replaced(memory: ObjectStoragePath, big: IO[bytes]) -> None:
    for content in (b"old", big):
        write_atomically(memory / "file", content)
    assert (memory / "file").read_bytes() == whole(big)
    assert [path.name for path in memory.iterdir()] == ["file"]


@pytest.mark.usefixtures("umask")
def test_umask_decides_who_can_read_a_new_file(tmp_path: Path) -> None:
    write_atomically(ObjectStoragePath(str(tmp_path / "file")), b"x")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert os.umask(0o027) == 0o027


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "\N{FRAME WITH PICTURE}" * 63], ids=["ascii", "ü", "4 bytes"])
def test_longest_possible_file_name_works(name: str, tmp_path: Path) -> None:
    write_atomically(ObjectStoragePath(str(tmp_path / name)), b"x")
    assert contents(tmp_path) == {name: b"x"}


def test_concurrent_reader_sees_only_whole_files(tmp_path: Path) -> None:
    target, versions = tmp_path / "file", {bytes([65 + number]) * (1 << 16) for number in range(8)}
    write_atomically(ObjectStoragePath(str(target)), min(versions))
    done, seen = threading.Event(), set()

    def read() -> None:
        while not done.is_set():
            seen.add(target.read_bytes())

    with in_background(read):
        try:
            for _ in range(5):
                for version in versions:
                    write_atomically(ObjectStoragePath(str(target)), version)
        finally:
            done.set()
    assert seen
    assert seen <= versions
    assert files(tmp_path) == {"file"}


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["copyfileobj", "fsync", "replace"])
@pytest.mark.parametrize("before", [{}, {"file": b"old"}], ids=["new", "replaced"])
def test_failed_local_write_leaves_only_what_was_there(
    step: str, before: dict[str, bytes], tmp_path: Path, big: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in before.items():
        (folder / name).write_bytes(content)

    def copy_half(source: Any, target: Any, *_: Any) -> None:
        target.write(source.read(1 << 10))
        full_disk()

    holder, what = {
        "copyfileobj": (shutil, copy_half),
        "fsync": (os, full_disk),
        "replace": (Path, full_disk),
    }[step]
    monkeypatch.setattr(holder, step, what)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(ObjectStoragePath(str(folder / "file")), big)
    assert contents(folder) == before


@pytest.mark.parametrize("before", [None, b"old"], ids=["new", "replaced"])
def test_failed_upload_leaves_what_was_there(
    before: bytes | None, memory: ObjectStoragePath, big: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    if before is not None:
        write_atomically(memory / "file", before)

    def copy_half(source: Any, target: Any, *_: Any) -> None:
        target.write(source.read(1 << 10))
        full_disk()

    monkeypatch.setattr(shutil, "copyfileobj", copy_half)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(memory / "file", big)
    assert ((memory / "file").read_bytes() if (memory / "file").exists() else None) == before


# --- a temporary file that becomes the file ---


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("the content is copied")


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="needs files without a name")
@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("form", ["{}", "file://{}"])
@pytest.mark.parametrize("before", [None, b"old"], ids=["new", "replaced"])
def test_local_content_is_not_copied(
    before: bytes | None, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a" / "file"
    if before is not None:
        write_atomically(ObjectStoragePath(str(target)), before)
    path = ObjectStoragePath(form.format(target))
    with file_for(path) as file:
        file.write(b"content")
        assert files(tmp_path) == ({"a"} if before else set())
        monkeypatch.setattr(shutil, "copyfileobj", refuse)
        write_atomically(path, file)
    assert contents(target.parent) == {"file": b"content"}
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="needs files without a name")
@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("before", [{}, {"file": b"old"}], ids=["new", "replaced"])
def test_failure_after_naming_the_content_leaves_what_was_there(
    step: str, before: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    path = ObjectStoragePath(str(tmp_path / "file"))
    monkeypatch.setattr(os if step == "fsync" else Path, step, full_disk)
    with file_for(path) as file:
        file.write(b"content")
        with pytest.raises(OSError, match="No space left"):
            write_atomically(path, file)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("holder", "step"), [(tempfiles, "linkable_file"), (os, "link")], ids=["open", "link"])
def test_content_is_copied_where_it_cannot_be_named(
    holder: Any, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ObjectStoragePath(str(tmp_path / "file"))
    monkeypatch.setattr(holder, step, full_disk)
    with file_for(path) as file:
        file.write(b"content")
        write_atomically(path, file)
        file.write(b" that is added")
        file.flush()
    assert contents(tmp_path) == {"file": b"content"}


def test_content_with_a_name_keeps_it_and_is_copied(tmp_path: Path) -> None:
    with (tmp_path / "mine").open("w+b") as mine:
        mine.write(b"content")
        write_atomically(ObjectStoragePath(str(tmp_path / "file")), mine)
        mine.write(b" that is added")
    assert contents(tmp_path) == {"file": b"content", "mine": b"content that is added"}


def test_content_for_an_object_store_is_uploaded(memory: ObjectStoragePath) -> None:
    with file_for(memory / "file") as file:
        file.write(b"content")
        write_atomically(memory / "file", file)
    assert (memory / "file").read_bytes() == b"content"


# --- what was there before -----------------------------------------------------------------------------------------


def test_replaced_file_keeps_its_mode_and_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    write_atomically(ObjectStoragePath(str(path)), b"new")
    after = path.stat()
    assert path.read_bytes() == b"new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@pytest.mark.parametrize("exists", [True, False], ids=["existing", "dangling"])
def test_symbolic_link_is_followed(exists: bool, tmp_path: Path) -> None:
    target, link = tmp_path / "volume" / "file", tmp_path / "link"
    target.parent.mkdir()
    if exists:
        target.write_bytes(b"old")
    link.symlink_to("volume/file")
    write_atomically(ObjectStoragePath(str(link)), b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert files(tmp_path) == {"volume", "link"}
    assert files(target.parent) == {"file"}


def make_folder(path: Path) -> None:
    path.mkdir()


def make_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("make", [make_folder, os.mkfifo, make_link_to_a_device])
def test_only_a_regular_file_is_replaced(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file"
    make(path)
    before = path.stat()
    with pytest.raises(OSError, match="not a regular file"):
        write_atomically(ObjectStoragePath(str(path)), b"new")
    assert path.stat()[:3] == before[:3]
    assert files(tmp_path) == {"file"}


def test_folder_is_synced_after_the_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[bool, set[str]]] = []
    whole = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), files(tmp_path)))
        whole(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(ObjectStoragePath(str(tmp_path / "file")), b"new")
    assert [is_folder for is_folder, _ in synced] == [False, True]
    assert synced[1] == (True, {"file"})


# --- listing -------------------------------------------------------------------------------------------------------


def read(path: ObjectStoragePath) -> bytes:
    # Not read_bytes(), which Airflow 2 refuses for names that are not ASCII.
    with open_to_read(path) as file:
        return file.read()


FOLDERS: Final = ["plain", "a[1]b", "[!x]", "a*", "a//b", "größe", "{x,y}", "a b"]


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("storage", ["path", "file", "memory"])
def test_files_are_listed_in_a_folder_of_any_name(storage: str, name: str, tmp_path: Path) -> None:
    root = {"path": str(tmp_path), "file": tmp_path.as_uri(), "memory": "memory://bucket"}[storage]
    with attached_memory():
        folder = ObjectStoragePath(f"{root}/{name}")
        for path in (folder / "one", folder / "two", folder / "sub" / "three"):
            write_atomically(path, path.name.encode())
        assert {path.name: read(path) for path in list_files(folder)} == {"one": b"one", "two": b"two"}
        listed = {path.name: read(path) for path in list_files(folder, recursive=True)}
        assert listed == {name: name.encode() for name in ("one", "two", "three")}


def test_missing_folder_is_empty(memory: ObjectStoragePath, tmp_path: Path) -> None:
    assert list(list_files(memory / "missing")) == []
    assert list(list_files(ObjectStoragePath(str(tmp_path / "missing")), recursive=True)) == []


@pytest.mark.parametrize("denied", [".", "sub", "sub/sub"])
def test_folder_that_cannot_be_read_is_not_shown_as_empty(
    denied: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub" / "sub").mkdir(parents=True)
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if Path(path) == tmp_path / denied:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        list(list_files(ObjectStoragePath(str(tmp_path)), recursive=True))


def test_files_behind_links_are_listed(tmp_path: Path) -> None:
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "far" / "deep" / "file").touch()
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "link").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "circle").symlink_to(tmp_path / "near")
    listed = list_files(ObjectStoragePath(str(tmp_path / "near")), recursive=True)
    assert [path.path for path in listed] == [f"{tmp_path}/near/link/deep/file"]
