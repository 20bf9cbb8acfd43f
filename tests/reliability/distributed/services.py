"""PostgreSQL and Redis from Debian packages, on free loopback ports, with all their files in one folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final, Self

from demo.deployment import free_port

#: Debian package of each program.
PACKAGES: Final = {"postgres": "postgresql", "redis-server": "redis-server"}
START_SECONDS: Final = 60.0


class MissingProgramError(Exception):
    """A service is not installed, and this process may not install it."""


def install() -> None:
    """Install missing packages with apt-get, if possible.

    :raises MissingProgramError: this process may not install packages
    """
    missing = [package for program, package in PACKAGES.items() if _find(program) is None]
    if not missing:
        return
    names = " ".join(missing)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingProgramError(f"Not installed: {names}. On Debian: apt-get install --no-install-recommends {names}")
    print(f"Installing {names} with apt-get", flush=True)
    for arguments in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", *missing]):
        subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=120", *arguments], check=True, stdout=subprocess.DEVNULL)


class Service(ABC):
    """A server with a folder and a port, for the duration of a `with` block."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of its first process."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        with (self.folder / "server.log").open("ab") as log:
            self._process = self._start(stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            time.sleep(0.1)
        self.__exit__()
        raise RuntimeError(f"{type(self).__name__} did not start; see {self.folder / 'server.log'}")

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @abstractmethod
    def _start(self, **options: Any) -> subprocess.Popen[bytes]:
        """Start the server."""


class PostgreSQL(Service):
    """A database server. Started by root, it runs as user postgres, because it refuses to run as root."""

    @property
    def url(self) -> str:
        """The address for SQLAlchemy, after `dialect+driver` and `://`."""
        return f"airflow:{self.password}@127.0.0.1:{self.port}/postgres"

    def _start(self, **options: Any) -> subprocess.Popen[bytes]:
        data, password_file = self.folder / "data", self.folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if os.geteuid() == 0:
            options |= {"user": "postgres", "group": "postgres", "extra_groups": []}
            for path in (self.folder, password_file):
                shutil.chown(path, "postgres", "postgres")
        postgres = _program("postgres")
        subprocess.run(
            [
                *(postgres.parent / "initdb", "-D", data, "-U", "airflow", "--auth=scram-sha-256"),
                *(f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C", "--no-sync"),
            ],
            check=True,
            cwd=self.folder,
            **options,
        )
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return subprocess.Popen([postgres, "-D", data, "-p", str(self.port), *arguments], cwd=self.folder, **options)


class Redis(Service):
    """A broker without persistence."""

    @property
    def url(self) -> str:
        """The address for Celery."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def _start(self, **options: Any) -> subprocess.Popen[bytes]:
        config = self.folder / "redis.conf"
        lines = ["bind 127.0.0.1", f"port {self.port}", f"requirepass {self.password}", 'save ""', "appendonly no"]
        config.touch(mode=0o600)
        config.write_text("\n".join([*lines, f"dir {self.folder}", ""]))
        return subprocess.Popen([_program("redis-server"), config], cwd=self.folder, **options)


def _program(name: str) -> Path:
    path = _find(name)
    if path is None:
        raise MissingProgramError(f"{name} is not installed")
    return path


def _find(name: str) -> Path | None:
    """Find a program; the Debian packages of PostgreSQL install outside the PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = shutil.which(name)
    return versions[-1] if versions else (found and Path(found)) or None
