"""The processes of a benchmark, seen from the one that commands them: the server, and a worker for each client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from benchmarks.flows import ORGANIZATION_ID
from demo.local_airflow import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).resolve().parent.parent
_SECRET_KEY: Final = f"dtvi_{'benchmark' * 11}"[:103].ljust(103, "k")
#: What would send requests through somebody's proxy, or make a process write elsewhere or compile at each start.
_FOREIGN: Final = ("PROXY", "PYTHON", "AIRFLOW", "VI_", "DATATURE", "REQUESTS_CA", "CURL_CA", "SSL_CERT", "NETRC")


class BenchmarkError(Exception):
    """A measurement went wrong, so there is no figure."""


class Server:
    """The server of ``benchmarks.server`` in a process of its own.

    :param count: flows that it can show at most
    """

    def __init__(self, count: int) -> None:
        command = [sys.executable, "-m", "benchmarks.server", str(count)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        assert self._process.stdout is not None  # noqa: S101
        self._port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self._port}"

    def begin(self, flows: int, latency_ms: float) -> None:
        """Show so many flows, answer so late, count from zero."""
        self._control("PUT", f"/bench?flows={flows}&latency_ms={latency_ms}")

    def show(self, flows: int) -> None:
        """Show so many flows from now on."""
        self._control("PUT", f"/bench?flows={flows}")

    def counts(self) -> dict[str, Any]:
        """Return what has been asked since the beginning, and the CPU seconds that answering took."""
        return self._control("GET", "/bench")

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def _control(self, method: str, target: str) -> dict[str, Any]:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, target)
            return json.loads(connection.getresponse().read())  # type: ignore[no-any-return]
        finally:
            connection.close()


class Worker:
    """A process that measures clients.

    :param variables: its environment
    :param log: where it and its libraries write
    """

    def __init__(self, variables: Mapping[str, str], log: IO[bytes]) -> None:
        self._log = log.name
        command = [sys.executable, "-m", "benchmarks.worker"]
        self._process = subprocess.Popen(  # noqa: S603
            command, cwd=ROOT, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )

    def begin(self, client: str, options: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Give an order."""
        assert self._process.stdin is not None  # noqa: S101
        order = {"client": client, "options": options, "arguments": arguments}
        print(json.dumps(order), file=self._process.stdin, flush=True)

    def result(self) -> dict[str, Any]:
        """Wait for what came of it.

        :raises BenchmarkError: it failed; the message has the end of its log
        """
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(Path(self._log).read_text(errors="replace")[-3000:])
        return json.loads(line)  # type: ignore[no-any-return]

    def measure(self, client: str, options: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Give an order and wait."""
        self.begin(client, options, arguments)
        return self.result()

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def server(count: int) -> Iterator[Server]:
    """Lend a server."""
    started = Server(count)
    try:
        yield started
    finally:
        started.close()


def worker_environment(home: Path, url: str) -> dict[str, str]:
    """Return the environment of a worker: a home of its own, and nothing of this machine's configuration.

    The connections are what users write: no retries are switched off, nothing is tuned.
    """
    kept = {name: value for name, value in os.environ.items() if not any(word in name.upper() for word in _FOREIGN)}
    host = {"host": url, "login": ORGANIZATION_ID, "password": _SECRET_KEY}
    headers = {"Authorization": f"Bearer {_SECRET_KEY}", "Organization-Id": ORGANIZATION_ID}
    (home / "dags").mkdir(parents=True, exist_ok=True)
    return {
        **kept,
        **environment(home),
        "HOME": str(home),  # the vendor's SDK makes folders there when it is imported
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW_CONN_VI_DEFAULT": json.dumps({"conn_type": "vi", **host}),
        "AIRFLOW_CONN_HTTP_DEFAULT": json.dumps({"conn_type": "http", "host": url, "extra": headers}),
        "BENCHMARK_URL": url,
        "BENCHMARK_ORGANIZATION_ID": ORGANIZATION_ID,
        "BENCHMARK_SECRET_KEY": _SECRET_KEY,
        "VI_ENABLE_FILE": "false",
        "VI_LOG_LEVEL": "WARNING",
    }
