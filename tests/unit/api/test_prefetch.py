"""The next page is fetched while this one is consumed: that one only, in order, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import pytest

from tests.documents import wire_flow, wire_page
from tests.scripted_server import Act, After, ScriptedServer, http_bytes
from tests.transports import settings_for
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViNetworkError, ViPermissionError, ViResponseError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.api.transport import prefetch
from vi_airflow_provider.api.transport.deadlines import Call

#: Longer than anything here takes: where it is waited for, an event ends the wait.
PATIENCE: Final = 20.0


def page(number: int, *, last: bool = False, size: int = 3) -> Act:
    """A page of some flows, on a connection that stays open."""
    flows = [wire_flow(flowId=f"{number}-{place}") for place in range(size)]
    body = wire_page(*flows, **({} if last else {"nextPage": str(number + 1)}))
    return Act(http_bytes(200, json.dumps(body).encode(), keep=True), After.KEEP)


def refusal(status: int) -> Act:
    return Act(http_bytes(status, b'{"message":"no"}', keep=True), After.KEEP)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[ViClient]:
    with ViClient(settings_for(server.url, read_timeout=PATIENCE)) as client:
        yield client
    assert page_threads() == []


def has_arrived(client: ViClient) -> bool:
    ahead = [listing._ahead for listing in client._listings]
    return bool(ahead) and all(fetch is not None and fetch._done.is_set() for fetch in ahead)


def page_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vi-page"]


def eventually(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.001)


def ids(flows: Iterator[Flow], count: int) -> list[str]:
    return [next(flows).flow_id for _ in range(count)]


# --- how far ahead -------------------------------------------------------------------------------------------------


def test_one_page_is_prefetched_after_the_second_flow(server: ScriptedServer, client: ViClient) -> None:
    server.acts += [page(number) for number in range(9)]
    flows = client.list_flows()
    assert ids(flows, 1) == ["0-0"]
    assert (server.requests, page_threads()) == (1, [])
    assert ids(flows, 1) == ["0-1"]
    eventually(lambda: server.requests == 2 and has_arrived(client))
    assert ids(flows, 2) == ["0-2", "1-0"]
    assert server.requests == 2
    assert ids(flows, 1) == ["1-1"]
    eventually(lambda: server.requests == 3 and has_arrived(client))


def test_one_thread_fetches_the_pages_of_a_listing(server: ScriptedServer, client: ViClient) -> None:
    server.acts += [page(number) for number in range(9)]
    flows = client.list_flows(limit=12)
    threads = {*page_threads()}
    for _ in range(10):
        ids(flows, 1)
        threads |= {*page_threads()}
    assert len(threads) == 1
    assert len(list(flows)) == 2
    assert page_threads() == []


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 6, 7])
def test_no_page_beyond_the_limit_is_fetched(server: ScriptedServer, client: ViClient, limit: int) -> None:
    server.acts += [page(number) for number in range(9)]
    assert len(list(client.list_flows(page_size=3, limit=limit))) == limit
    assert server.requests == (limit + 2) // 3


def test_nothing_is_fetched_after_the_last_page(server: ScriptedServer, client: ViClient) -> None:
    server.acts += [page(0), page(1, size=0), page(2, last=True)]
    assert [flow.flow_id for flow in client.list_flows()] == [f"{n}-{place}" for n in (0, 2) for place in range(3)]
    assert server.requests == 3


def test_the_prefetch_is_sent_before_the_consumer_continues(
    server: ScriptedServer, client: ViClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "HEAD_START", PATIENCE)
    server.acts += [page(0), Act(after=After.HANG)]
    order: list[str] = []
    read_from = Call.read_from

    def recorded(call: Call, sock: Any) -> Any:
        order.append("sent")
        return read_from(call, sock)

    monkeypatch.setattr(Call, "read_from", recorded)
    flows = client.list_flows()
    began = time.monotonic()
    ids(flows, 2)
    order.append("consumed")
    assert order == ["sent", "sent", "consumed"]
    assert time.monotonic() - began < PATIENCE / 2


def test_a_consumer_does_not_wait_for_an_unsendable_request(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "HEAD_START", PATIENCE)
    server.acts.append(page(0))
    with ViClient(settings_for(server.url, max_retries=0)) as client:
        flows = client.list_flows()
        ids(flows, 1)
        server.__exit__()
        began = time.monotonic()
        assert ids(flows, 2) == ["0-1", "0-2"]
        assert time.monotonic() - began < PATIENCE / 2
        with pytest.raises(ViNetworkError):
            next(flows)


def test_the_pages_of_a_listing_share_a_connection(server: ScriptedServer, client: ViClient) -> None:
    server.acts += [*(page(number) for number in range(5)), page(5, last=True)]
    assert len(list(client.list_flows())) == 18
    assert server.connections == 1


# --- errors --------------------------------------------------------------------------------------------------------


def test_an_error_is_raised_after_the_flows_before_it(server: ScriptedServer, client: ViClient) -> None:
    server.acts += [page(0), refusal(403)]
    flows = client.list_flows()
    assert ids(flows, 2) == ["0-0", "0-1"]
    eventually(lambda: server.requests == 2 and has_arrived(client))
    assert ids(flows, 1) == ["0-2"]
    with pytest.raises(ViPermissionError):
        next(flows)


def test_a_prefetch_is_retried_like_any_request(server: ScriptedServer) -> None:
    server.acts += [page(0), refusal(500), refusal(429), page(1, last=True)]
    slept: list[float] = []
    with ViClient(settings_for(server.url), sleep=slept.append) as client:
        assert len(list(client.list_flows())) == 6
    assert len(slept) == 2


def test_a_cursor_that_is_repeated_ends_the_listing(server: ScriptedServer, client: ViClient) -> None:
    server.acts += [page(0), page(0)]
    flows = client.list_flows()
    assert ids(flows, 3) == ["0-0", "0-1", "0-2"]
    with pytest.raises(ViResponseError, match="repeats a page cursor"):
        next(flows)


# --- a consumer that goes away -------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["while it waits for a response", "while it reads one"])
def test_a_dropped_listing_leaves_no_thread(server: ScriptedServer, client: ViClient, when: str) -> None:
    sent = b"" if when == "while it waits for a response" else http_bytes(200, b'{"items":[', missing=10_000, keep=True)
    server.acts += [page(0), Act(sent, After.HANG)]
    flows = client.list_flows()
    ids(flows, 2)
    eventually(lambda: server.requests == 2)
    began = time.monotonic()
    del flows
    assert page_threads() == []
    assert time.monotonic() - began < PATIENCE / 2


def test_a_listing_dropped_after_its_prefetch_frees_the_connection(server: ScriptedServer, client: ViClient) -> None:
    server.acts += [page(0), page(1), page(2, last=True)]
    flows = client.list_flows()
    ids(flows, 2)
    eventually(lambda: server.requests == 2 and has_arrived(client))
    del flows
    assert len(list(client.list_flows())) == 3
    assert server.connections == 1


def interrupted_in_the_main_thread(event: threading.Event, timeout: float | None = None) -> bool:
    if threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt
    return event.is_set()


def test_an_interrupted_wait_ends_the_prefetch(
    server: ScriptedServer, client: ViClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.acts += [page(0), Act(after=After.HANG)]
    flows = client.list_flows()
    ids(flows, 3)
    eventually(lambda: server.requests == 2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Event, "wait", interrupted_in_the_main_thread)
        with pytest.raises(KeyboardInterrupt):
            next(flows)
    eventually(lambda: not page_threads())


def test_interruption_before_the_request_is_sent_ends_the_prefetch(
    server: ScriptedServer, client: ViClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.acts += [page(0), Act(after=After.HANG)]
    flows = client.list_flows()
    ids(flows, 1)
    monkeypatch.setattr(Call, "wait_until_sent", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        next(flows)
    assert page_threads() == []


def test_a_listing_works_without_threads(
    server: ScriptedServer, client: ViClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.acts += [page(0), page(1, last=True)]
    flows = client.list_flows()
    ids(flows, 1)

    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr("vi_airflow_provider.api.transport.prefetch.threading.Thread", NoThread)
    assert [flow.flow_id for flow in flows] == ["0-1", "0-2", "1-0", "1-1", "1-2"]


def test_a_listing_dropped_between_attempts_leaves_no_thread(
    server: ScriptedServer, client: ViClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = http_bytes(503, headers=[("Retry-After", "50")], keep=True)
    server.acts += [page(0), Act(answer, After.KEEP), page(1)]
    flows = client.list_flows()
    ids(flows, 2)
    eventually(lambda: "retrying in 50" in caplog.text)
    del flows
    assert page_threads() == []
    assert server.requests == 2


def test_a_listing_collected_while_a_record_is_logged_blocks_nothing(
    server: ScriptedServer, client: ViClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "END_PATIENCE", 0.05)
    server.acts += [page(0), refusal(503), page(1)]
    listings, about_to_log = [client.list_flows()], threading.Event()

    class CollectsGarbage(logging.Handler):
        def filter(self, record: logging.LogRecord) -> bool:
            if "retrying" in record.msg:  # in the thread of the prefetch, which needs the lock of this handler next
                about_to_log.set()
            return True

        def emit(self, record: logging.LogRecord) -> None:
            if record.msg == "collect":
                ids(listings[0], 2)
                assert about_to_log.wait(PATIENCE)
                listings.clear()

    logger, handler = logging.getLogger("vi_airflow_provider"), CollectsGarbage()
    logger.addHandler(handler)
    try:
        logger.warning("collect")
    finally:
        logger.removeHandler(handler)
    eventually(lambda: page_threads() == [])
    assert server.requests == 2


def test_a_prefetch_ended_by_close_is_repeated(server: ScriptedServer, client: ViClient) -> None:
    server.acts += [page(0), Act(after=After.HANG), page(1, last=True)]
    flows = client.list_flows()
    ids(flows, 2)
    eventually(lambda: server.requests == 2)
    client.close()
    assert page_threads() == []
    assert [flow.flow_id for flow in flows] == ["0-2", "1-0", "1-1", "1-2"]


def test_a_page_prefetched_before_close_is_not_lost(server: ScriptedServer, client: ViClient) -> None:
    server.acts += [page(0), page(1, last=True)]
    flows = client.list_flows()
    ids(flows, 2)
    eventually(lambda: server.requests == 2 and has_arrived(client))
    client.close()
    assert [flow.flow_id for flow in flows] == ["0-2", "1-0", "1-1", "1-2"]
    assert server.requests == 2


def test_a_prefetch_logs_in_the_context_of_its_consumer(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    task: ContextVar[str] = ContextVar("task")
    task.set("ours")
    seen: list[str] = []

    class Seen(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            seen.append(task.get("nobody's"))
            return True

    caplog.handler.addFilter(handler := Seen())
    server.acts += [page(0), refusal(500), page(1, last=True)]
    with ViClient(settings_for(server.url), sleep=lambda _: None) as client:
        list(client.list_flows())
    caplog.handler.removeFilter(handler)
    assert seen
    assert set(seen) == {"ours"}


# --- on the event loop ---------------------------------------------------------------------------------------------


async def test_the_asynchronous_client_prefetches_one_page(server: ScriptedServer) -> None:
    server.acts += [page(number) for number in range(9)]
    async with AsyncViClient(settings_for(server.url)) as client:
        flows = client.list_flows()
        assert [(await anext(flows)).flow_id for _ in range(1)] == ["0-0"]
        await asyncio.sleep(0.05)
        assert server.requests == 1
        assert (await anext(flows)).flow_id == "0-1"
        await asyncio.to_thread(eventually, lambda: server.requests == 2)
        assert [(await anext(flows)).flow_id for _ in range(2)] == ["0-2", "1-0"]
        assert server.requests == 2
        await flows.aclose()  # type: ignore[attr-defined]
    assert len(asyncio.all_tasks()) == 1


async def test_the_asynchronous_client_raises_an_error_in_order(server: ScriptedServer) -> None:
    server.acts += [page(0), refusal(403)]
    async with AsyncViClient(settings_for(server.url)) as client:
        flows = client.list_flows()
        assert [(await anext(flows)).flow_id for _ in range(3)] == ["0-0", "0-1", "0-2"]
        with pytest.raises(ViPermissionError):
            await anext(flows)


async def test_a_prefetch_ended_by_async_close_is_repeated(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.acts += [page(0), Act(after=After.HANG), page(1, last=True)]
    client = AsyncViClient(settings_for(server.url))
    flows = client.list_flows()
    assert [(await anext(flows)).flow_id for _ in range(2)] == ["0-0", "0-1"]
    await asyncio.to_thread(eventually, lambda: server.requests == 2)
    await client.close()
    assert len(asyncio.all_tasks()) == 1
    assert [flow.flow_id async for flow in flows] == ["0-2", "1-0", "1-1", "1-2"]
    await client.close()
    assert "trying again" not in caplog.text


async def test_a_failed_prefetch_without_a_consumer_raises_nothing(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.acts += [page(0), refusal(403)]
    async with AsyncViClient(settings_for(server.url)) as client:
        flows = client.list_flows()
        assert [(await anext(flows)).flow_id for _ in range(2)] == ["0-0", "0-1"]
        while len(asyncio.all_tasks()) > 1:
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        await flows.aclose()  # type: ignore[attr-defined]
        del flows
        gc.collect()
    assert "never retrieved" not in caplog.text
