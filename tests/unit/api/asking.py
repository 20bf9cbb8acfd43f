"""Make a call with either client, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.documents import wire_bytes, wire_flow
from tests.scripted_server import http_bytes
from tests.transports import Call
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.settings import ViSettings

FLOW = http_bytes(200, wire_bytes(wire_flow()))
NOT_FOUND = http_bytes(404)

Ask = Callable[[Call, ViSettings], Any]


def ask_client(call: Call, settings: ViSettings) -> Any:
    with ViClient(settings, sleep=lambda _: None) as vi:
        return call.ask(vi)


def ask_async_client(call: Call, settings: ViSettings) -> Any:
    async def no_sleep(_: float) -> None:
        pass

    async def run() -> Any:
        async with AsyncViClient(settings, sleep=no_sleep) as vi:
            return await call.ask(vi)

    return asyncio.run(run())


def failure(ask: Ask, call: Call, settings: ViSettings) -> ViError:
    with pytest.raises(ViError) as caught:
        ask(call, settings)
    return caught.value
