"""Cleanups of runs beside a colleague, on a service that fails and loses responses.

As ``test_colleague`` does for flows: the server is a dictionary in this process that carries out what arrives, or not,
and responds, or not, as a script says. Before each request, the colleague may change, restart or delete a run; only not
between a read and the delete that follows it, because the API has no conditional delete that could notice.

Whatever happens, only a run that has ended is deleted, and only in a version that is in an archive.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.documents import wire_page, wire_run, wire_run_output
from tests.transports import settings_for
from tests.unit.cleanup.run_support import records
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Request, Response, Send
from vi_airflow_provider.api.transport.loop_thread import never
from vi_airflow_provider.cleanup import prune
from vi_airflow_provider.cleanup.report import PruneError

IDS: Final = ("a", "b", "c")
SETTINGS: Final = settings_for("http://127.0.0.1:8321", max_retries=3, max_rate_limit_retries=3, max_retry_delay=0)
FATES: Final = ("ok", "ok", "ok", "overloaded", "rate limit", "lost", "response lost", "busy")
ACTS: Final = (None, None, "end", "restart", "edit", "delete")
SCRIPTS: Final = st.lists(
    st.tuples(st.sampled_from(ACTS), st.sampled_from(IDS), st.sampled_from(FATES)), min_size=8, max_size=30
)
NO_RULES: Final = dict.fromkeys(
    (
        *("age_of", "name_pattern", "training_project", "attributes", "keep_last", "states"),
        *("keep_best", "best_metric", "keep_succeeded", "protect_ids", "protect_names", "protect_attributes"),
    )
)


class Server:
    """A Vi with a colleague; it notes each delete of a run that goes on or is in no archive."""

    def __init__(self, folder: Path) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.folder = folder
        self.violations: list[str] = []
        #: Runs that were read and not deleted since: nothing happens to them before a further read.
        self.just_read: set[str] = set()
        self._script: Iterator[tuple[str | None, str, str]] = iter(())
        self._time = 1_750_000_000_000

    def begin(self, script: list[tuple[str | None, str, str]]) -> None:
        self._script, self.just_read = iter(script), set()

    def act(self, act: str | None, run_id: str) -> None:
        """Let the colleague or the platform act."""
        if act == "delete":
            self.runs.pop(run_id, None)
        elif act is not None:
            ended = act == "end" or (act == "edit" and run_id in self.runs and has_ended(self.runs[run_id]))
            self.write(run_id, ended=ended)

    def write(self, run_id: str, *, ended: bool) -> None:
        self._time += 1
        name = "Succeeded" if ended else "Running"
        condition = {"condition": name, "status": "Reached", "lastTransitionTime": self._time}
        times = {"metadata__timeCreated": self._time, "metadata__lastUpdated": self._time}
        self.runs[run_id] = wire_run(
            runId=run_id, etag=f'"{self._time}"', status__conditions=[condition], metadata__attributes={}, **times
        )

    def respond(self, request: Request) -> Response | Failure:
        """Carry out a request as the script says."""
        act, acted_on, fate = next(self._script, (None, "", "ok"))
        path = request.path.partition("?")[0].split("/runs/")[-1]
        run_id, _, part = path.partition("/")
        if request.method == "GET" and not part:
            self.just_read.discard(run_id)
        if acted_on not in self.just_read:
            self.act(act, acted_on)
        if fate == "lost":
            return Failure(FailureKind.BROKEN)
        if fate in ("overloaded", "rate limit", "busy"):
            return Response({"overloaded": 503, "rate limit": 429}.get(fate, 409 if request.method != "GET" else 503))
        response = self._carry_out(request.method, run_id, part)
        if fate == "response lost":
            return Failure(FailureKind.TIMEOUT)
        if request.method == "GET" and not part:
            self.just_read.add(run_id)
        return response

    def _carry_out(self, method: str, run_id: str, part: str) -> Response:
        if run_id not in IDS:
            return _json(wire_page(*self.runs.values(), nextPage=None))
        found = self.runs.get(run_id)
        if found is None:
            return Response(404)
        if method == "DELETE":
            self.just_read.discard(run_id)
            self._check_delete(found)
            del self.runs[run_id]
            return Response(204)
        if part == "outputs":
            return _json(wire_page(wire_run_output(runId=run_id), nextPage=None))
        return _json({"items": [{"line": "done"}]}) if part == "logs" else _json(found)

    def _check_delete(self, found: dict[str, Any]) -> None:
        if not has_ended(found):
            self.violations.append(f"deleted while it was active: {found}")
        if found["etag"] not in {record["run"]["etag"] for record in self.archived()}:
            self.violations.append(f"deleted, and in no archive: {found}")

    def archived(self) -> list[dict[str, Any]]:
        """Return the records of all archives; a later one of a run does not replace an earlier one."""
        lines = [line for path in self.folder.glob("*.runs.jsonl") for line in path.read_text().splitlines()]
        return list(map(json.loads, lines))


def has_ended(document: dict[str, Any]) -> bool:
    return bool(document["status"]["conditions"][0]["condition"] == "Succeeded")


def _json(content: Any) -> Response:
    return Response(200, {"content-type": "application/json"}, json.dumps(content).encode())


class Cleanups(RuleBasedStateMachine):
    """Any sequence of cleanups, each with a script of faults and of what happens to the runs meanwhile."""

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
        for run_id in IDS:
            server.write(run_id, ended=True)

    def teardown(self) -> None:
        self.client.close()
        self._patches.close()
        self._temporary.cleanup()

    async def _connect(self) -> AsyncViClient:
        return AsyncViClient(SETTINGS)

    @rule(ended=st.booleans(), run_id=st.sampled_from(IDS))
    def colleague_starts_a_run(self, ended: bool, run_id: str) -> None:
        self.server.write(run_id, ended=ended)

    @rule(script=SCRIPTS, best=st.booleans(), protected=st.sets(st.sampled_from(IDS), max_size=1), plan=st.booleans())
    def prune(self, script: list[Any], best: bool, protected: set[str], plan: bool) -> None:
        given: dict[str, Any] = {"older_than": "P1D", "protect_ids": sorted(protected)}
        given |= {"keep_best": 1, "best_metric": ("f1", "max")} if best else {}
        limits = {
            "max_delete": 50,
            "max_delete_fraction": 1,
            "protect_unmatched": "warn",
            "archive_to": self.folder.as_uri(),
            "allow_unarchived": False,
            "concurrency": 2,
            "page_size": None,
        }
        self.tries += 1
        attempt = prune.Attempt("instance", is_retry=self.tries > 1, labels=("dag", "task"))
        kind = prune.RunKind(lambda run, outputs: {"state": run.state.value})
        cleanup = prune.Cleanup(self.client, self._connect, never)
        outcomes = [planned(wire) for wire in self.server.runs.values()] if plan else None
        request = prune.PruneRequest.build({**NO_RULES, **given}, outcomes, limits, False, kind)
        self.server.begin(script)
        try:
            report = cleanup.run(request, attempt)
        except (ViError, PruneError):
            return
        assert protected.isdisjoint(
            outcome["run_id"] for outcome in report["outcomes"] if outcome["outcome"] == "deleted"
        )

    @invariant()
    def no_active_run_is_deleted_and_no_record_is_lost(self) -> None:
        assert self.server.violations == []
        records(self.folder)  # each archive that has a manifest matches it


def planned(wire: dict[str, Any]) -> dict[str, Any]:
    """A plan of this version, however old."""
    return {"run_id": wire["runId"], "etag": wire["etag"], "last_updated": wire["metadata"]["lastUpdated"]}


Cleanups.TestCase.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
TestRunCleanups = Cleanups.TestCase
