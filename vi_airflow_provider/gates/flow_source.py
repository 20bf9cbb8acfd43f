"""How the shared poller finds flows: one by one, or many of them in the listing.

The client refuses a response about another flow or another organization than the one that was requested.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from vi_airflow_provider.api.models import last_update
from vi_airflow_provider.gates.source import Listing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.gates.condition import Target
    from vi_airflow_provider.gates.source import Extent


class FlowSource:
    """The flows of an organization, by :class:`~vi_airflow_provider.gates.condition.Target`."""

    listed: Final = True
    has_head: Final = True

    def needs_listing(self, key: Target) -> bool:
        """A name can only be found in the listing."""
        return key.flow_id is None

    def must_be_created(self, key: Target) -> bool:
        """Return whether a flow that was not found must be created, and not moved to the training project.

        A flow may also be renamed. That is no way to create one, so it may be found later.
        """
        return key.flow_id is None or key.training_project is None

    def created(self, document: Flow) -> int:
        """Return the time of creation, as the listing shows it."""
        return document.metadata.time_created

    async def get(self, client: AsyncViClient, key: Target) -> Flow | None:
        """Return the flow, ``None`` if it does not exist."""
        return await client.find_flow(flow_id=key.flow_id, name=key.flow_name, training_project=key.training_project)

    async def scan(self, client: AsyncViClient, keys: Collection[Target], extent: Extent) -> Listing[Target, Flow]:
        """Read the listing for several flows."""
        flow_ids = {key.flow_id for key in keys if key.flow_id is not None}
        names = {key.flow_name for key in keys if key.flow_name is not None}
        found = await client.scan_flows(
            flow_ids, names, extent.max_pages, page_token=extent.page_token, enough=extent.enough
        )
        by_id: dict[str, list[Flow]] = {}
        by_name: dict[str, list[Flow]] = {}
        for flow in found.flows:
            by_id.setdefault(flow.flow_id, []).append(flow)
            by_name.setdefault(flow.spec.name, []).append(flow)
        find = partial(_latest, by_id, by_name) if found.flows else None
        return Listing(found.pages, found.complete, find, found.next_page)


def _latest(by_id: Mapping[str, Sequence[Flow]], by_name: Mapping[str, Sequence[Flow]], key: Target) -> Flow | None:
    """Return the flow that a key means: of several flows with the name, the one that was updated last."""
    flows = by_name.get(key.flow_name or "", ()) if key.flow_id is None else by_id.get(key.flow_id, ())
    return max((flow for flow in flows if _is_meant(flow, key)), key=last_update, default=None)


def _is_meant(flow: Flow, key: Target) -> bool:
    return (
        key.flow_id in (None, flow.flow_id)
        and key.flow_name in (None, flow.spec.name)
        and key.training_project in (None, flow.spec.training_project)
    )


#: The source of all gates; a poller is shared by those that name the same one.
FLOWS: Final = FlowSource()
