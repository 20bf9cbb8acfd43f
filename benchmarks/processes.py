"""Handles of the child processes of a benchmark: the server, and a worker for each client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from benchmarks.flows import ORGANIZATION_ID
from demo.local_airflow import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).resolve().parent.parent
_SECRET_KEY: Final = f"dtvi_{'benchmark' * 11}"[:103].ljust(103, "k")
#: Variables that would route requests through a proxy, redirect output, or disable the bytecode cache.
_FOREIGN: Final = ("PROXY", "PYTHON", "AIRFLOW", "VI_", "DATATURE", "REQUESTS_CA", "CURL_CA", "SSL_CERT", "NETRC")


class BenchmarkError(Exception):
    """A measurement failed; there is no figure."""


class Server:
    """The server of ``benchmarks.server`` in a process of its own.

    :param count: greatest number of flows that it can offer
    """

    def __init__(self, count: int) -> None:
        command = [sys.executable, "-m", "benchmarks.server", str(count)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        assert self._process.stdout is not None  # noqa: S101
        self._port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self._port}"

    def begin(self, flows: int, latency_ms: float, *, runs: int = 0) -> None:
        """Offer a number of flows and of active runs with a latency, and reset the counters."""
        self._control("PUT", f"/bench?flows={flows}&runs={runs}&latency_ms={latency_ms}")

    def show(self, flows: int) -> None:
        """Change the number of flows."""
        self._control("PUT", f"/bench?flows={flows}")

    def end_runs(self, ended: int) -> None:
        """End the first runs."""
        self._control("PUT", f"/bench?ended={ended}")

    def counts(self) -> dict[str, Any]:
        """Return the requests since ``begin``, and the CPU seconds spent on them."""
        return self._control("GET", "/bench")

    def close(self) -> None:
        """Stop the process."""
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
    :param log: file for its standard error, which includes the output of libraries
    """

    def __init__(self, variables: Mapping[str, str], log: IO[bytes]) -> None:
        self._log = log.name
        command = [sys.executable, "-m", "benchmarks.worker"]
        self._process = subprocess.Popen(  # noqa: S603
            command, cwd=ROOT, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )

    def begin(self, client: str, options: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Send a request without waiting for the result."""
        assert self._process.stdin is not None  # noqa: S101
        request = {"client": client, "options": options, "arguments": arguments}
        print(json.dumps(request), file=self._process.stdin, flush=True)

    def result(self) -> dict[str, Any]:
        """Wait for the result.

        :raises BenchmarkError: the worker failed; the message contains the end of its log
        """
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(Path(self._log).read_text(errors="replace")[-3000:])
        return json.loads(line)  # type: ignore[no-any-return]

    def measure(self, client: str, options: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for the result."""
        self.begin(client, options, arguments)
        return self.result()

    def close(self) -> None:
        """Stop the process."""
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def server(count: int) -> Iterator[Server]:
    """Run a server for the duration of the context."""
    started = Server(count)
    try:
        yield started
    finally:
        started.close()


def worker_environment(home: Path, url: str) -> dict[str, str]:
    """Return the environment of a worker, with a home of its own and without this machine's configuration.

    The connections are untuned, as users write them; retries stay enabled.
    """
    kept = {name: value for name, value in os.environ.items() if not any(word in name.upper() for word in _FOREIGN)}
    host = {"host": url, "login": ORGANIZATION_ID, "password": _SECRET_KEY}
    place = urlsplit(url)
    databricks = {"host": place.hostname, "port": place.port, "schema": place.scheme}
    headers = {"Authorization": f"Bearer {_SECRET_KEY}", "Organization-Id": ORGANIZATION_ID}
    (home / "dags").mkdir(parents=True, exist_ok=True)
    return {
        **kept,
        **environment(home),
        "HOME": str(home),  # the vendor's SDK creates folders there on import
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW_CONN_VI_DEFAULT": json.dumps({"conn_type": "vi", **host}),
        "AIRFLOW_CONN_HTTP_DEFAULT": json.dumps({"conn_type": "http", "host": url, "extra": headers}),
        "AIRFLOW_CONN_DBT_CLOUD_DEFAULT": json.dumps(
            {"conn_type": "dbt_cloud", "host": place.netloc, "login": "1", "password": "token"}
        ),
        "AIRFLOW_CONN_DATABRICKS_DEFAULT": json.dumps(
            {"conn_type": "databricks", **databricks, "login": "user", "password": "password"}
        ),
        "BENCHMARK_URL": url,
        "BENCHMARK_ORGANIZATION_ID": ORGANIZATION_ID,
        "BENCHMARK_SECRET_KEY": _SECRET_KEY,
        "VI_ENABLE_FILE": "false",
        "VI_LOG_LEVEL": "WARNING",
    }
