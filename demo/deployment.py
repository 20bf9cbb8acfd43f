"""A complete Airflow 3 on this machine: its real processes, on loopback, with SQLite, in a folder of its own.

The components run side by side instead of as `airflow standalone`, whose log servers listen on all interfaces.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from demo.guard import STOP_SECONDS, Guard
from demo.local_airflow import environment

if TYPE_CHECKING:
    from collections.abc import Mapping

AIRFLOW: Final = (sys.executable, "-m", "airflow")
COMPONENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "api-server": ("api-server", "--workers", "1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
#: Seconds to wait while another process writes to the database.
LOCK_TIMEOUT: Final = 60
#: The same for the API server. It waits in its event loop, where Airflow writes the audit log, and holds up all of its
#: requests, even the one that holds the lock: that would last until the end of a long timeout. After a short one, one
#: request fails, and can be repeated.
LOCK_TIMEOUT_OF_API_SERVER: Final = 2
#: The components whose health the API reports.
MONITORED: Final = ("scheduler", "dag-processor", "triggerer")


class StoppedError(Exception):
    """The deployment was asked to stop while it was starting."""


class Deployment:
    """Starts and stops the components, and calls the REST API.

    :param home: folder for everything that Airflow writes
    :param variables: additional environment variables
    :param port: port of the web UI and the API; a free one by default
    :param components: the subcommand of `airflow` that starts each component
    :param stopping: set by the caller to end a start that is under way
    :param command: the command that takes these subcommands
    """

    def __init__(
        self,
        home: Path,
        variables: Mapping[str, str] | None = None,
        port: int = 0,
        components: Mapping[str, tuple[str, ...]] = COMPONENTS,
        stopping: threading.Event | None = None,
        command: tuple[str, ...] = AIRFLOW,
    ) -> None:
        self.home = home
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._components = components
        self._stopping = stopping or threading.Event()
        self._command = command
        self._guard = Guard()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._token: str | None = None
        self._variables = {
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
            **(variables or {}),
        }

    def migrate(self) -> None:
        """Create the database.

        :raises RuntimeError: the command failed
        :raises StoppedError: `stopping` was set
        """
        self._airflow("db", "migrate")

    def add_connection(self, conn_id: str, definition: str) -> None:
        """Store a connection, given as JSON, so that the UI shows it; raises as `migrate` does."""
        self._airflow("connections", "add", conn_id, "--conn-json", definition)

    def start(self, *names: str) -> None:
        """Start components, all of them by default."""
        for name in names or self._components:
            with (self.home / f"{name}.log").open("ab") as log:
                self._spawn(name, self._components[name], log)

    def pids(self) -> dict[str, int]:
        """Return the first process of each running component; its process group has the same id."""
        return {name: process.pid for name, process in list(self._processes.items())}

    def kill(self, name: str) -> None:
        """End a component as a power failure would: SIGKILL to it and its children."""
        process = self._processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._guard.remove(process.pid)

    def wait_until_healthy(self, *names: str, seconds: float = 180) -> None:
        """Wait until the API responds and reports the components as healthy.

        :raises TimeoutError: they did not become healthy in time
        :raises RuntimeError: one of them has exited
        :raises StoppedError: `stopping` was set
        """
        wanted = [name.replace("-", "_") for name in names or MONITORED]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError, ValueError):
                health = self._request("GET", "/api/v2/monitor/health")
                if all((health.get(name) or {}).get("status") == "healthy" for name in wanted):
                    return
            self._pause(0.5)
        raise TimeoutError(f"Airflow did not become healthy within {seconds:.0f} s; see the logs in {self.home}")

    def check(self) -> None:
        """Make sure that all started components are running.

        :raises RuntimeError: one of them has exited
        """
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} exited with {process.returncode}; see {self.home / f'{name}.log'}")

    def log_in(self, username: str, password: str) -> str:
        """Call the API as this user from now on, and return the user's token; by default, no login is needed.

        :raises urllib.error.HTTPError: Airflow does not know the user
        """
        self._token = self._request("POST", "/auth/token", {"username": username, "password": password})["access_token"]
        return self._token

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call the REST API and return its JSON.

        :raises urllib.error.HTTPError: the API responded with an error
        """
        if self._token is None:
            self._token = self._request("GET", "/auth/token")["access_token"]
        return self._request(method, f"/api/v2{path}", body, {"Authorization": f"Bearer {self._token}"})

    def stop(self) -> None:
        """Stop all components: SIGTERM first, SIGKILL to what is left after a time."""
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)  # unlike SIGINT, never ignored by the shell that started us
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._guard.remove(process.pid)
        self._processes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._guard.close()

    def _request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - our own http:// address
            self.url + path, data, {"Content-Type": "application/json", **(headers or {})}, method=method
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            content = response.read()
        return json.loads(content) if content else None

    def _airflow(self, *arguments: str) -> None:
        with (self.home / "setup.log").open("ab") as log:
            process = self._spawn("setup", arguments, log)
        while process.poll() is None:
            self._pause(0.1)
        del self._processes["setup"]
        self._guard.remove(process.pid)
        if process.returncode != 0:
            raise RuntimeError(f"airflow {arguments[0]} {arguments[1]} failed; see {self.home / 'setup.log'}")

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise StoppedError

    def _spawn(self, name: str, arguments: tuple[str, ...], log: IO[bytes]) -> subprocess.Popen[bytes]:
        lock_timeout = LOCK_TIMEOUT_OF_API_SERVER if name == "api-server" else LOCK_TIMEOUT
        # In a session of its own: Ctrl-C reaches only this process, which then stops the others in order.
        process = subprocess.Popen(  # noqa: S603
            [*self._command, *arguments],
            env={**os.environ, **environment(self.home, lock_timeout), **self._variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes[name] = process
        self._guard.add(process.pid)
        return process


def free_port() -> int:
    """Return a port of loopback that nothing listens on.

    It is below the range from which Linux and macOS take the ports of outgoing connections: a server that takes a while
    to start still finds it free.
    """
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
