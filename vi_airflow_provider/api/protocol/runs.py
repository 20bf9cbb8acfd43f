"""The verbs for training runs, each spelled once (VI_API.md section 3, rows 11 to 19).

Two of them cost or save money, and are therefore never repeated blindly. After an attempt to *start* whose outcome is
unknown, the run is read: if it exists, it has started. After an attempt to *kill* whose outcome is unknown, it is read
again as well, and killed again only while it is active and no kill was requested.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import urlencode

from vi_airflow_provider.api import models
from vi_airflow_provider.api.errors import ViConflictError, ViError, ViNotFoundError, ViValidationError
from vi_airflow_provider.api.models import FlowSpec
from vi_airflow_provider.api.protocol import codec, run_codec
from vi_airflow_provider.api.protocol.lazy_run import parse_listed_run
from vi_airflow_provider.api.protocol.messages import DOCUMENTS_PER_TURN, Sleep, Steps
from vi_airflow_provider.api.protocol.outcomes import is_success
from vi_airflow_provider.api.protocol.page_sizes import Pace
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.protocol.resource_calls import ABSENT, ResourceCalls, was_deleted
from vi_airflow_provider.api.protocol.retry import reached_server
from vi_airflow_provider.api.protocol.simple_documents import parse_simple_run
from vi_airflow_provider.api.run_state import FLOW_ID_ATTRIBUTE
from vi_airflow_provider.api.validation import checked_count, checked_id

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import DeletedRun, Run, RunLogs, RunOutput, RunState, SimpleRun

_run_id: Final = attrgetter("run_id")

#: The outputs that can be deployed: what the vendor's SDK requests.
_OUTPUT_INTENT: Final = {"intent": "sdkLocalDeploy"}


class RunScan(NamedTuple):
    """What a scan of the listing found, and how much of it was read."""

    runs: list[Run]
    pages: int
    complete: bool


class RunCalls(ResourceCalls):
    """The calls for the runs of one organization."""

    _wall_clock: Callable[[], float] = staticmethod(time.time)

    # --- listings ----------------------------------------------------------------------------------------------

    def list_runs(
        self, *, page_size: int | None = None, limit: int | None = None, prefetch: bool = True
    ) -> Paginator[Run]:
        """Yield all runs, newest first, one page at a time as they are consumed.

        :param page_size: runs per request; the connection's setting by default, or else pages that begin small and
            grow
        :param limit: stop after this many
        :param prefetch: fetch the next page (never more) while a page is consumed
        """
        parse = partial(parse_listed_run, organization_id=self._organization)
        return self._paginator("runs", parse, _run_id, page_size, limit, prefetch=prefetch)

    def list_simple_runs(self, *, page_size: int | None = None, limit: int | None = None) -> Paginator[SimpleRun]:
        """Yield id and name of all runs."""
        return self._paginator("simpleRuns", parse_simple_run, _run_id, page_size, limit)

    def find_runs(
        self,
        *,
        flow_id: str | None = None,
        state: RunState | str | Collection[RunState | str] | None = None,
        training_project: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Steps[list[Run]]:
        """Return the runs that match, newest first. The whole listing is read.

        :param flow_id: only runs that this provider started of this flow (attribute ``vi_airflow.flow_id``)
        :param state: only runs in this state, or in one of several
        :param training_project: only runs of this training project
        :param attributes: only runs that have these attributes with these values
        """
        wanted = dict(attributes or {}) | ({} if flow_id is None else {FLOW_ID_ATTRIBUTE: checked_id(flow_id)})
        states = _states(state)
        found: list[Run] = []
        paginator = self._all_runs()
        while (steps := paginator.next_page()) is not None:
            page = yield from steps
            found += (
                run
                for run in page.documents()
                if wanted.items() <= run.metadata.attributes.items()
                and training_project in (None, run.spec.training_project)
                and (states is None or run.state in states)
            )
        unique = {run.run_id: run for run in found}  # a listing that changes while it is read may repeat a run
        return sorted(unique.values(), key=lambda run: (run.metadata.time_created, run.run_id), reverse=True)

    def scan_runs(
        self, run_ids: Collection[str], max_pages: int | None = None, *, gets_per_page: int | None = None
    ) -> Steps[RunScan]:
        """Read the listing for runs with these ids, until all of them are found. Only those are validated.

        :param max_pages: stop after this many pages; the scan is not ``complete`` then
        :param gets_per_page: how many GETs take as long as a page: stop when as many pages in a row have found nothing
            as it takes to fetch the missing runs
        """
        runs: list[Run] = []
        missing = set(run_ids)
        pages = in_vain = 0
        paginator = self._all_runs()
        while missing and (steps := paginator.next_page()) is not None:
            if pages == max_pages or (gets_per_page is not None and in_vain * gets_per_page >= len(missing)):
                return RunScan(runs, pages, complete=False)
            page = yield from steps
            pages += 1
            found = []
            for run in run_codec.wanted_runs(page, missing):
                found.append(run)
                if len(found) % DOCUMENTS_PER_TURN == 0:
                    yield Sleep(0)
            in_vain = 0 if found else in_vain + 1
            missing -= {run.run_id for run in found}
            runs += found
        return RunScan(runs, pages, complete=True)

    # --- one run -----------------------------------------------------------------------------------------------

    def get_run(self, run_id: str) -> Steps[Run]:
        """Return one run.

        :raises ViNotFoundError: there is no run with this id
        """
        return (yield from self._run("GET", run_id))

    def start_run(
        self,
        spec: FlowSpec | Mapping[str, Any],
        *,
        run_id: str,
        training_project: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Steps[Run]:
        """Start a run (PUT) under an id that the caller chooses. It costs credits from this moment on.

        If an attempt fails and may have reached the server, or its response cannot be read, the run is read before
        anything else is sent: it is returned if it exists. Choose an id that no run has: what the server makes of a
        second PUT is not documented.

        :param spec: the spec of the flow, of which the run gets a copy
        :param training_project: id of the training project of the run
        :param attributes: text to find the run by
        """
        body: dict[str, Any] = {"spec": {"flow": codec.wire_spec(FlowSpec.complete, spec)}}
        if training_project is not None:
            body["spec"]["trainingProject"] = checked_id(training_project, "training project id")
        body |= codec.wire_metadata(attributes)
        call = self._begin(self._request("PUT", _path(run_id), body))
        while True:
            outcome, context = yield from self._attempt(call)
            try:
                if is_success(outcome):
                    return run_codec.run_in(outcome, context, run_id, self._organization)
                wait = self._back_off(call, outcome, context)
            except ViError:
                applied = is_success(outcome) or call.retry.may_have_applied or reached_server(outcome)
                # The retry budget may be used up, but not knowing whether the run exists costs more than one read.
                deadline = max(call.retry.deadline, self._clock() + self.settings.read_timeout)
                if applied and (started := (yield from self._existing_run(run_id, deadline))) is not None:
                    return started
                raise
            yield wait
            if (started := (yield from self._existing_run(run_id, call.retry.deadline))) is not None:
                return started

    def update_run(
        self,
        run_id: str,
        *,
        training_project: str | None = None,
        attributes: Mapping[str, str | None] | None = None,
    ) -> Steps[Run]:
        """Move a run to a training project, or change the given attributes (PATCH); ``None`` removes an attribute."""
        body: dict[str, Any] = {}
        if training_project is not None:
            body["spec"] = {"trainingProject": checked_id(training_project, "training project id")}
        body |= codec.wire_metadata(attributes, removable=True)
        if not body:
            raise ViValidationError("nothing to update: give a training project, attributes, or both")
        return (yield from self._run("PATCH", run_id, body))

    def kill_run(self, run_id: str, *, attributes: Mapping[str, str | None] | None = None) -> Steps[Run]:
        """Request that a run is killed, and return the run. It is permanent, and credits are not refunded.

        A run that has ended, or whose kill was requested before, is returned as it is. Billing may continue for a
        while: poll :meth:`get_run` until a condition of the run reports its end.

        :param attributes: attributes to set together with the kill
        :raises ViNotFoundError: there is no run with this id
        """
        return (yield from self.kill_run_if(run_id, lambda run: True, attributes=attributes))

    def kill_run_if(
        self,
        run_id: str,
        matches: Callable[[Run], bool],
        *,
        attributes: Mapping[str, str | None] | None = None,
    ) -> Steps[Run]:
        """Kill a run only while it matches; return the run, untouched, if it does not (``killed_at`` is ``None``).

        Each attempt to kill is preceded by a read: a retry never kills a run that has changed in the meantime.

        :param matches: decides whether the run, as it is now, is to be killed
        :param attributes: attributes to set together with the kill
        :raises ViNotFoundError: there is no run with this id
        """
        metadata = codec.wire_metadata(attributes, removable=True)
        call = self._begin(self._request("PATCH", _path(run_id)))
        while True:
            run = yield from self._run("GET", run_id, deadline=call.retry.deadline)
            if run.state.is_ended or not matches(run):
                return run
            now = max(int(self._wall_clock() * 1000), run.metadata.time_created)
            body = {"spec": {"killedAt": now}} | metadata
            call.request = replace(self._request("PATCH", _path(run_id), body), guarded=True)
            outcome, context = yield from self._attempt(call)
            if is_success(outcome):
                return run_codec.run_in(outcome, context, run_id, self._organization)
            try:
                wait = self._back_off(call, outcome, context)
            except ViConflictError:
                run = yield from self.get_run(run_id)  # it may have ended between the two requests
                if run.state.is_ended:
                    return run
                raise
            yield wait

    def delete_run(self, run_id: str) -> Steps[DeletedRun]:
        """Delete a run with its logs, metrics and checkpoints. An absent one is no error (``already_absent``).

        :raises ViConflictError: the run is active; kill it first
        """
        return _deletion(run_id, (yield from self._delete(_path(run_id))))

    def delete_run_if(self, run_id: str, matches: Callable[[Run], bool]) -> Steps[DeletedRun | Run]:
        """Delete a run only while it matches; return the run, untouched, if it does not.

        Each attempt to delete is preceded by a read: a retry never deletes a run that was changed meanwhile.

        :param matches: decides whether the run, as it is now, is to be deleted
        :raises ViConflictError: the run is active
        """
        call = self._begin(self._request("DELETE", _path(run_id)))
        while True:
            run = yield from self._existing_run(run_id, call.retry.deadline)
            if run is None:
                return _deletion(run_id, call.retry.may_have_applied)
            if not matches(run):
                return run
            outcome, context = yield from self._attempt(call)
            if is_success(outcome, ABSENT):
                return _deletion(run_id, was_deleted(call, outcome, context))
            yield self._back_off(call, outcome, context)

    # --- what a run produces -----------------------------------------------------------------------------------

    def get_run_logs(
        self,
        run_id: str,
        *,
        block: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int | None = None,
    ) -> Steps[RunLogs]:
        """Return a part of a run's log.

        :param block: only this block of the pipeline
        :param since: only from this position on: a text that the server has sent, which no client can make up
        :param until: only before this position
        :param limit: at most this many lines
        """
        query = {"block": block, "since": since, "until": until}
        if limit is not None:
            query["limit"] = str(checked_count(limit, "limit", 1))
        path = _with_query(f"{_path(run_id)}/logs", {key: value for key, value in query.items() if value is not None})
        response, context = yield from self._exchange(self._begin(self._request("GET", path)))
        return run_codec.parse_logs(response, context)

    def list_run_outputs(
        self, run_id: str, *, page_size: int | None = None, limit: int | None = None
    ) -> Paginator[RunOutput]:
        """Yield the checkpoints of a run, of all pages."""
        parse = partial(run_codec.parse_output, run_id=checked_id(run_id, "run id"), organization_id=self._organization)
        return self._paginator(
            *(f"runs/{run_id}/outputs", parse, attrgetter("run_output_id"), page_size, limit),
            query=_OUTPUT_INTENT,
            parse_page=run_codec.parse_page,
        )

    def get_run_output(self, run_id: str, run_output_id: str, *, contents: bool = False) -> Steps[RunOutput]:
        """Return one checkpoint of a run.

        :param contents: with its pre-signed URL, which is a secret, and expires
        """
        checked_id(run_output_id, "run output id")
        query = _OUTPUT_INTENT | ({"contents": "y"} if contents else {})
        path = _with_query(f"{_path(run_id)}/outputs/{run_output_id}", query)
        response, context = yield from self._exchange(self._begin(self._request("GET", path)))
        return run_codec.output_in(response, context, run_id, run_output_id, self._organization)

    # --- requests ----------------------------------------------------------------------------------------------

    @property
    def _organization(self) -> str:
        return self.settings.organization_id

    def _all_runs(self) -> Paginator[Run]:
        parse = partial(parse_listed_run, organization_id=self._organization)
        return self._paginator("runs", parse, _run_id, None, pace=Pace.LARGE)

    def _run(
        self, method: str, run_id: str, body: Mapping[str, Any] | None = None, deadline: float | None = None
    ) -> Steps[Run]:
        call = self._begin(self._request(method, _path(run_id), body), deadline)
        response, context = yield from self._exchange(call)
        return run_codec.run_in(response, context, run_id, self._organization)

    def _existing_run(self, run_id: str, deadline: float) -> Steps[Run | None]:
        """Read the run before or after an attempt to write it."""
        try:
            return (yield from self._run("GET", run_id, deadline=deadline))
        except ViNotFoundError:
            return None


def _path(run_id: object) -> str:
    return f"/runs/{checked_id(run_id, 'run id')}"


def _deletion(run_id: str, deleted: bool) -> DeletedRun:
    return models.DeletedRun(id=run_id, deleted=deleted, already_absent=not deleted)


def _with_query(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _states(given: RunState | str | Collection[RunState | str] | None) -> frozenset[RunState] | None:
    if given is None:
        return None
    values: Iterable[RunState | str] = [given] if isinstance(given, str) else cast("Iterable[RunState | str]", given)
    try:
        return frozenset(map(models.RunState, values))
    except ValueError:
        known = ", ".join(models.RunState)
        raise ViValidationError(f"state: {given!r:.80} is not a state of a run; choose from {known}") from None
