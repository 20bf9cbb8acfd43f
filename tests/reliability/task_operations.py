"""The tasks and the trigger of the fault matrix, as Airflow runs them; see ``operations``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from tests.documents import wire_flow, wire_run, wire_spec
from tests.reliability.faults import DELETED_BY_OTHERS
from tests.reliability.operations import (
    ACTIVE,
    FLOWS,
    GONE,
    KEPT,
    OK,
    RUNS,
    STALE,
    Documents,
    Operation,
    Setup,
    differs,
    run_key,
)
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.models import Run
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from vi_airflow_provider.audit.subject import Subject


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
        assert ended.found is not None
        assert ended.found["flow_id"] == STALE[0]
        return OK
    return ended.outcome.value


#: Start of the virtual time of gates, in seconds since the epoch.
BEGIN: Final = 1_800_000_000.0


def virtual_time(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace sleeping by recorded delays in clients that hooks create and in gates, whose clock advances with them."""
    from vi_airflow_provider.gates import timers
    from vi_airflow_provider.triggers import gate

    for client, record in ((ViClient, setup.sleep), (AsyncViClient, setup.sleep_async)):
        defaults: Any = client.__init__.__kwdefaults__
        monkeypatch.setitem(defaults, "sleep", record)
    now = [BEGIN]

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        await setup.sleep_async(seconds)

    monkeypatch.setattr(timers, "sleep", sleep)
    monkeypatch.setattr(gate, "time", SimpleNamespace(time=lambda: now[0]))
    # Consecutive polls must not share a response.
    monkeypatch.setattr(gate, "MAX_SPREAD", 0.0)


def _run(task: Any) -> Any:
    from tests.tasks import TaskInstance, plain

    return plain(task.execute({"ti": TaskInstance()}))


def _export(setup: Setup) -> str:
    """Export the flows over an earlier export."""
    from vi_airflow_provider.audit.subject import FLOWS as SUBJECT
    from vi_airflow_provider.operators.flows import ExportFlowsOperator

    return _export_over(_old_export(), SUBJECT, ExportFlowsOperator, setup, FLOWS)


def _export_runs(setup: Setup) -> str:
    """Export the runs with their checkpoints over an earlier export."""
    from vi_airflow_provider.audit.subject import RUNS as SUBJECT
    from vi_airflow_provider.operators.runs import ExportRunsOperator

    return _export_over(_old_run_export(), SUBJECT, ExportRunsOperator, setup, (*RUNS, ACTIVE))


def _export_over(old: dict[str, bytes], subject: Subject[Any], task: Any, setup: Setup, existing: Sequence[str]) -> str:
    """Export over an earlier export, which must survive a failure."""
    from vi_airflow_provider.audit.reader import read_documents
    from vi_airflow_provider.audit.verification import verify

    target = setup.folder / f"{subject.noun}s.jsonl"
    for name, content in old.items():
        (setup.folder / name).write_bytes(content)
    try:
        _run(task(task_id="export", destination=str(target)))
    except ViError:
        assert {path.name: path.read_bytes() for path in setup.folder.iterdir()} == old
        raise
    assert {path.name for path in setup.folder.iterdir()} == old.keys()
    verify(str(target), subject, every_document=True)
    ids = [subject.id_of(document) for document in read_documents(str(target), subject)]
    assert len(ids) == len(set(ids))
    assert set(ids) >= set(existing) - set(DELETED_BY_OTHERS)
    return OK


@cache
def _old_export() -> dict[str, bytes]:
    import tempfile

    from tests.unit.audit.support import contents, export, flow

    with tempfile.TemporaryDirectory() as folder:
        export(f"{folder}/flows.jsonl", [flow("old")])
        return contents(Path(folder))


@cache
def _old_run_export() -> dict[str, bytes]:
    import tempfile

    from tests.unit.audit.support import contents, export
    from vi_airflow_provider.audit.run_record import record_run
    from vi_airflow_provider.audit.subject import RUNS as SUBJECT

    with tempfile.TemporaryDirectory() as folder:
        export(f"{folder}/runs.jsonl", [record_run(Run.model_validate(wire_run(runId="old")), [])], subject=SUBJECT)
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


def _prune_runs(setup: Setup) -> str:
    """Delete the stale runs one by one; the record of each deleted run must be in the archive."""
    from tests.tasks import TaskInstance
    from tests.unit.cleanup.run_support import records
    from vi_airflow_provider.cleanup.report import PruneError
    from vi_airflow_provider.operators.runs import PruneRunsOperator

    task = PruneRunsOperator(
        task_id="prune_runs",
        older_than="P90D",
        protect_ids=[run_id for run_id in RUNS if run_id not in STALE],
        dry_run=False,
        max_delete_fraction=1.0,
        archive_to=setup.folder.as_uri(),
        concurrency=1,
    )
    ti = TaskInstance()
    before = set(setup.backend.store.run_ids())
    context: Any = {"ti": ti}
    try:
        report = task.execute(context)
    except PruneError:
        report = ti.pushed["report"]
    finally:
        gone = before - set(setup.backend.store.run_ids()) - set(DELETED_BY_OTHERS)
        assert gone <= records(setup.folder).keys() <= set(STALE)
    failed = [run["reason"] for run in report["outcomes"] if run["outcome"] == "failed"]
    if failed:
        (error,) = {reason.removeprefix("it could not be archived: ").partition(":")[0] for reason in failed}
        return str(error)
    return "ViConflictError" if report["busy"] else OK


def _runs_pruned(before: Documents, after: Documents) -> int:
    stale, others = {run_key(run_id) for run_id in STALE}, {run_key(run_id) for run_id in DELETED_BY_OTHERS}
    changed = differs(before, after)
    assert changed <= stale | others
    assert not changed & after.keys()
    return len(changed & stale)


def _kill_overdue(setup: Setup) -> str:
    """Kill the active run, whose lease has expired."""
    from tests.tasks import TaskInstance
    from vi_airflow_provider.operators.runs import KillOverdueRunsOperator
    from vi_airflow_provider.training.overdue import OverdueError

    ti = TaskInstance()
    context: Any = {"ti": ti}
    try:
        report = KillOverdueRunsOperator(task_id="kill_overdue", grace=0, dry_run=False).execute(context)
    except OverdueError:
        report = ti.pushed["report"]
    assert {outcome["run_id"] for outcome in report["outcomes"]} <= {ACTIVE}  # none, if an earlier try has killed it
    failed = {outcome["reason"].partition(":")[0] for outcome in report["outcomes"] if outcome["outcome"] != "killed"}
    return str(min(failed, default=OK))


def _overdue_killed(before: Documents, after: Documents) -> int:
    changed = differs(before, after) - {run_key(run_id) for run_id in DELETED_BY_OTHERS}
    assert changed <= {run_key(ACTIVE)}
    assert all(after[key]["spec"]["killedAt"] for key in changed)
    return len(changed)


def _pruned(before: Documents, after: Documents) -> int:
    changed = differs(before, after)
    assert changed <= {*STALE, *DELETED_BY_OTHERS} >= before.keys() - after.keys()
    assert not changed & after.keys()
    return len(changed & set(STALE))


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


def _restored(before: Documents, after: Documents) -> int:
    changed = differs(before, after)
    assert changed <= set(GONE)
    assert all(after[flow_id]["spec"] == wire_flow()["spec"] for flow_id in changed)
    return len(changed)


_ONLY_SYNC: Final = "ViClient"
FLOW_TASKS: Final = (
    Operation("gate", "GET", {"AsyncViClient": _gate}, lists=True, polls=True),
    Operation("export", "GET", {_ONLY_SYNC: _export}, lists=True),
    Operation("export runs", "GET", {_ONLY_SYNC: _export_runs}, lists=True),
    Operation("prune, listing", "GET", {_ONLY_SYNC: _prune}, 3, _pruned, lists=True),
    Operation("prune, deleting", "DELETE", {"AsyncViClient": _prune}, 3, _pruned, skip=3, continues=True, rereads=True),
    Operation("prune runs, listing", "GET", {_ONLY_SYNC: _prune_runs}, 3, _runs_pruned, lists=True),
    Operation(
        "prune runs, deleting",
        "DELETE",
        {"AsyncViClient": _prune_runs},
        3,
        _runs_pruned,
        skip=13,
        continues=True,
        rereads=True,
    ),
    Operation("kill overdue, listing", "GET", {_ONLY_SYNC: _kill_overdue}, 1, _overdue_killed, lists=True),
    Operation("kill overdue, killing", "PATCH", {_ONLY_SYNC: _kill_overdue}, 1, _overdue_killed, skip=4, rereads=True),
    Operation("restore, reading", "GET", {_ONLY_SYNC: _restore}, 2, _restored),
    Operation("restore, writing", "PUT", {_ONLY_SYNC: _restore}, 2, _restored, skip=3, rereads=True),
)
