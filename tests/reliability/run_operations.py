"""The tasks and triggers of the fault matrix that start runs, wait for them or read what they produced."""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from tests.reliability.faults import DELETED_BY_OTHERS
from tests.reliability.operations import (
    ACTIVE,
    LEASE,
    OK,
    RUNS,
    SPEC,
    WAITS,
    Documents,
    Operation,
    Setup,
    differs,
)
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.protocol.download import ContentVersion
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

#: A run that has ended, with one checkpoint, and that no other client deletes.
ENDED: Final = RUNS[0]
#: Pauses after which a watcher that reports nothing is taken to wait on.
_PATIENCE: Final = 12
_CONTENT: Final = b"weights"
#: What was at a destination before the task.
_OLD: Final = b"old"


class _StorageHost:
    """Stands for a download without faults, which ``test_download`` covers with faults: it is of another host."""

    def __init__(self, _: Any) -> None:
        """Take the settings of the connection."""

    def download(self, new_url: Callable[[], Any], sink: Any) -> None:
        """Fill the sink with a content, once there is a URL for it."""
        assert new_url()
        sink.begin(ContentVersion(None, len(_CONTENT)))
        sink.buffer()[: len(_CONTENT)] = _CONTENT
        sink.write(len(_CONTENT))


class _StillWaitingError(Exception):
    """A watcher waits on, as it should during an outage."""


def virtual_run_time(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace sleeping by recorded delays in what waits for runs."""
    from vi_airflow_provider.sensors import base
    from vi_airflow_provider.training import artifacts, starting
    from vi_airflow_provider.triggers import change_events, runs

    pauses = 0

    async def sleep(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses > _PATIENCE:
            raise _StillWaitingError
        await setup.sleep_async(seconds)

    monkeypatch.setattr(base, "time", SimpleNamespace(time=time.time, sleep=setup.sleep))
    monkeypatch.setattr(starting, "_KILL_POLL", 0.0)
    monkeypatch.setattr(runs, "MAX_SPREAD", 0.0)  # consecutive polls must not share a response
    monkeypatch.setattr(artifacts, "Downloader", _StorageHost)
    monkeypatch.setattr(
        change_events, "asyncio", SimpleNamespace(sleep=sleep, get_running_loop=asyncio.get_running_loop)
    )


def _run(task: Any) -> Any:
    from tests.tasks import TaskInstance, plain

    return plain(task.execute({"ti": TaskInstance()}))


def _events(setup: Setup, trigger: Any) -> list[Any]:
    async def events() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    return setup.runner.run(events())


# --- starting and waiting ------------------------------------------------------------------------------------------


def _start(setup: Setup) -> str:
    """Start a run by a task; a retry finds it."""
    from tests.tries import Try, execute

    execute(None, Try(), flow=SPEC, wait_for_completion=False)
    return OK


def _started(before: Documents, after: Documents) -> int:
    """One run, paid for once, whatever was lost and tried again."""
    new = after.keys() - before.keys()
    assert differs(before, after) == new
    assert [(after[key]["starts"], after[key]["spec"]["flow"]) for key in new] in ([], [(1, SPEC)])
    return len(new)


def _wait_for_run(setup: Setup) -> str:
    """Wait on the triggerer for a run that a task has started."""
    from vi_airflow_provider.training.waiting import RunEnd, read_event
    from vi_airflow_provider.triggers.runs import RunTrigger

    (event,) = _events(setup, RunTrigger(vi_conn_id="vi_default", run_id=ENDED, owner="3/1"))
    end = read_event(event)
    if end.error is not None:
        raise end.error
    assert end.outcome is RunEnd.ENDED
    return OK


def _run_gate(setup: Setup) -> str:
    """Wait on the triggerer until the newest run with an attribute is active."""
    from vi_airflow_provider.gates.outcome import WaitOutcome, read_event
    from vi_airflow_provider.triggers.run_states import RunStateTrigger

    gate = {"target": {"attributes": list(LEASE.items())}, "condition": {"states": ["queued", "running"]}}
    (event,) = _events(setup, RunStateTrigger(vi_conn_id="vi_default", gate=gate, max_failures=3))
    ended = read_event(event, "run")
    if ended.error is not None:
        raise ended.error
    assert ended.outcome is WaitOutcome.OPEN
    assert ended.found is not None
    assert ended.found["run_id"] == ACTIVE
    return OK


def _sensor(setup: Setup) -> str:
    """Wait in a worker until a run has succeeded."""
    from vi_airflow_provider.sensors.runs import RunStateSensor

    assert _run(RunStateSensor(task_id="sensor", run_id=ENDED, max_failures=3))["outputs"] == 1
    return OK


class _Store:
    """A store of an asset that has seen an organization without runs."""

    async def aget(self, _: str) -> Any:
        return {"organization_id": DEFAULT_ORGANIZATION_ID, "versions": {}, "reported": []}

    async def aset(self, _: str, value: Any) -> None:
        json.dumps(value)


def _watch(setup: Setup) -> str:
    """Watch for runs, and report those that are there."""
    from vi_airflow_provider.triggers.events import RunEventTrigger

    trigger: Any = RunEventTrigger(events=["started"])
    trigger.asset_state_store = _Store()

    async def first() -> Any:
        return (await anext(aiter(trigger.run()))).payload

    try:
        payload = setup.runner.run(first())
    except _StillWaitingError:
        return WAITS
    reported = [change["run_id"] for change in payload["changes"]]
    assert len(reported) == len(set(reported))
    assert set(reported) >= {*RUNS, ACTIVE} - {*DELETED_BY_OTHERS}
    return OK


# --- what a run has produced ---------------------------------------------------------------------------------------


def _written(setup: Setup, make: Callable[[str], Any], name: str) -> str:
    """Write a file by a task; what was there before must survive a failure."""
    target = setup.folder / name
    target.write_bytes(_OLD)
    try:
        result = _run(make(str(target)))
    except ViError:
        assert target.read_bytes() == _OLD
        assert [path for path in setup.folder.iterdir() if path != target] == []
        raise
    assert _sha256(target) == result["sha256"]
    return OK


def _sha256(path: Path) -> str:
    from hashlib import sha256

    return sha256(path.read_bytes()).hexdigest()


def _outputs(setup: Setup) -> str:
    from vi_airflow_provider.operators.runs import GetRunOutputsOperator

    make = partial(GetRunOutputsOperator, task_id="outputs", run_id=ENDED)
    return _written(setup, lambda target: make(destination=target), "outputs.jsonl")


def _model(setup: Setup) -> str:
    from vi_airflow_provider.operators.runs import ExportModelOperator

    make = partial(ExportModelOperator, task_id="model", run_id=ENDED)
    return _written(setup, lambda target: make(destination=target), "model.bin")


def _log(setup: Setup) -> str:
    from vi_airflow_provider.operators.runs import ExportRunLogsOperator

    make = partial(ExportRunLogsOperator, task_id="log", run_id=ENDED)
    return _written(setup, lambda target: make(destination=target), "run.log")


_SYNC: Final = "ViClient"
_ASYNC: Final = "AsyncViClient"
#: The documents of these have no fixed kind.
_ANY_KIND: Final = frozenset({"wrong `kind`"})
RUN_TASKS: Final = (
    Operation("start task", "PUT", {_SYNC: _start}, 1, _started, rereads=True, confirms=True),
    Operation("start, waiting", "GET", {_ASYNC: _wait_for_run}, polls=True),
    Operation("run gate", "GET", {_ASYNC: _run_gate}, lists=True, polls=True),
    Operation("run sensor", "GET", {_SYNC: _sensor}, polls=True),
    Operation("run events", "GET", {_ASYNC: _watch}, lists=True, polls=True, endless=True),
    Operation("run outputs", "GET", {_SYNC: _outputs}, skip=1, accepts=_ANY_KIND),
    Operation("export model", "GET", {_SYNC: _model}, skip=1, accepts=_ANY_KIND),
    Operation("export log", "GET", {_SYNC: _log}, skip=1, accepts=_ANY_KIND),
)
