"""The operations of the fault matrix: what they do, and how to verify what they did.

Six are calls, made by both clients. The others are tasks and a trigger, as Airflow runs them. Each runs in a set-up of
its own, makes a known number of changes to its flows, and is checked to have changed nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from tests.documents import wire_flow, wire_spec
from tests.reliability.faults import CREATED_BY_OTHERS, DELETED_BY_OTHERS
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.models import DeletedFlow, Flow
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID, DEFAULT_SECRET_KEY, Settings

if TYPE_CHECKING:
    import pytest

    from tests.reliability.fault_proxy import FaultProxy

DAY_MS: Final = 86_400_000
OK: Final = "ok"
#: A listing returns what the server sends, which contains a flow twice.
TWICE: Final = "twice"

STALE: Final = ("stale-1", "stale-2", "stale-3")
#: In the order of creation; a listing (newest first, two per page) has the reverse order.
FLOWS: Final = ("stale-1", "fresh-1", "stale-2", "fresh-2", "stale-3", "fresh-3")
#: In an archive, but not on the server.
GONE: Final = ("gone-1", "gone-2")
#: In the archive, and unchanged on the server.
KEPT: Final = "stale-1"
SPEC: Final = wire_spec(name="written")

Flows = Mapping[str, Mapping[str, Any]]


def new_backend() -> Backend:
    """Return a backend of the emulator with the flows, all of them a year old."""
    times = iter(range(len(FLOWS)))
    backend = Backend(Settings(flows=0), clock=lambda: 1_700_000_000_000 + next(times, 10) * DAY_MS)
    for flow_id in FLOWS:
        backend.store.put_flow(flow_id, {"spec": wire_spec(name=flow_id)})
    return backend


@dataclass
class Setup:
    """What an operation needs: a backend behind a proxy, a connection to it, a folder; and its recorded delays."""

    backend: Backend
    proxy: FaultProxy
    extra: Mapping[str, Any]
    folder: Path
    runner: asyncio.Runner
    delays: list[float] = field(default_factory=list)

    @property
    def settings(self) -> ViSettings:
        identity: dict[str, Any] = {"organization_id": DEFAULT_ORGANIZATION_ID, "secret_key": DEFAULT_SECRET_KEY}
        return ViSettings(endpoint=self.proxy.url, **identity, **self.extra)

    @property
    def connection(self) -> str:
        """The value of ``AIRFLOW_CONN_VI_DEFAULT``."""
        fields = {"host": self.proxy.url, "login": DEFAULT_ORGANIZATION_ID, "password": DEFAULT_SECRET_KEY}
        return json.dumps({"conn_type": "vi", **fields, "extra": dict(self.extra)})

    @property
    def flows(self) -> Flows:
        """All flows on the server, without those that the other client creates."""
        store = self.backend.store
        return {
            flow_id: store.get_flow(flow_id)
            for flow_id in store.flow_ids()
            if not flow_id.startswith(CREATED_BY_OTHERS)
        }

    def sleep(self, seconds: float) -> None:
        """Record a delay instead of waiting."""
        self.delays.append(seconds)
        self.proxy.pause()

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


@dataclass(frozen=True)
class Operation:
    """An operation of the matrix.

    :param name: column of the table
    :param method: method of the requests that a fault affects
    :param clients: how to run it with each client; returns ``OK`` or a one-word outcome, or raises a ``ViError``
    :param changes: number of changes that it makes if it succeeds
    :param count_changes: counts the changes made, given the flows before and after; asserts that nothing else differs
    :param lists: are the affected requests pages of a listing?
    :param skip: number of requests before the first affected one
    :param continues: does it continue with the next change after a failed one?
    :param polls: does it repeat a failed request on its own?
    :param rereads: does it read the flow again before it repeats a write?
    """

    name: str
    method: str
    clients: Mapping[str, Callable[[Setup], str]]
    changes: int = 0
    count_changes: Callable[[Flows, Flows], int] = lambda before, after: 0
    lists: bool = False
    skip: int = 0
    continues: bool = False
    polls: bool = False
    rereads: bool = False


# --- calls of the clients ------------------------------------------------------------------------------------------


def _both(call: Callable[[Any], Any], check: Callable[[Any, Setup], str]) -> dict[str, Callable[[Setup], str]]:
    def blocking(setup: Setup) -> str:
        with ViClient(setup.settings, sleep=setup.sleep) as vi:
            value = call(vi)
            return check(list(value) if isinstance(value, Iterator) else value, setup)

    async def awaiting(setup: Setup) -> str:
        async with AsyncViClient(setup.settings, sleep=setup.sleep_async) as vi:
            value = call(vi)
            received = [flow async for flow in value] if isinstance(value, AsyncIterator) else await value
            return check(received, setup)

    return {"ViClient": blocking, "AsyncViClient": lambda setup: setup.runner.run(awaiting(setup))}


def _all_listed(flows: list[Flow], _: Setup) -> str:
    # Flows that are created or deleted during the listing may or may not be in it.
    ids = [flow.flow_id for flow in flows if not flow.flow_id.startswith(CREATED_BY_OTHERS)]
    steady = [flow_id for flow_id in reversed(FLOWS) if flow_id in ids or flow_id not in DELETED_BY_OTHERS]
    if ids == steady:
        return OK
    assert list(dict.fromkeys(ids)) == steady
    return TWICE


def _is_stored(flow: Flow, setup: Setup) -> str:
    assert flow.to_wire() == setup.backend.store.get_flow(flow.flow_id)
    return OK


def _is_gone(deleted: DeletedFlow, _: Setup) -> str:
    assert deleted == DeletedFlow(id="stale-1", deleted=True, already_absent=False)
    return OK


def _differs(before: Flows, after: Flows) -> set[str]:
    return {flow_id for flow_id in before.keys() | after.keys() if before.get(flow_id) != after.get(flow_id)}


def _deleted(before: Flows, after: Flows) -> int:
    assert _differs(before, after) <= {"stale-1"} >= before.keys() - after.keys()
    return len(before) - len(after)


def _created(before: Flows, after: Flows) -> int:
    """A retried create must not create two flows."""
    new = after.keys() - before.keys()
    assert _differs(before, after) == new
    assert [after[flow_id]["spec"] for flow_id in new] in ([], [SPEC])
    return len(new)


def _written(before: Flows, after: Flows) -> int:
    differs = _differs(before, after)
    assert differs <= {"stale-1"}
    for flow_id in differs:
        assert after[flow_id]["spec"] == SPEC | {"trainingProject": before[flow_id]["spec"]["trainingProject"]}
        # Applied once, however often it was sent.
        assert after[flow_id]["metadata"]["generation"] == before[flow_id]["metadata"]["generation"] + 1
    return len(differs)


CALLS: Final = (
    Operation("list", "GET", _both(lambda vi: vi.list_flows(), _all_listed), lists=True),
    Operation("get", "GET", _both(lambda vi: vi.get_flow("stale-1"), _is_stored)),
    Operation("delete", "DELETE", _both(lambda vi: vi.delete_flow("stale-1"), _is_gone), 1, _deleted),
    Operation("create", "PUT", _both(lambda vi: vi.create_flow(SPEC), _is_stored), 1, _created),
    Operation("update", "PATCH", _both(lambda vi: vi.update_flow("stale-1", spec=SPEC), _is_stored), 1, _written),
    Operation("replace", "PUT", _both(lambda vi: vi.replace_flow("stale-1", SPEC), _is_stored), 1, _written),
)

# --- tasks and a trigger -------------------------------------------------------------------------------------------


def _gate(setup: Setup) -> str:
    """Wait on the triggerer for the last flow of the listing, up to a day."""
    from vi_airflow_provider.gates.outcome import WaitOutcome, read_event
    from vi_airflow_provider.triggers.flows import FlowTrigger

    trigger = FlowTrigger(
        vi_conn_id="vi_default",
        gate={"target": {"flow_name": STALE[0]}, "condition": {}},
        deadline=BEGIN + 86_400.0,
        max_failures=3,
    )

    async def events() -> list[Any]:
        return [event async for event in trigger.run()]

    (event,) = setup.runner.run(events())
    ended = read_event(event.payload)
    if ended.error is not None:
        raise ended.error
    if ended.outcome is WaitOutcome.OPEN:
        assert ended.flow is not None
        assert ended.flow["flow_id"] == STALE[0]
        return OK
    return ended.outcome.value


#: Start of the virtual time of gates, in seconds since the epoch.
BEGIN: Final = 1_800_000_000.0


def virtual_time(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace sleeping by recorded delays in clients that hooks create and in gates, whose clock advances with them."""
    from vi_airflow_provider.gates import timers
    from vi_airflow_provider.triggers import flows

    for client, record in ((ViClient, setup.sleep), (AsyncViClient, setup.sleep_async)):
        defaults: Any = client.__init__.__kwdefaults__
        monkeypatch.setitem(defaults, "sleep", record)
    now = [BEGIN]

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        await setup.sleep_async(seconds)

    monkeypatch.setattr(timers, "sleep", sleep)
    monkeypatch.setattr(flows, "time", SimpleNamespace(time=lambda: now[0]))
    # Consecutive polls must not share a response.
    monkeypatch.setattr(flows, "MAX_SPREAD", 0.0)


def _run(task: Any) -> Any:
    from tests.tasks import TaskInstance, plain

    return plain(task.execute({"ti": TaskInstance()}))


def _export(setup: Setup) -> str:
    """Export over an earlier export, which must survive a failure."""
    from vi_airflow_provider.audit.reader import read_export, verify
    from vi_airflow_provider.operators.flows import ExportFlowsOperator

    target = setup.folder / "flows.jsonl"
    old = _old_export()
    for name, content in old.items():
        (setup.folder / name).write_bytes(content)
    try:
        _run(ExportFlowsOperator(task_id="export", destination=str(target)))
    except ViError:
        assert {path.name: path.read_bytes() for path in setup.folder.iterdir()} == old
        raise
    assert {path.name for path in setup.folder.iterdir()} == old.keys()
    verify(str(target))
    ids = [flow.flow_id for flow in read_export(str(target))]
    assert len(ids) == len(set(ids))
    assert set(ids) >= set(FLOWS) - set(DELETED_BY_OTHERS)
    return OK


@cache
def _old_export() -> dict[str, bytes]:
    import tempfile

    from tests.unit.audit.support import contents, export, flow

    with tempfile.TemporaryDirectory() as folder:
        export(f"{folder}/flows.jsonl", [flow("old")])
        return contents(Path(folder))


def _prune(setup: Setup) -> str:
    """Delete the stale flows one by one; each deleted flow must be in the archive."""
    from tests.tasks import TaskInstance
    from tests.unit.cleanup.support import archived
    from vi_airflow_provider.cleanup.report import PruneError
    from vi_airflow_provider.operators.flows import PruneFlowsOperator

    task = PruneFlowsOperator(
        task_id="prune",
        older_than="P90D",
        name_pattern="stale-*",
        dry_run=False,
        max_delete_fraction=1.0,
        archive_to=setup.folder.as_uri(),
        concurrency=1,
    )
    ti = TaskInstance()
    before = setup.flows
    result = OK
    context: Any = {"ti": ti}
    try:
        report = task.execute(context)
    except PruneError:
        report = ti.pushed["report"]
    finally:
        gone = before.keys() - setup.flows.keys() - set(DELETED_BY_OTHERS)
        kept = archived(setup.folder)
        assert gone <= kept.keys() <= set(STALE)
        assert all(kept[flow_id].to_wire() == before[flow_id] for flow_id in gone)
    failed = {flow["reason"].partition(":")[0] for flow in report["outcomes"] if flow["outcome"] == "failed"}
    if failed:
        (result,) = failed
    elif report["busy"]:
        result = "ViConflictError"
    assert report["deleted"] + report["busy"] + report["failed"] == len(before.keys() & set(STALE))
    return result


def _pruned(before: Flows, after: Flows) -> int:
    differs = _differs(before, after)
    assert differs <= {*STALE, *DELETED_BY_OTHERS} >= before.keys() - after.keys()
    assert not differs & after.keys()
    return len(differs & set(STALE))


def _restore(setup: Setup) -> str:
    """Restore two flows; a third one of the archive still exists."""
    from vi_airflow_provider.operators.flows import RestoreFlowsOperator

    archive = setup.folder / "saved.flows.jsonl"
    for name, content in _archive().items():
        (setup.folder / name).write_bytes(content)
    written = _run(RestoreFlowsOperator(task_id="restore", archive=str(archive)))
    assert set(written) <= set(GONE)
    return OK


@cache
def _archive() -> dict[str, bytes]:
    import tempfile

    from vi_airflow_provider.api.canonical import canonical_json
    from vi_airflow_provider.cleanup.archive import write_archive

    kept = wire_flow(flowId=KEPT, spec=wire_spec(name=KEPT), metadata__attributes={})
    flows = [*(wire_flow(flowId=flow_id) for flow_id in GONE), kept]
    documents = {flow["flowId"]: canonical_json(flow) for flow in flows}
    with tempfile.TemporaryDirectory() as folder:
        write_archive(folder, "saved", documents, DEFAULT_ORGANIZATION_ID, {})
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _restored(before: Flows, after: Flows) -> int:
    differs = _differs(before, after)
    assert differs <= set(GONE)
    assert all(after[flow_id]["spec"] == wire_flow()["spec"] for flow_id in differs)
    return len(differs)


_ONLY_SYNC: Final = "ViClient"
TASKS: Final = (
    Operation("gate", "GET", {"AsyncViClient": _gate}, lists=True, polls=True),
    Operation("export", "GET", {_ONLY_SYNC: _export}, lists=True),
    Operation("prune, listing", "GET", {_ONLY_SYNC: _prune}, 3, _pruned, lists=True),
    Operation("prune, deleting", "DELETE", {"AsyncViClient": _prune}, 3, _pruned, skip=3, continues=True, rereads=True),
    Operation("restore, reading", "GET", {_ONLY_SYNC: _restore}, 2, _restored),
    Operation("restore, writing", "PUT", {_ONLY_SYNC: _restore}, 2, _restored, skip=3, rereads=True),
)
OPERATIONS: Final = (*CALLS, *TASKS)
