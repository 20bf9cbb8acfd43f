"""The file that a download fills: what a later try continues, and what it does not."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.api.protocol.download import ContentVersion, Held
from vi_airflow_provider.storage import spool
from vi_airflow_provider.storage.spool import ContentSpool, place_for

VERSION: Final = ContentVersion('"v1"', 100)


def quiet(_size: int, _total: int | None) -> None:
    """Report nothing."""


def write(to: ContentSpool, content: bytes) -> None:
    to.buffer()[: len(content)] = content
    to.write(len(content))


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """A file that an earlier try has left, with 40 of 100 bytes."""
    path = tmp_path / ".model.part"
    with ContentSpool(path, quiet) as first:
        first.begin(VERSION)
        write(first, b"a" * 30)
        write(first, b"b" * 10)
    return path


def test_later_try_continues_with_the_same_digest(part: Path) -> None:
    with ContentSpool(part, quiet) as later:
        assert later.held == Held(40, VERSION)
        write(later, b"c" * 60)
        assert later.held.is_complete
        content = b"a" * 30 + b"b" * 10 + b"c" * 60
        assert later.finish() == (hashlib.sha256(content).hexdigest(), 100)
        assert part.read_bytes() == content


@pytest.mark.parametrize(
    "record",
    [
        None,
        b"",
        b"[]",
        {"etag": '"v1"', "size": 100, "machine": "another one"},
        {"etag": '"v1"', "size": 39},
        {"etag": '"v1"', "size": "many"},
        {"etag": '"v1"'},
    ],
    ids=str,
)
def test_bytes_without_a_usable_record_are_discarded(part: Path, record: Any) -> None:
    place = part.with_name(f"{part.name}.json")
    if record is None:
        place.unlink()
    elif isinstance(record, dict):
        place.write_text(json.dumps({"machine": json.loads(place.read_bytes())["machine"], **record}))
    else:
        place.write_bytes(record)
    with ContentSpool(part, quiet) as later:
        assert later.held == Held()
        assert not place.exists()
        later.begin(ContentVersion(None, 3))
        write(later, b"new")
        assert later.finish() == (hashlib.sha256(b"new").hexdigest(), 3)
    assert part.read_bytes() == b"new"


def test_content_without_a_version_is_not_continued(part: Path) -> None:
    with ContentSpool(part, quiet) as second:
        second.begin(ContentVersion(None, 100))
        write(second, b"x")
    with ContentSpool(part, quiet) as third:
        assert third.held == Held()


def test_file_in_use_is_left_to_its_process(part: Path) -> None:
    with ContentSpool(part, quiet) as first, ContentSpool(part, quiet) as second:
        assert first.held.size == 40
        assert second.held == Held()
        assert second.path != part
        second.begin(VERSION)
        write(second, b"z")
        own = second.path
    assert part.read_bytes() == b"a" * 30 + b"b" * 10
    assert not own.exists()
    assert {path.name for path in part.parent.iterdir()} == {part.name, f"{part.name}.json"}


def test_file_that_was_moved_away_while_it_was_opened_is_not_used(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, moved = fcntl.flock, part.with_name("moved")

    def move_and_lock(*arguments: Any) -> None:
        if not moved.exists():
            part.rename(moved)
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", move_and_lock)
    with ContentSpool(part, quiet) as later:
        later.begin(VERSION)
        write(later, b"x")
    assert moved.read_bytes() == b"a" * 30 + b"b" * 10


def test_file_system_without_locks_can_be_used(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(38, "no locks")

    monkeypatch.setattr(fcntl, "flock", fail)
    with ContentSpool(part, quiet) as later:
        later.begin(VERSION)
        write(later, b"x" * 100)
        later.finish()
        later.move_to(part.with_name("model"))
    assert part.with_name("model").read_bytes() == b"x" * 100


def test_broken_connections_do_not_use_up_the_buffers(tmp_path: Path) -> None:
    with ContentSpool(tmp_path / "part", quiet) as file:
        file.begin(VERSION)
        for _ in range(3 * spool.BUFFERS):
            file.buffer()  # and nothing arrives
        for _ in range(3 * spool.BUFFERS):
            write(file, b"x")
        assert file.finish()[1] == 3 * spool.BUFFERS


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.integers(0, 20))
def test_digest_is_that_of_the_file_wherever_it_was_interrupted(pieces: list[bytes], killed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, size = Path(folder, "part"), sum(map(len, pieces))
        with ContentSpool(path, quiet) as first:
            first.begin(ContentVersion('"v"', size))
            for piece in pieces[:killed]:
                write(first, piece)
        with ContentSpool(path, quiet) as later:
            if later.held.version is None:  # nothing was written
                later.begin(ContentVersion('"v"', size))
            for piece in pieces[killed:]:
                write(later, piece)
            assert later.finish() == (hashlib.sha256(b"".join(pieces)).hexdigest(), size)


# --- places --------------------------------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"vi-airflow-{os.getuid()}"


def test_part_is_beside_a_local_file_and_named_after_it(tmp_path: Path) -> None:
    target = ObjectStoragePath(str(tmp_path / "new" / "model.bin"))
    place = place_for(target, "run/one")
    assert place.parent == tmp_path / "new"
    assert place.name.startswith(".model.bin.")
    assert place == place_for(target, "run/one") != place_for(target, "run/two")


def test_part_is_beside_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "model.bin")
    assert place_for(ObjectStoragePath(str(tmp_path / "link")), "run").parent == tmp_path / "disk"


def test_part_of_an_upload_is_in_a_folder_that_others_cannot_write(temporary: Path) -> None:
    target = _remote("s3://bucket/model.bin")
    assert place_for(target, "run").parent == temporary
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700


def test_folder_that_others_can_write_is_refused(temporary: Path) -> None:
    temporary.mkdir()
    temporary.chmod(0o777)
    with pytest.raises(PermissionError, match="others can write"):
        place_for(_remote("s3://bucket/model.bin"), "run")


def test_folder_that_is_a_link_is_refused(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    temporary.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        place_for(_remote("s3://bucket/model.bin"), "run")


def _remote(url: str) -> Any:
    class Remote:
        protocol = "s3"

        def __str__(self) -> str:
            return url

    return Remote()
