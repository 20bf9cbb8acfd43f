"""Poll flows through the shared poller of a connection, and list the requests that this takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeAlias

from tests.unit.gates.virtual import VirtualClock, VirtualVi
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.gates.condition import Target
from vi_airflow_provider.gates.flow_source import FLOWS
from vi_airflow_provider.gates.poller import SharedPoller
from vi_airflow_provider.triggers.shared import shared_poller

Poller: TypeAlias = SharedPoller[Target, Flow]

CONN: Final = "vi_default"
LISTING: Final = "/flows$"


def by_id(*flow_ids: str) -> list[Target]:
    return [Target(flow_id=flow_id) for flow_id in flow_ids]


def many(count: int) -> list[Target]:
    return by_id(*(f"f{number}" for number in range(count)))


def by_name(*names: str) -> list[Target]:
    return [Target(flow_name=name) for name in names]


@asynccontextmanager
async def subscribed(targets: Iterable[Target], conn_id: str = CONN) -> AsyncIterator[Poller]:
    """A poller with subscriptions to the targets."""
    async with AsyncExitStack() as stack:
        poller = await stack.enter_async_context(shared_poller(conn_id, FLOWS))
        for target in targets:
            await stack.enter_async_context(poller.subscribe(target))
        yield poller


async def poll(poller: Poller, *targets: Target, **how: Any) -> list[str | type[ViError] | None]:
    """Poll the targets at the same time, and return for each an id, the class of an error, or ``None``."""
    found = await asyncio.gather(*(poller.poll(target, **how) for target in targets), return_exceptions=True)
    return [_summary(result) for result in found]


def _summary(result: Flow | BaseException | None) -> Any:
    if isinstance(result, ViError):
        return type(result)
    if isinstance(result, BaseException):
        raise result
    return result and result.flow_id


def run(clock: VirtualClock, targets: list[Target], what: Callable[[Poller], Awaitable[Any]] | None = None) -> Any:
    """Subscribe to the targets and do something; by default, poll all of them."""

    async def main() -> Any:
        async with subscribed(targets) as poller:
            return await (what(poller) if what else poll(poller, *targets))

    return clock.run(main())


def paths(vi: VirtualVi) -> list[str]:
    """Return the ends of the paths of the requests so far, and forget them."""
    seen = [request.path.rpartition("/")[2] for request in vi.requests]
    vi.requests.clear()
    return seen
