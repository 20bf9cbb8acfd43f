"""5,000 flows do not hold the event loop, which serves all of Airflow's UI and API, for longer than 50 ms at a time."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.reliability.soak.emulator_process import EmulatorProcess
from vi_airflow_provider.ui.cache import Listings
from vi_airflow_provider.ui.plugin import ViPlugin
from vi_airflow_provider.ui.reading import Reader

FLOWS = 5_000
#: Seconds of CPU time: other processes on this machine do not count.
MOST = 0.050


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with EmulatorProcess(seed=1) as process:
        process._call("POST", "/_emulator/reset", {"flows": FLOWS})
        monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", process.connection(allow_http=True))
        yield


async def test_start_of_the_server_is_exempt_from_garbage_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(gc, "collect", lambda: done.append("collect"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("freeze"))
    (mounted,) = ViPlugin().fastapi_apps
    assert done == []
    async with mounted["app"].router.lifespan_context(mounted["app"]):
        assert done == ["collect", "freeze"]


async def test_listing_and_plan_hold_the_event_loop_for_a_short_time(
    emulator: None, callback_times: list[float]
) -> None:
    reader = Reader(Listings())
    # The first call imports the client and opens the connection.
    await reader.runs("vi_default", refresh=False)
    callback_times.clear()
    await reader.flows("vi_default", refresh=False)
    plan, _ = await reader.plan("vi_default", {"older_than": "P1D", "keep_last": 1}, refresh=False)
    # Another time, while the previous listing is still kept.
    body, _ = await reader.flows("vi_default", refresh=True)
    assert len(body) > 50_000
    assert len(plan) > 10_000
    assert max(callback_times) < MOST
