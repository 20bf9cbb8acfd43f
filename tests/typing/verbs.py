"""The types that callers of the hook and of both clients see. mypy checks this file; it is never executed.

A ``type: ignore`` marks a call that must be rejected: strict mypy reports it as unused if the call is accepted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.models import DeletedFlow, Flow, FlowPage, SimpleFlow
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.hooks.vi import ViHook


def reads_of_the_hook(hook: ViHook) -> None:
    assert_type(hook.list_flows(page_size=100, limit=5), Iterator[Flow])
    assert_type(hook.iter_flow_pages(), Iterator[FlowPage])
    assert_type(hook.list_simple_flows(), Iterator[SimpleFlow])
    assert_type(hook.get_flow("flow"), Flow)
    assert_type(hook.flow_exists("flow"), bool)
    assert_type(hook.find_flow(name="Weld seams"), Flow | None)
    hook.get_flow(5)  # type: ignore[arg-type]
    hook.get_flow()  # type: ignore[call-arg]
    hook.list_flows(page=2)  # type: ignore[call-arg]


def writes_of_the_hook(hook: ViHook) -> None:
    assert_type(hook.create_flow({"name": "Weld seams"}, attributes={"team": "a"}), Flow)
    assert_type(hook.update_flow("flow", spec={"name": "Weld seams"}), Flow)
    assert_type(hook.replace_flow("flow", {"name": "Weld seams"}), Flow)
    assert_type(hook.delete_flow("flow"), DeletedFlow)
    hook.create_flow("Weld seams")  # type: ignore[arg-type]


def blocking_client(settings: ViSettings) -> None:
    with ViClient(settings) as vi:
        assert_type(vi, ViClient)
        assert_type(vi.list_flows(), Iterator[Flow])
        assert_type(vi.get_flow("flow"), Flow)
        assert_type(vi.delete_flow("flow"), DeletedFlow)


async def asynchronous_client(settings: ViSettings) -> None:
    async with AsyncViClient(settings) as vi:
        assert_type(vi, AsyncViClient)
        assert_type(vi.list_flows(), AsyncIterator[Flow])
        assert_type(vi.iter_flow_pages(), AsyncIterator[FlowPage])
        assert_type(await vi.get_flow("flow"), Flow)
        assert_type(await vi.find_flow(name="Weld seams"), Flow | None)
        assert_type(await vi.delete_flow("flow"), DeletedFlow)
        await vi.get_flow(5)  # type: ignore[arg-type]


def documents(flow: Flow) -> None:
    assert_type(flow.flow_id, str)
    assert_type(flow.spec.name, str)
    assert_type(flow.metadata.last_updated, int)
    assert_type(flow.metadata.attributes, dict[str, str])
    flow.flow_id = "other"  # type: ignore[misc]
