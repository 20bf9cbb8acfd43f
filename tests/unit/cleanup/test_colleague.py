"""Cleanups, single deletes and restores beside a colleague, on a service that fails and loses responses.

The server is a dictionary in this process. It carries out what arrives, or not, and responds, or not, as a script says.
Before each request, the colleague may write or delete a flow; only not between a read and the write that
follows it, because the API has no conditional write that could notice.

Whatever happens, a delete removes only a version that is in an archive, and a restore overwrites only the version that
it found first.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.documents import wire_flow, wire_page
from tests.transports import settings_for
from tests.unit.cleanup.support import archives
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Request, Response, Send
from vi_airflow_provider.api.transport.loop_thread import never
from vi_airflow_provider.cleanup import prune, restore, single
from vi_airflow_provider.cleanup.archive import read_archive
from vi_airflow_provider.cleanup.report import PruneError

IDS: Final = ("a", "b", "c")
SETTINGS: Final = settings_for("http://127.0.0.1:8321", max_retries=3, max_rate_limit_retries=3, max_retry_delay=0)
#: What happens to a request: it arrives, or only its response is lost, or it never arrives, or it is refused.
FATES: Final = ("ok", "ok", "overloaded", "rate limit", "lost", "response lost", "busy")
ACTS: Final = (None, "write", "write", "delete")
SCRIPTS: Final = st.lists(
    st.tuples(st.sampled_from(ACTS), st.sampled_from(IDS), st.sampled_from(FATES)), min_size=8, max_size=24
)
Version = tuple[str, int] | None


class Server:
    """A Vi with a colleague; it notes each write that no archive and no first read allows."""

    def __init__(self, folder: Path) -> None:
        self.flows: dict[str, dict[str, Any]] = {}
        self.folder = folder
        self.violations: list[str] = []
        #: Flows that were read and not written since: no one acts on them, except before a further read.
        self.just_read: set[str] = set()
        #: Of the running restore: the version of each flow that it read first, and whether it may replace that.
        self.first_reads: dict[str, Version] = {}
        self.may_replace = False
        self._script: Iterator[tuple[str | None, str, str]] = iter(())
        self._time = 1_750_000_000_000

    def begin(self, script: list[tuple[str | None, str, str]], *, may_replace: bool = False) -> None:
        self._script = iter(script)
        self.just_read, self.first_reads, self.may_replace = set(), {}, may_replace

    def act(self, act: str | None, flow_id: str) -> None:
        """Let the colleague act."""
        if act == "delete":
            self.flows.pop(flow_id, None)
        elif act == "write":
            self.write(flow_id, {"spec": wire_flow(spec__name=f"by the colleague, {self._time}")["spec"]})

    def write(self, flow_id: str, body: dict[str, Any]) -> None:
        self._time += 1
        changes = {"flowId": flow_id, "etag": f'"{self._time}"', "spec": copy.deepcopy(body["spec"])}
        times = {"metadata__timeCreated": self._time, "metadata__lastUpdated": self._time}
        attributes = body.get("metadata", {}).get("attributes", {})
        self.flows[flow_id] = wire_flow(**changes, **times, metadata__attributes=attributes)

    def respond(self, request: Request) -> Response | Failure:
        """Carry out a request as the script says."""
        act, acted_on, fate = next(self._script, (None, "", "ok"))
        flow_id = request.path.partition("?")[0].rpartition("/")[2]
        if request.method == "GET":
            self.just_read.discard(flow_id)
        if acted_on not in self.just_read:
            self.act(act, acted_on)
        self.just_read.discard(flow_id)
        if fate == "lost":
            return Failure(FailureKind.BROKEN)
        if fate in ("overloaded", "rate limit", "busy"):
            return Response({"overloaded": 503, "rate limit": 429}.get(fate, 409 if request.method != "GET" else 503))
        response = self._carry_out(request.method, flow_id, request.body)
        if fate == "response lost":
            return Failure(FailureKind.TIMEOUT)
        if request.method == "GET":
            self.just_read.add(flow_id)
            self.first_reads.setdefault(flow_id, version(self.flows.get(flow_id)))
        return response

    def _carry_out(self, method: str, flow_id: str, body: bytes | None) -> Response:
        if flow_id == "flows":
            return _json(wire_page(*self.flows.values(), nextPage=None))
        flow = self.flows.get(flow_id)
        if method == "PUT":
            self._check_put(flow_id, flow)
            self.write(flow_id, json.loads(body or b""))
            return _json(self.flows[flow_id])
        if method == "DELETE" and flow is not None:
            self._check_delete(flow)
            del self.flows[flow_id]
            return Response(204)
        return Response(404) if flow is None else _json(flow)

    def _check_delete(self, flow: dict[str, Any]) -> None:
        if canonical_json(flow) not in self.archived():
            self.violations.append(f"deleted, and in no archive: {flow}")

    def _check_put(self, flow_id: str, flow: dict[str, Any] | None) -> None:
        if flow is not None and not (self.may_replace and version(flow) == self.first_reads.get(flow_id)):
            self.violations.append(f"overwritten: {flow}")

    def archived(self) -> set[bytes]:
        """Return the documents of all archives."""
        return {canonical_json(flow.to_wire()) for uri in archives(self.folder) for flow in read_archive(uri)}


def version(flow: dict[str, Any] | None) -> Version:
    return None if flow is None else (flow["etag"], flow["metadata"]["lastUpdated"])


def _json(content: Any) -> Response:
    return Response(200, {"content-type": "application/json"}, json.dumps(content).encode())


class Cleanups(RuleBasedStateMachine):
    """Any sequence of cleanups, deletes and restores, each with a script of faults and acts of the colleague."""

    def __init__(self) -> None:
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        self.server = Server(self.folder)
        server = self.server

        async def respond_async(client: AsyncViClient, send: Send) -> Response | Failure:
            return server.respond(send.request)

        def respond(client: ViClient, send: Send, call: Any) -> Response | Failure:
            return server.respond(send.request)

        self._patches = ExitStack()
        self._patches.enter_context(mock.patch.object(ViClient, "_send", respond))
        self._patches.enter_context(mock.patch.object(AsyncViClient, "_send", respond_async))
        self.client = ViClient(SETTINGS, sleep=lambda seconds: None)
        self.tries = 0
        for flow_id in IDS:
            server.act("write", flow_id)

    def teardown(self) -> None:
        self.client.close()
        self._patches.close()
        self._temporary.cleanup()

    async def _connect(self) -> AsyncViClient:
        return AsyncViClient(SETTINGS)

    def _attempt(self) -> prune.Attempt:
        self.tries += 1
        return prune.Attempt("instance", is_retry=self.tries > 1, labels=("dag", "task"))

    @rule()
    def colleague_makes_all_flows(self) -> None:
        for flow_id in IDS:
            self.server.act("write", flow_id)

    @rule(flow_id=st.sampled_from(IDS))
    def colleague_deletes(self, flow_id: str) -> None:
        self.server.act("delete", flow_id)

    @rule(script=SCRIPTS, protected=st.sets(st.sampled_from(IDS), max_size=1), concurrency=st.integers(1, 3))
    def prune(self, script: list[Any], protected: set[str], concurrency: int) -> None:
        rules = dict.fromkeys(prune._PROTECTIONS) | {"older_than": "P1D", "keep_last": None}
        limits = {
            "max_delete": 50,
            "max_delete_fraction": 1,
            "protect_unmatched": "warn",
            "archive_to": self.folder.as_uri(),
            "allow_unarchived": False,
            "concurrency": concurrency,
            "page_size": None,
        }
        request = prune.PruneRequest.build({**rules, "protect_ids": sorted(protected)}, None, limits, False)
        self.server.begin(script)
        try:
            report = prune.Cleanup(self.client, self._connect, never).run(request, self._attempt())
        except (ViError, PruneError):
            return
        assert protected.isdisjoint(outcome["flow_id"] for outcome in report["outcomes"])

    @rule(script=SCRIPTS, flow_id=st.sampled_from(IDS))
    def delete_one(self, script: list[Any], flow_id: str) -> None:
        request = single.DeleteRequest.of(flow_id, self._attempt(), None, self.folder.as_uri(), False)
        self.server.begin(script)
        try:
            deleted = single.delete(request, self.client, never)
        except (ViError, single.ChangedError):
            return
        assert deleted.archive is not None or deleted.missing

    @precondition(lambda self: bool(archives(self.folder)))
    @rule(script=SCRIPTS, if_exists=st.sampled_from(["fail", "skip", "replace"]), number=st.integers(0, 9))
    def restore(self, script: list[Any], if_exists: str, number: int) -> None:
        found = archives(self.folder)
        flows = restore.archived_flows(found[number % len(found)], None)
        self.server.begin(script, may_replace=if_exists == "replace")
        try:
            written = restore.Restore(self.client, if_exists, never).run(flows)
        except (ViError, restore.ExistsError, restore.RestoreError):
            return
        assert set(written) <= {flow.flow_id for flow in flows}

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.server.violations == []


Cleanups.TestCase.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
TestCleanups = Cleanups.TestCase
