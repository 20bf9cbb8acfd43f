"""Unit tests are isolated from the environment, and hypothesis generates the same examples in each run."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

settings.register_profile("unit", deadline=None, derandomize=True, max_examples=60)
#: For `make mutants`, where it only counts that a test fails: no time is spent on finding a simpler example.
settings.register_profile("mutants", settings.get_profile("unit"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("unit")

#: Variables that would make a test use the machine's proxy, CA, credentials or connection.
_FOREIGN = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"),
    *("NETRC", "AIRFLOW_CONN_VI_DEFAULT"),
)


@pytest.fixture
def callback_times(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The CPU time of each callback on the event loop, in seconds.

    Other processes on this machine do not count. Garbage collection is off: its passes depend on the other tests.
    """
    times: list[float] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        start = time.thread_time()
        run(handle)
        times.append(time.thread_time() - start)

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    gc.disable()
    yield times
    gc.enable()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _FOREIGN:
        monkeypatch.delenv(name, raising=False)
