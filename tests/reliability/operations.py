"""The calls of the fault matrix: what they do, and how to verify what they did. Both clients make them.

Each operation has a set-up of its own, makes a known number of changes, and is checked to have changed nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.documents import wire_spec
from tests.reliability.faults import CREATED_BY_OTHERS, DELETED_BY_OTHERS
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.models import DeletedFlow, DeletedRun, Flow, Run
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID, DEFAULT_SECRET_KEY, Settings

if TYPE_CHECKING:
    from tests.reliability.fault_proxy import FaultProxy

DAY_MS: Final = 86_400_000
OK: Final = "ok"
#: A listing returns what the server sends, which contains a flow twice.
TWICE: Final = "twice"
#: A watcher waits on, however long the fault lasts.
WAITS: Final = "waits"

STALE: Final = ("stale-1", "stale-2", "stale-3")
#: In the order of creation; a listing (newest first, two per page) has the reverse order.
FLOWS: Final = ("stale-1", "fresh-1", "stale-2", "fresh-2", "stale-3", "fresh-3")
#: In an archive, but not on the server.
GONE: Final = ("gone-1", "gone-2")
#: In the archive, and unchanged on the server.
KEPT: Final = "stale-1"
SPEC: Final = wire_spec(name="written")

#: Runs that have ended; a listing has the active one first.
RUNS: Final = FLOWS
ACTIVE: Final = "active"
#: The lease of the active run has expired.
LEASE: Final = {"vi_airflow.deadline": "1700000000000"}
#: The run that is started.
STARTED: Final = "started"

#: The flows by their ids, and the runs by their keys (``run_key``).
Documents = Mapping[str, Mapping[str, Any]]


def run_key(run_id: str) -> str:
    """Return the key of a run in ``Documents``."""
    return f"runs/{run_id}"


def new_backend() -> Backend:
    """Return a backend of the emulator with the flows and runs, all but the active run years old."""
    now = [1_700_000_000_000]
    backend = Backend(Settings(flows=0), clock=lambda: now[0])
    backend.store.runs.plans.add(checkpoints=1)  # on one page, so that faults of pages concern the listing of the runs
    for flow_id in FLOWS:
        backend.store.put_flow(flow_id, {"spec": wire_spec(name=flow_id)})
        backend.store.put_run(flow_id, {"spec": {"flow": wire_spec(name="trained")}})
        now[0] += DAY_MS
    backend.store.put_run(ACTIVE, {"spec": {"flow": wire_spec(name="trained")}, "metadata": {"attributes": LEASE}})
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
    def flows(self) -> Documents:
        """All flows on the server, without those that the other client creates."""
        store = self.backend.store
        return {flow_id: store.get_flow(flow_id) for flow_id in _without_others(store.flow_ids())}

    @property
    def documents(self) -> Documents:
        """The flows, and the runs with the number of their starts, without those that the other client creates."""
        store = self.backend.store
        bill = store.bill()
        runs = {
            run_key(run_id): {**store.get_run(run_id), "starts": bill[run_id]["starts"]}
            for run_id in _without_others(store.run_ids())
        }
        return {**self.flows, **runs}

    def sleep(self, seconds: float) -> None:
        """Record a delay instead of waiting."""
        self.delays.append(seconds)
        self.proxy.pause()

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


def _without_others(ids: list[str]) -> list[str]:
    return [document_id for document_id in ids if not document_id.startswith(CREATED_BY_OTHERS)]


@dataclass(frozen=True)
class Operation:
    """An operation of the matrix.

    :param name: column of the table
    :param method: method of the requests that a fault affects
    :param clients: how to run it with each client; returns ``OK`` or a one-word outcome, or raises a ``ViError``
    :param changes: number of changes that it makes if it succeeds
    :param count_changes: counts the changes, given the documents before and after; asserts that nothing else differs
    :param lists: are the affected requests pages of a listing?
    :param skip: number of requests before the first affected one
    :param continues: does it continue with the next change after a failed one?
    :param polls: does it repeat a failed request on its own?
    :param rereads: does it read the document again before it repeats a write?
    :param confirms: does it read the document after every failed write that may have been applied?
    :param endless: does it wait for the end of the fault, whenever that is?
    :param accepts: names of the faults that do no harm, because the contract of its documents is open
    """

    name: str
    method: str
    clients: Mapping[str, Callable[[Setup], str]]
    changes: int = 0
    count_changes: Callable[[Documents, Documents], int] = lambda before, after: 0
    lists: bool = False
    skip: int = 0
    continues: bool = False
    polls: bool = False
    rereads: bool = False
    confirms: bool = False
    endless: bool = False
    accepts: frozenset[str] = frozenset()


# --- calls of the clients ------------------------------------------------------------------------------------------


def _both(call: Callable[[Any], Any], check: Callable[[Any, Setup], str]) -> dict[str, Callable[[Setup], str]]:
    def blocking(setup: Setup) -> str:
        with ViClient(setup.settings, sleep=setup.sleep) as vi:
            value = call(vi)
            return check(list(value) if isinstance(value, Iterator) else value, setup)

    async def awaiting(setup: Setup) -> str:
        async with AsyncViClient(setup.settings, sleep=setup.sleep_async) as vi:
            value = call(vi)
            received = [document async for document in value] if isinstance(value, AsyncIterator) else await value
            return check(received, setup)

    return {"ViClient": blocking, "AsyncViClient": lambda setup: setup.runner.run(awaiting(setup))}


def _all_flows_listed(flows: list[Flow], _: Setup) -> str:
    return _all_listed([flow.flow_id for flow in flows], FLOWS)


def _all_runs_listed(runs: list[Run], _: Setup) -> str:
    return _all_listed([run.run_id for run in runs], (*RUNS, ACTIVE))


def _all_listed(listed: list[str], created: tuple[str, ...]) -> str:
    # What is created or deleted during the listing may or may not be in it.
    ids = _without_others(listed)
    certain = {*ids, *created} - ({*DELETED_BY_OTHERS} - {*ids})
    steady = [document_id for document_id in reversed(created) if document_id in certain]
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


def _is_run(run: Run, setup: Setup) -> str:
    assert run.to_wire() == setup.backend.store.get_run(run.run_id)
    return OK


def _run_is_gone(deleted: DeletedRun, _: Setup) -> str:
    assert deleted == DeletedRun(id="stale-1", deleted=True, already_absent=False)
    return OK


def differs(before: Documents, after: Documents) -> set[str]:
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def _deleted(before: Documents, after: Documents) -> int:
    assert differs(before, after) <= {"stale-1"} >= before.keys() - after.keys()
    return len(before) - len(after)


def _created(before: Documents, after: Documents) -> int:
    """A retried create must not create two flows."""
    new = after.keys() - before.keys()
    assert differs(before, after) == new
    assert [after[flow_id]["spec"] for flow_id in new] in ([], [SPEC])
    return len(new)


def _written(before: Documents, after: Documents) -> int:
    changed = differs(before, after)
    assert changed <= {"stale-1"}
    for flow_id in changed:
        assert after[flow_id]["spec"] == SPEC | {"trainingProject": before[flow_id]["spec"]["trainingProject"]}
        # Applied once, however often it was sent.
        assert after[flow_id]["metadata"]["generation"] == before[flow_id]["metadata"]["generation"] + 1
    return len(changed)


def _started(before: Documents, after: Documents) -> int:
    """A run must not start twice, which the bill of the server shows."""
    new = after.keys() - before.keys()
    assert differs(before, after) == new <= {run_key(STARTED)}
    assert [(after[key]["starts"], after[key]["spec"]["flow"]) for key in new] in ([], [(1, SPEC)])
    return len(new)


def _killed(before: Documents, after: Documents) -> int:
    changed = differs(before, after)
    assert changed <= {run_key(ACTIVE)}
    for key in changed:
        assert after[key]["spec"]["killedAt"] >= after[key]["metadata"]["timeCreated"]
        assert after[key]["metadata"]["generation"] == before[key]["metadata"]["generation"] + 1
    return len(changed)


def _run_deleted(before: Documents, after: Documents) -> int:
    assert differs(before, after) <= {run_key("stale-1")} >= before.keys() - after.keys()
    return len(before) - len(after)


FLOW_CALLS: Final = (
    Operation("list", "GET", _both(lambda vi: vi.list_flows(), _all_flows_listed), lists=True),
    Operation("get", "GET", _both(lambda vi: vi.get_flow("stale-1"), _is_stored)),
    Operation("delete", "DELETE", _both(lambda vi: vi.delete_flow("stale-1"), _is_gone), 1, _deleted),
    Operation("create", "PUT", _both(lambda vi: vi.create_flow(SPEC), _is_stored), 1, _created),
    Operation("update", "PATCH", _both(lambda vi: vi.update_flow("stale-1", spec=SPEC), _is_stored), 1, _written),
    Operation("replace", "PUT", _both(lambda vi: vi.replace_flow("stale-1", SPEC), _is_stored), 1, _written),
)
RUN_CALLS: Final = (
    Operation("list runs", "GET", _both(lambda vi: vi.list_runs(), _all_runs_listed), lists=True),
    Operation("get run", "GET", _both(lambda vi: vi.get_run(ACTIVE), _is_run)),
    Operation(
        "start run",
        "PUT",
        _both(lambda vi: vi.start_run(SPEC, run_id=STARTED), _is_run),
        1,
        _started,
        rereads=True,
        confirms=True,
    ),
    Operation("kill run", "PATCH", _both(lambda vi: vi.kill_run(ACTIVE), _is_run), 1, _killed, rereads=True),
    Operation("delete run", "DELETE", _both(lambda vi: vi.delete_run("stale-1"), _run_is_gone), 1, _run_deleted),
)
CALLS: Final = (*FLOW_CALLS, *RUN_CALLS)
