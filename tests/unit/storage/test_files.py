"""A file is written whole or not at all, wherever it is."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from tests.unit.audit.support import contents, files
from vi_airflow_provider.storage.files import write_atomically


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

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(5):
            for version in versions:
                write_atomically(ObjectStoragePath(str(target)), version)
    finally:
        done.set()
        reader.join()
    assert seen
    assert seen <= versions
    assert files(tmp_path) == {"file"}


def full_disk(*_: Any) -> None:
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
