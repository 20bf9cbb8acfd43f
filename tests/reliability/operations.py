"""What is asked of Vi while something goes wrong, and how to tell what came of it.

Six are calls of the clients, and both clients make them. The others are tasks and a trigger, as Airflow runs them.
Each runs on a stage, changes the flows on it in so many steps, and is checked to have changed nothing else.
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

    from tests.reliability.fault_proxy import Line

DAY_MS: Final = 86_400_000
OK: Final = "ok"
#: A listing hands the caller what the server says, and here it says it twice.
TWICE: Final = "twice"

STALE: Final = ("stale-1", "stale-2", "stale-3")
#: In the order in which they are created, so a listing (newest first, two a page) has them the other way round.
FLOWS: Final = ("stale-1", "fresh-1", "stale-2", "fresh-2", "stale-3", "fresh-3")
#: In an archive, and not on the server.
GONE: Final = ("gone-1", "gone-2")
#: In the archive, too, and on the server as it is there.
KEPT: Final = "stale-1"
SPEC: Final = wire_spec(name="written")

Flows = Mapping[str, Mapping[str, Any]]


def new_backend() -> Backend:
    """Return an emulator's backend with the flows, all of them a year old."""
    times = iter(range(len(FLOWS)))
    backend = Backend(Settings(flows=0), clock=lambda: 1_700_000_000_000 + next(times, 10) * DAY_MS)
    for flow_id in FLOWS:
        backend.store.put_flow(flow_id, {"spec": wire_spec(name=flow_id)})
    return backend


@dataclass
class Stage:
    """Where an operation runs: a backend behind a line, a connection to it, a folder, and what it slept."""

    backend: Backend
    line: Line
    extra: Mapping[str, Any]
    folder: Path
    runner: asyncio.Runner
    slept: list[float] = field(default_factory=list)

    @property
    def settings(self) -> ViSettings:
        who = {"organization_id": DEFAULT_ORGANIZATION_ID, "secret_key": DEFAULT_SECRET_KEY}
        return ViSettings(endpoint=self.line.url, **who, **self.extra)

    @property
    def connection(self) -> str:
        """The value of ``AIRFLOW_CONN_VI_DEFAULT``."""
        fields = {"host": self.line.url, "login": DEFAULT_ORGANIZATION_ID, "password": DEFAULT_SECRET_KEY}
        return json.dumps({"conn_type": "vi", **fields, "extra": dict(self.extra)})

    @property
    def flows(self) -> Flows:
        """All flows that there are, without those of others."""
        store = self.backend.store
        return {
            flow_id: store.get_flow(flow_id)
            for flow_id in store.flow_ids()
            if not flow_id.startswith(CREATED_BY_OTHERS)
        }

    def sleep(self, seconds: float) -> None:
        """Wait without waiting."""
        self.slept.append(seconds)
        self.line.pause()

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


@dataclass(frozen=True)
class Operation:
    """Something to do, and how to tell what came of it.

    :param name: column of the table
    :param method: of the requests that a fault hits
    :param ways: who can do it; each returns ``OK``, or in one word what else came of it, or raises a ``ViError``
    :param steps: changes that it makes when all goes well
    :param done: how many of them were made; given the flows before and after, of which nothing else may differ
    :param lists: are the requests that a fault hits pages of a listing?
    :param skip: requests before the first that a fault hits
    :param each: does it go on with the next step when one has failed?
    :param looks_again: does it repeat by itself what has failed?
    """

    name: str
    method: str
    ways: Mapping[str, Callable[[Stage], str]]
    steps: int = 0
    done: Callable[[Flows, Flows], int] = lambda before, after: 0
    lists: bool = False
    skip: int = 0
    each: bool = False
    looks_again: bool = False


# --- calls of the clients ------------------------------------------------------------------------------------------


def _both(ask: Callable[[Any], Any], right: Callable[[Any, Stage], str]) -> dict[str, Callable[[Stage], str]]:
    def sync(stage: Stage) -> str:
        with ViClient(stage.settings, sleep=stage.sleep) as vi:
            value = ask(vi)
            return right(list(value) if isinstance(value, Iterator) else value, stage)

    async def on_the_loop(stage: Stage) -> str:
        async with AsyncViClient(stage.settings, sleep=stage.sleep_async) as vi:
            value = ask(vi)
            got = [flow async for flow in value] if isinstance(value, AsyncIterator) else await value
            return right(got, stage)

    return {"ViClient": sync, "AsyncViClient": lambda stage: stage.runner.run(on_the_loop(stage))}


def _all_listed(flows: list[Flow], _: Stage) -> str:
    # Of flows that come and go meanwhile, no listing can say which ones it has.
    ids = [flow.flow_id for flow in flows if not flow.flow_id.startswith(CREATED_BY_OTHERS)]
    steady = [flow_id for flow_id in reversed(FLOWS) if flow_id in ids or flow_id not in DELETED_BY_OTHERS]
    if ids == steady:
        return OK
    assert list(dict.fromkeys(ids)) == steady
    return TWICE


def _is_there(flow: Flow, stage: Stage) -> str:
    assert flow.to_wire() == stage.backend.store.get_flow(flow.flow_id)
    return OK


def _is_gone(deleted: DeletedFlow, _: Stage) -> str:
    assert deleted == DeletedFlow(id="stale-1", deleted=True, already_absent=False)
    return OK


def _differs(before: Flows, after: Flows) -> set[str]:
    return {flow_id for flow_id in before.keys() | after.keys() if before.get(flow_id) != after.get(flow_id)}


def _deleted(before: Flows, after: Flows) -> int:
    assert _differs(before, after) <= {"stale-1"} >= before.keys() - after.keys()
    return len(before) - len(after)


def _created(before: Flows, after: Flows) -> int:
    """A create that is tried again must not make two."""
    new = after.keys() - before.keys()
    assert _differs(before, after) == new
    assert [after[flow_id]["spec"] for flow_id in new] in ([], [SPEC])
    return len(new)


def _written(before: Flows, after: Flows) -> int:
    differs = _differs(before, after)
    assert differs <= {"stale-1"}
    for flow_id in differs:
        assert after[flow_id]["spec"] == SPEC | {"trainingProject": before[flow_id]["spec"]["trainingProject"]}
        # Once, however often it was sent.
        assert after[flow_id]["metadata"]["generation"] == before[flow_id]["metadata"]["generation"] + 1
    return len(differs)


CALLS: Final = (
    Operation("list", "GET", _both(lambda vi: vi.list_flows(), _all_listed), lists=True),
    Operation("get", "GET", _both(lambda vi: vi.get_flow("stale-1"), _is_there)),
    Operation("delete", "DELETE", _both(lambda vi: vi.delete_flow("stale-1"), _is_gone), 1, _deleted),
    Operation("create", "PUT", _both(lambda vi: vi.create_flow(SPEC), _is_there), 1, _created),
    Operation("update", "PATCH", _both(lambda vi: vi.update_flow("stale-1", spec=SPEC), _is_there), 1, _written),
    Operation("replace", "PUT", _both(lambda vi: vi.replace_flow("stale-1", SPEC), _is_there), 1, _written),
)

# --- tasks and a trigger -------------------------------------------------------------------------------------------


def _gate(stage: Stage) -> str:
    """Wait on the triggerer for the flow that is the last one of the listing, for a day."""
    from vi_airflow_provider.gates.outcome import Outcome, read_event
    from vi_airflow_provider.triggers.flows import FlowTrigger

    trigger = FlowTrigger(
        vi_conn_id="vi_default",
        gate={"target": {"flow_name": STALE[0]}, "condition": {}},
        deadline=BEGIN + 86_400.0,
        max_failures=3,
    )

    async def events() -> list[Any]:
        return [event async for event in trigger.run()]

    (event,) = stage.runner.run(events())
    ended = read_event(event.payload)
    if ended.error is not None:
        raise ended.error
    if ended.outcome is Outcome.OPEN:
        assert ended.flow is not None
        assert ended.flow["flow_id"] == STALE[0]
        return OK
    return ended.outcome.value


#: When the gates begin to wait, in seconds since the epoch.
BEGIN: Final = 1_800_000_000.0


def virtual_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait: neither clients that are made by hooks, nor gates, for which time goes on as they sleep."""
    from vi_airflow_provider.gates import timers
    from vi_airflow_provider.triggers import flows

    for client, sleep in ((ViClient, stage.sleep), (AsyncViClient, stage.sleep_async)):
        monkeypatch.setitem(client.__init__.__kwdefaults__, "sleep", sleep)
    now = [BEGIN]

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        await stage.sleep_async(seconds)

    monkeypatch.setattr(timers, "sleep", sleep)
    monkeypatch.setattr(flows, "time", SimpleNamespace(time=lambda: now[0]))
    # Two looks follow each other at once, and shall not share an answer.
    monkeypatch.setattr(flows, "MAX_SPREAD", 0.0)


def _run(task: Any) -> Any:
    from tests.tasks import TaskInstance, plain

    return plain(task.execute({"ti": TaskInstance()}))


def _export(stage: Stage) -> str:
    """Export over an earlier export, of which nothing may be lost."""
    from vi_airflow_provider.audit.reader import read_export, verify
    from vi_airflow_provider.operators.flows import ExportFlowsOperator

    target = stage.folder / "flows.jsonl"
    old = _old_export()
    for name, content in old.items():
        (stage.folder / name).write_bytes(content)
    try:
        _run(ExportFlowsOperator(task_id="export", destination=str(target)))
    except ViError:
        assert {path.name: path.read_bytes() for path in stage.folder.iterdir()} == old
        raise
    assert {path.name for path in stage.folder.iterdir()} == old.keys()
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


def _prune(stage: Stage) -> str:
    """Delete the stale flows one after the other; what is gone must be in the archive."""
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
        archive_to=stage.folder.as_uri(),
        concurrency=1,
    )
    ti = TaskInstance()
    before = stage.flows
    said = OK
    try:
        report = task.execute({"ti": ti})
    except PruneError:
        report = ti.pushed["report"]
    finally:
        gone = before.keys() - stage.flows.keys() - set(DELETED_BY_OTHERS)
        kept = archived(stage.folder)
        assert gone <= kept.keys() <= set(STALE)
        assert all(kept[flow_id].to_wire() == before[flow_id] for flow_id in gone)
    failed = {outcome["reason"].partition(":")[0] for outcome in report["outcomes"] if outcome["outcome"] == "failed"}
    if failed:
        (said,) = failed
    elif report["busy"]:
        said = "ViConflictError"
    assert report["deleted"] + report["busy"] + report["failed"] == len(before.keys() & set(STALE))
    return said


def _pruned(before: Flows, after: Flows) -> int:
    differs = _differs(before, after)
    assert differs <= {*STALE, *DELETED_BY_OTHERS} >= before.keys() - after.keys()
    assert not differs & after.keys()
    return len(differs & set(STALE))


def _restore(stage: Stage) -> str:
    """Bring two flows back; a third one of the archive is there already."""
    from vi_airflow_provider.operators.flows import RestoreFlowsOperator

    archive = stage.folder / "saved.flows.jsonl"
    for name, content in _archive().items():
        (stage.folder / name).write_bytes(content)
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
    Operation("gate", "GET", {"AsyncViClient": _gate}, lists=True, looks_again=True),
    Operation("export", "GET", {_ONLY_SYNC: _export}, lists=True),
    Operation("prune, listing", "GET", {_ONLY_SYNC: _prune}, 3, _pruned, lists=True),
    Operation("prune, deleting", "DELETE", {"AsyncViClient": _prune}, 3, _pruned, skip=3, each=True),
    Operation("restore, looking", "GET", {_ONLY_SYNC: _restore}, 2, _restored),
    Operation("restore, writing", "PUT", {_ONLY_SYNC: _restore}, 2, _restored, skip=3),
)
OPERATIONS: Final = (*CALLS, *TASKS)
