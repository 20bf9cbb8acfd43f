"""The vendor's SDK, ``vi-sdk``. Its default log file at level DEBUG is switched off by the worker's environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from benchmarks.clients.reads import reader
from benchmarks.flows import flow_id

if TYPE_CHECKING:
    from collections.abc import Callable


def list_flows(page_size: int | None = None, *, everything: bool = False) -> Callable[[], Any]:
    """``client.flows.list().all_items()``."""
    client, read = new_client(), reader(everything=everything)
    pagination = {} if page_size is None else {"pagination": {"page_size": page_size}}

    def run() -> dict[str, int]:
        count = 0
        for count, flow in enumerate(client.flows.list(**pagination).all_items(), 1):  # noqa: B007
            read(flow)
        return {"flows": count}

    return run


def delete_one_by_one(count: int) -> Callable[[], Any]:
    """A loop over ``client.flows.delete``."""
    client = new_client()

    def run() -> dict[str, int]:
        return {"deleted": sum(client.flows.delete(flow_id(number)).deleted for number in range(count))}

    return run


def new_client() -> Any:
    """Return a client of the SDK."""
    # As in a task, Airflow is loaded in the same process.
    import airflow.sdk  # noqa: F401
    import vi  # type: ignore[import-untyped]

    return vi.Client(
        secret_key=os.environ["BENCHMARK_SECRET_KEY"],
        organization_id=os.environ["BENCHMARK_ORGANIZATION_ID"],
        endpoint=os.environ["BENCHMARK_URL"],
    )
