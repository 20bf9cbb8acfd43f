"""The provider's client and the vendor's SDK read the same documents from the same server."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from vi_airflow_provider.api import errors
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.store.behaviour import CursorKind, Order
from vi_airflow_provider.hooks.vi import ViHook

SPEC = {
    "name": "Weld seam defects",
    "schema": "v1",
    "tolerations": {"spot": ["preemption"]},
    "settings": {"seed": 7, "nested": {"Überschrift": [1.5, None, True]}},
    "blocks": [{"block": "vlm-model", "settings": {"architecture": {"name": "qwen3vl"}}, "style": {"x": 1}}],
    "trainingProject": "weld-inspection",
}


@pytest.fixture
def hook(vi_emulator: Emulator) -> Iterator[ViHook]:
    hook = ViHook()
    yield hook
    hook.close()


def plain(flow: Any) -> dict[str, Any]:
    """Reduce a flow of either client to the attributes that the vendor's page names."""
    spec, metadata = flow.spec, flow.metadata
    return {
        "organization_id": flow.organization_id,
        "flow_id": flow.flow_id,
        "self_link": flow.self_link,
        "etag": flow.etag,
        "name": spec.name,
        "schema": spec.schema,
        "tolerations": spec.tolerations,
        "settings": spec.settings,
        "blocks": [(block.block, block.settings, block.style) for block in spec.blocks],
        "training_project": spec.training_project,
        "time_created": metadata.time_created,
        "last_updated": metadata.last_updated,
        "generation": metadata.generation,
        "attributes": metadata.attributes,
    }


class TestReading:
    @pytest.mark.vi_emulator(flows=25)
    def test_both_list_the_same_flows_in_the_same_order(self, client: Any, hook: ViHook) -> None:
        theirs = [plain(flow) for flow in client.flows.list().all_items()]

        assert [plain(flow) for flow in hook.list_flows(page_size=10)] == theirs
        assert len(theirs) == 25

    @pytest.mark.vi_emulator(flows=25)
    async def test_async_client_lists_the_same_flows(self, client: Any, hook: ViHook) -> None:
        async with AsyncViClient(hook.settings) as ours:
            flows = [plain(flow) async for flow in ours.list_flows(page_size=10)]

        assert flows == [plain(flow) for flow in client.flows.list().all_items()]

    def test_both_split_the_listing_into_the_same_pages(self, client: Any, hook: ViHook) -> None:
        theirs = [[flow.flow_id for flow in page.items] for page in client.flows.list({"page_size": 15})]

        assert [[flow.flow_id for flow in page.items] for page in hook.iter_flow_pages(page_size=15)] == theirs
        assert [len(page) for page in theirs] == [15, 15, 10]

    @pytest.mark.parametrize("cursor", get_args(CursorKind))
    @pytest.mark.parametrize("order", get_args(Order))
    def test_both_list_the_same_flows_in_every_order(
        self, client: Any, hook: ViHook, vi_emulator: Emulator, order: Order, cursor: CursorKind
    ) -> None:
        vi_emulator.configure(order=order, cursor=cursor)
        theirs = [flow.flow_id for flow in client.flows.list().all_items()]

        assert [flow.flow_id for flow in hook.list_flows(page_size=10)] == theirs
        assert theirs == vi_emulator.store.flow_ids()

    def test_both_get_the_same_flow(self, client: Any, hook: ViHook, vi_emulator: Emulator) -> None:
        for flow_id in vi_emulator.store.flow_ids():
            assert plain(hook.get_flow(flow_id)) == plain(client.flows.get(flow_id))

    def test_both_list_the_same_simple_forms(self, client: Any, hook: ViHook) -> None:
        theirs = list(client.flows.list_simple().all_items())

        assert [flow.to_wire() for flow in hook.list_simple_flows(page_size=10)] == theirs


class TestWriting:
    def test_hook_reads_what_the_sdk_creates(self, client: Any, hook: ViHook) -> None:
        theirs = client.flows.create(SPEC, metadata={"team": "line-3"})

        assert plain(hook.get_flow(theirs.flow_id)) == plain(theirs)

    def test_sdk_reads_what_the_hook_creates(self, client: Any, hook: ViHook) -> None:
        ours = hook.create_flow(SPEC, attributes={"team": "line-3"})

        assert plain(client.flows.get(ours.flow_id)) == plain(ours)

    def test_both_send_the_same_document(self, client: Any, hook: ViHook, vi_emulator: Emulator) -> None:
        one, other = hook.create_flow(SPEC), client.flows.create(SPEC)

        assert vi_emulator.store.get_flow(one.flow_id)["spec"] == vi_emulator.store.get_flow(other.flow_id)["spec"]
        assert one.digest == hook.get_flow(other.flow_id).digest

    def test_both_update_and_replace_with_the_same_result(self, client: Any, hook: ViHook) -> None:
        one, other = hook.create_flow(SPEC).flow_id, client.flows.create(SPEC).flow_id
        change = {"name": "Renamed", "settings": {"seed": 8}}

        assert hook.update_flow(one, spec=change).spec.to_wire() == hook.update_flow(other, spec=change).spec.to_wire()
        client.flows.replace(one, SPEC, {"team": "a"})
        hook.replace_flow(other, SPEC, attributes={"team": "a"})

        assert hook.get_flow(one).spec == hook.get_flow(other).spec
        assert hook.get_flow(one).metadata.attributes == hook.get_flow(other).metadata.attributes == {"team": "a"}

    def test_sdk_does_not_find_what_the_hook_deleted(self, client: Any, hook: ViHook, vi_emulator: Emulator) -> None:
        flow_id = vi_emulator.store.flow_ids()[-1]

        assert hook.delete_flow(flow_id).deleted
        with pytest.raises(importlib.import_module("vi").ViNotFoundError):
            client.flows.get(flow_id)


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "ours", "theirs"),
        [
            (400, errors.ViValidationError, "ViValidationError"),
            (401, errors.ViAuthenticationError, "ViAuthenticationError"),
            (404, errors.ViNotFoundError, "ViNotFoundError"),
            (409, errors.ViConflictError, "ViConflictError"),
            (422, errors.ViValidationError, "ViValidationError"),
            (429, errors.ViRateLimitError, "ViRateLimitError"),
            (503, errors.ViServerError, "ViServerError"),
        ],
    )
    def test_both_map_a_status_to_the_same_error(
        self,
        client: Any,
        hook: ViHook,
        vi_emulator: Emulator,
        monkeypatch: pytest.MonkeyPatch,
        status: int,
        ours: type[errors.ViError],
        theirs: str,
    ) -> None:
        vi_emulator.faults.add(status=status, times=None, retry_after="0" if status == 429 else None)
        monkeypatch.setattr(hook.get_conn(), "_sleep", lambda seconds: None)

        with pytest.raises(ours) as our_error:
            hook.get_flow("a-flow")
        with pytest.raises(Exception, match=r".") as their_error:
            client.flows.get("a-flow")

        assert type(their_error.value).__name__ == theirs
        assert our_error.value.status_code == getattr(their_error.value, "status_code") == status  # noqa: B009
