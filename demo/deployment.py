"""A whole Airflow 3 on this machine: its real processes, on loopback, on SQLite, in a folder of its own.

The components run side by side instead of as `airflow standalone`, whose log servers listen on all interfaces.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from demo.local_airflow import environment

if TYPE_CHECKING:
    from collections.abc import Mapping

COMPONENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "api-server": ("api-server", "--workers", "1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
#: Of these the API says whether they are alive.
HEARD_OF: Final = ("scheduler", "dag-processor", "triggerer")
STOP_SECONDS: Final = 15.0


class Deployment:
    """Starts the components and ends them, and speaks to the REST API.

    :param home: folder for everything that Airflow writes
    :param variables: further environment variables
    :param port: port of the web UI and the API; a free one by default
    :param components: the subcommand of `airflow` that starts each component
    """

    def __init__(
        self,
        home: Path,
        variables: Mapping[str, str] | None = None,
        port: int = 0,
        components: Mapping[str, tuple[str, ...]] = COMPONENTS,
    ) -> None:
        self.home = home
        self.port = port or free_port()
        self._components = components
        self.url = f"http://127.0.0.1:{self.port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._token: str | None = None
        self._environment = {
            **os.environ,
            **environment(home),
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
        """Create the database."""
        self._airflow("db", "migrate")

    def add_connection(self, conn_id: str, definition: str) -> None:
        """Store a connection, given as JSON, so that it is seen in the UI."""
        self._airflow("connections", "add", conn_id, "--conn-json", definition)

    def start(self, *names: str) -> None:
        """Start components, all of them by default."""
        for name in names or self._components:
            with (self.home / f"{name}.log").open("ab") as log:
                self._processes[name] = self._popen(self._components[name], log)

    def pids(self) -> dict[str, int]:
        """Return the process that each running component began with; its process group has the same id."""
        return {name: process.pid for name, process in list(self._processes.items())}

    def kill(self, name: str) -> None:
        """End a component as a power cut would: SIGKILL to it and its children."""
        process = self._processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def wait_until_healthy(self, *names: str, seconds: float = 180) -> None:
        """Wait until the API answers and reports the components as alive.

        :raises TimeoutError: they did not come up in time
        :raises RuntimeError: one of them has ended
        """
        wanted = [name.replace("-", "_") for name in names or HEARD_OF]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}; see {self.home / f'{name}.log'}")
            with contextlib.suppress(OSError, ValueError):
                health = self._request("GET", "/api/v2/monitor/health")
                if all((health.get(name) or {}).get("status") == "healthy" for name in wanted):
                    return
            time.sleep(0.5)
        raise TimeoutError(f"Airflow did not become healthy in {seconds:.0f} s; see the logs in {self.home}")

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call the REST API and return its JSON.

        :raises urllib.error.HTTPError: it refused
        """
        if self._token is None:
            self._token = self._request("GET", "/auth/token")["access_token"]
        return self._request(method, f"/api/v2{path}", body, {"Authorization": f"Bearer {self._token}"})

    def stop(self) -> None:
        """End all components: politely, then for certain."""
        for process in self._processes.values():
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

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
            process = self._popen(arguments, log)
        if process.wait() != 0:
            raise RuntimeError(f"airflow {arguments[0]} {arguments[1]} failed; see {self.home / 'setup.log'}")

    def _popen(self, arguments: tuple[str, ...], log: IO[bytes]) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C reaches only us, and we end the others in order, children included.
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "airflow", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
