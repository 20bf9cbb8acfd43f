"""Where the documents of an export come from: the calls of a hook or a client, in the terms of a listing."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from vi_airflow_provider.api.errors import ViNotFoundError
from vi_airflow_provider.api.models import Flow, Run
from vi_airflow_provider.api.models.document import Document
from vi_airflow_provider.api.transport.concurrency import map_concurrently
from vi_airflow_provider.api.transport.loop_thread import run_in_thread
from vi_airflow_provider.audit.run_record import RunRecord, record_run

if TYPE_CHECKING:
    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.models import RunOutput, SimpleFlow, SimpleRun
    from vi_airflow_provider.api.settings import ViSettings

#: Runs whose checkpoints are read with one client, and how many of them at a time.
_RUNS_PER_BATCH: Final = 50
_CONCURRENCY: Final = 8

L = TypeVar("L", bound=Document)
D_co = TypeVar("D_co", bound=Document, covariant=True)


class Source(Protocol[L, D_co]):
    """The calls that an export makes: documents are listed as ``L``, and stored as ``D``."""

    noun: str

    def id_of(self, listed: L) -> str:
        """Return the id of a document."""
        ...

    def list(self, *, page_size: int | None, limit: int | None, prefetch: bool) -> Iterator[L]:
        """Yield all documents."""
        ...

    def ids(self, *, page_size: int | None) -> Iterator[str]:
        """Yield the ids of all documents."""
        ...

    def find(self, document_id: str) -> L | None:
        """Return a document, ``None`` if it does not exist."""
        ...

    def complete(self, listed: Iterator[L]) -> Iterator[D_co | str]:
        """Yield documents as they are stored, the id instead of one that has been deleted since it was listed."""
        ...


class FlowCalls(Protocol):
    """A hook or a client, as far as it reads flows."""

    def list_flows(self, *, page_size: int | None, limit: int | None, prefetch: bool) -> Iterator[Flow]:
        """Yield all flows."""
        ...

    def list_simple_flows(self, *, page_size: int | None) -> Iterator[SimpleFlow]:
        """Yield the ids of all flows."""
        ...

    def find_flow(self, *, flow_id: str) -> Flow | None:
        """Return a flow, ``None`` if it does not exist."""
        ...


class FlowSource:
    """The flows of an organization."""

    noun = "flow"

    def __init__(self, calls: FlowCalls) -> None:
        self._calls = calls

    def list(self, *, page_size: int | None, limit: int | None, prefetch: bool) -> Iterator[Flow]:
        """Yield all flows."""
        return self._calls.list_flows(page_size=page_size, limit=limit, prefetch=prefetch)

    def id_of(self, listed: Flow) -> str:
        """Return the id of a flow."""
        return listed.flow_id

    def ids(self, *, page_size: int | None) -> Iterator[str]:
        """Yield the ids of all flows."""
        return (flow.flow_id for flow in self._calls.list_simple_flows(page_size=page_size))

    def find(self, document_id: str) -> Flow | None:
        """Return a flow, ``None`` if it does not exist."""
        return self._calls.find_flow(flow_id=document_id)

    def complete(self, listed: Iterator[Flow]) -> Iterator[Flow]:
        """Yield the flows: a listing has all of them."""
        return listed


class RunCalls(Protocol):
    """A hook, as far as it reads runs."""

    def list_runs(self, *, page_size: int | None, limit: int | None, prefetch: bool) -> Iterator[Run]:
        """Yield all runs."""
        ...

    def list_simple_runs(self, *, page_size: int | None) -> Iterator[SimpleRun]:
        """Yield the ids of all runs."""
        ...

    def get_run(self, run_id: str) -> Run:
        """Return a run."""
        ...

    def get_async_conn(self) -> Awaitable[AsyncViClient]:
        """Return a new asynchronous client."""
        ...


class Calls(FlowCalls, RunCalls, Protocol):
    """A hook, as far as it reads flows and runs of an organization."""

    @property
    def settings(self) -> ViSettings:
        """The connection's fields."""
        ...


class RunSource:
    """The runs of an organization, with or without their checkpoints."""

    noun = "run"

    def __init__(self, calls: RunCalls, *, outputs: bool) -> None:
        self._calls = calls
        self._outputs = outputs

    def list(self, *, page_size: int | None, limit: int | None, prefetch: bool) -> Iterator[Run]:
        """Yield all runs."""
        return self._calls.list_runs(page_size=page_size, limit=limit, prefetch=prefetch)

    def id_of(self, listed: Run) -> str:
        """Return the id of a run."""
        return listed.run_id

    def ids(self, *, page_size: int | None) -> Iterator[str]:
        """Yield the ids of all runs."""
        return (run.run_id for run in self._calls.list_simple_runs(page_size=page_size))

    def find(self, document_id: str) -> Run | None:
        """Return a run, ``None`` if it does not exist."""
        try:
            return self._calls.get_run(document_id)
        except ViNotFoundError:
            return None

    def complete(self, listed: Iterator[Run]) -> Iterator[RunRecord | str]:
        """Yield what an export has of the runs; the checkpoints of several are read at a time."""
        if not self._outputs:
            yield from (record_run(run, None) for run in listed)
            return
        while batch := list(islice(listed, _RUNS_PER_BATCH)):
            yield from self._with_outputs(batch)

    def _with_outputs(self, batch: Sequence[Run]) -> Sequence[RunRecord | str]:
        async def complete() -> Sequence[RunRecord | str]:
            async with await self._calls.get_async_conn() as client:
                return await map_concurrently(batch, lambda run: _with_outputs(client, run), _CONCURRENCY)

        return run_in_thread(complete)


async def _with_outputs(client: AsyncViClient, run: Run) -> RunRecord | str:
    outputs: list[RunOutput] = []
    try:
        async for output in client.list_run_outputs(run.run_id):
            outputs.append(output)
    except ViNotFoundError:
        return run.run_id
    return record_run(run, outputs)
