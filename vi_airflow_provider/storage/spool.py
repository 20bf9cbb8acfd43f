"""A local file that a download fills, in this try of a task or in a later one.

Theory of operation
-------------------
The file grows as bytes arrive, and survives the process. A record beside it (``….json``) names the version of the
content that the bytes are of, and is written before the first of them. Killed at any time, this is left:

=======================  =============  ==========================================================
killed                   file           what a later try does
=======================  =============  ==========================================================
before the record        empty          starts
while bytes arrive       first bytes    hashes them, and requests the rest if the version is the same
after the last byte      all bytes      hashes them, and requests nothing
=======================  =============  ==========================================================

* The length of the file counts what is there, so bytes are appended by one process only, which locks it. A
  process that finds it locked, because an earlier try still runs, uses a file of its own, which no later try finds.
* What a process has written is there after it was killed, but not after its machine was: a file may have its length,
  and holes. So the record names the start of the machine, and the bytes of another one are not continued.
* A digest cannot be stored, so the first bytes are read again, which is faster than any network.

Reading from the network, writing and hashing overlap: hashing runs in a thread, which needs a few buffers in turn.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import queue
import secrets
import tempfile
import threading
from collections.abc import Callable
from hashlib import sha256
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider.api.protocol.download import ContentVersion, Held
from vi_airflow_provider.storage.files import replace_file, write_atomically
from vi_airflow_provider.storage.places import LOCAL

#: Bytes that are read, written and hashed at a time, and the number of such buffers.
BUFFER: Final = 1 << 20
BUFFERS: Final = 4
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class _Hash:
    """A sha256 that is computed in a thread, of memory that it gives back."""

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[memoryview, int] | None] = queue.SimpleQueue()
        for _ in range(BUFFERS):
            self._free.put(memoryview(bytearray(BUFFER)))
        self._digest = sha256()
        self._thread = threading.Thread(target=self._work, name="vi-hash", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (item := self._full.get()) is not None:
            buffer, count = item
            self._digest.update(buffer[:count])
            self._free.put(buffer)

    def buffer(self) -> memoryview:
        """Return memory to be filled, and then given to :meth:`update`."""
        return self._free.get()

    def update(self, buffer: memoryview, count: int) -> None:
        """Hash the first bytes of a buffer."""
        self._full.put((buffer, count))

    def finish(self) -> str:
        """Return the hexadecimal digest of all bytes."""
        self._full.put(None)
        self._thread.join()
        return self._digest.hexdigest()


class ContentSpool:
    """A local file that a download fills.

    :param path: the file; its folder exists
    :param on_progress: called with the number of bytes that are there, and that of all bytes if it is known
    """

    def __init__(self, path: Path, on_progress: Callable[[int, int | None], None]) -> None:
        self._file, self.path, self._is_shared = _locked(path)
        self._on_progress = on_progress
        self._hash = _Hash()
        self._lent: memoryview | None = None
        self._held = Held()
        self._recall()

    @property
    def held(self) -> Held:
        """What is there."""
        return self._held

    def begin(self, version: ContentVersion) -> None:
        """Discard what is there: a content of this version begins."""
        self._record.unlink(missing_ok=True)  # first: bytes without a record are discarded, too
        self._file.seek(0)
        self._file.truncate()
        self._hash.finish()
        self._hash, self._held, self._lent = _Hash(), Held(0, version), None
        if version.etag is not None:
            facts = {"etag": version.etag, "size": version.size, "machine": _machine()}
            write_atomically(ObjectStoragePath(str(self._record)), json.dumps(facts).encode())

    def buffer(self) -> memoryview:
        """Lend memory for the next bytes."""
        if self._lent is None:  # else nothing was written from it, because the connection broke
            self._lent = self._hash.buffer()
        return self._lent

    def write(self, count: int) -> None:
        """Append the first bytes of the buffer that was lent last."""
        buffer, self._lent = self.buffer(), None
        written = 0
        while written < count:
            written += self._file.write(buffer[written:count])
        self._hash.update(buffer, count)
        version = self._held.version
        self._held = Held(self._held.size + count, version)
        self._on_progress(self._held.size, None if version is None else version.size)

    def finish(self) -> tuple[str, int]:
        """Make the content durable; return its hexadecimal sha256 and its size."""
        os.fsync(self._file.fileno())
        return self._hash.finish(), self._held.size

    def content(self) -> BinaryIO:
        """Return the file, open for reading."""
        return self.path.open("rb")

    def move_to(self, target: Path) -> None:
        """Make the file the target, at once."""
        replace_file(self.path, target)
        self._record.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete what is there."""
        self._record.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the file, which stays for a later try."""
        self._hash.finish()
        if not self._is_shared:
            self.discard()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def _record(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def _recall(self) -> None:
        """Continue with what an earlier try has left, if it can be continued."""
        size = self._file.seek(0, os.SEEK_END)
        try:
            facts = json.loads(self._record.read_bytes())
            version = ContentVersion(str(facts["etag"]), int(facts["size"]))
            usable = facts["machine"] == _machine() and 0 < size <= int(facts["size"])
        except (OSError, ValueError, KeyError, TypeError):
            usable = False
        if not usable:
            self._record.unlink(missing_ok=True)
            self._file.truncate(0)
            self._file.seek(0)
            return
        self._file.seek(0)
        self._held = Held(0, version)
        while count := self._file.readinto(self.buffer()):
            self._hash.update(self.buffer(), count)
            self._held, self._lent = Held(self._held.size + count, version), None


def _locked(path: Path) -> tuple[FileIO, Path, bool]:
    """Open the file, or one of our own if another process uses it; return it, its path, and whether it is the file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        file = FileIO(os.open(path, flags, 0o600), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file, path, True
        except FileNotFoundError:
            pass  # the process that used it has moved it away
        except OSError:  # it is in use, or the file system has no locks
            file.close()
            own = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            return FileIO(os.open(own, flags | os.O_EXCL, 0o600), "r+"), own, False
        file.close()


def place_for(target: ObjectStoragePath, key: str) -> Path:
    """Return where the content of a target is collected: beside it, or in the temporary folder of the worker.

    :param key: identifies the content, the same for each try
    """
    name = sha256(f"{key}\0{target}".encode()).hexdigest()[:16]
    if target.protocol in LOCAL:
        path = Path(target.path).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.parent / f".{path.name[:40]}.{name}.part"
    folder = Path(tempfile.gettempdir(), f"vi-airflow-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = folder.lstat()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o022 or folder.is_symlink():
        raise PermissionError(errno.EPERM, "others can write to this folder, so it is not used", str(folder))
    return folder / f"{name}.part"


def _machine() -> str:
    """Return what changes when the machine is another one, or was started again."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return platform.node()
