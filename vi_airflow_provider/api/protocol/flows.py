"""The verbs for flows, each spelled once: which requests they send, and what the responses mean.

A verb takes values and returns steps (see ``messages``), or a paginator. ``api.verbs`` binds the verbs to the blocking
and the asynchronous clients, which have the same methods, signatures and docstrings.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from operator import attrgetter
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from vi_airflow_provider.api.canonical import canonical_json, canonical_spec
from vi_airflow_provider.api.errors import ViError, ViNotFoundError, ViValidationError
from vi_airflow_provider.api.models import (
    DeletedFlow,
    Flow,
    FlowSpec,
    FlowSpecPatch,
    GuardedWrite,
    SimpleFlow,
    last_update,
)
from vi_airflow_provider.api.protocol import codec
from vi_airflow_provider.api.protocol.codec import FlowHeader, Scan
from vi_airflow_provider.api.protocol.exchange import Call
from vi_airflow_provider.api.protocol.messages import DOCUMENTS_PER_TURN, Concurrently, Response, Sleep, Steps
from vi_airflow_provider.api.protocol.outcomes import ErrorContext, is_success
from vi_airflow_provider.api.protocol.page_sizes import Pace
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.protocol.resource_calls import ABSENT, ResourceCalls, was_deleted
from vi_airflow_provider.api.protocol.simple_documents import parse_simple_flow
from vi_airflow_provider.api.protocol.whole_flow import ListedFlows
from vi_airflow_provider.api.validation import checked_count, checked_id

M = TypeVar("M", bound=BaseModel)

#: Metadata that the server maintains.
_SERVER_METADATA: Final = frozenset({"timeCreated", "lastUpdated", "generation"})


class FlowCalls(ResourceCalls):
    """The calls for flows of one organization."""

    # --- listings ----------------------------------------------------------------------------------------------

    def list_flows(
        self, *, page_size: int | None = None, limit: int | None = None, prefetch: bool = True
    ) -> Paginator[Flow]:
        """Yield all flows, newest first, one page at a time as they are consumed.

        :param page_size: flows per request; the connection's setting by default, or else pages that begin small and
            grow
        :param limit: stop after this many
        :param prefetch: fetch the next page (never more) while a page is consumed; False for a consumer that stops
            once it has found what it searches for
        """
        return self._flows(page_size, limit, prefetch=prefetch)

    def iter_flow_pages(self, *, page_size: int | None = None, page_token: str | None = None) -> Paginator[Flow]:
        """Yield the pages of the listing, starting with the one that ``page_token`` names.

        :param page_size: flows per request; the connection's setting by default, or else 100
        :param page_token: a ``next_page``; the server may accept it only with the page size that it was issued for
        """
        return self._flows(page_size, pace=Pace.CONSTANT, token=page_token)

    def list_simple_flows(self, *, page_size: int | None = None, limit: int | None = None) -> Paginator[SimpleFlow]:
        """Yield id and name of all flows."""
        return self._paginator("simpleFlows", parse_simple_flow, attrgetter("flow_id"), page_size, limit)

    def scan_flows(
        self,
        flow_ids: Collection[str],
        names: Collection[str | None],
        max_pages: int | None = None,
        *,
        page_token: str | None = None,
        enough: Callable[[list[Any], int], bool] | None = None,
    ) -> Steps[Scan]:
        """Read the listing for flows with these ids or names. Only those are validated, which is most of the cost.

        :param max_pages: stop after this many pages; the scan is not ``complete`` then
        :param page_token: start with the page that it names
        :param enough: takes the creation times of each page, unchecked, and the number of times that the listing began
            before; the scan stops when it returns true
        """
        flows: dict[str, Flow] = {}
        pages = 0
        pace = Pace.LARGE if max_pages is None else Pace.CONSTANT
        paginator = self._flows(None, pace=pace, token=page_token)
        while (steps := paginator.next_page()) is not None:
            if pages == max_pages:
                return Scan(list(flows.values()), pages, complete=False, next_page=page_token)
            page = yield from steps
            pages += 1
            page_token = page.next_page
            created: list[Any] = []

            def wanted(header: FlowHeader, created: list[Any] = created) -> bool:
                created.append(header.created)
                return header.flowId in flow_ids or header.spec.name in names

            for number, flow in enumerate(page.documents(wanted), 1):
                flows.setdefault(flow.flow_id, flow)  # another walk over the listing repeats flows
                if number % DOCUMENTS_PER_TURN == 0:
                    yield Sleep(0)
            if enough is not None and enough(created, page.walk) and page_token is not None:
                return Scan(list(flows.values()), pages, complete=False, next_page=page_token)
        return Scan(list(flows.values()), pages, complete=True)

    # --- reads -------------------------------------------------------------------------------------------------

    def get_flow(self, flow_id: str) -> Steps[Flow]:
        """Return one flow.

        :raises ViNotFoundError: there is no flow with this id
        """
        return (yield from self._flow("GET", flow_id))

    def flow_exists(self, flow_id: str) -> Steps[bool]:
        """Return whether a flow exists; any response but a flow or a 404 is an error."""
        try:
            yield from self.get_flow(flow_id)
        except ViNotFoundError:
            return False
        return True

    def find_flow(
        self, *, flow_id: str | None = None, name: str | None = None, training_project: str | None = None
    ) -> Steps[Flow | None]:
        """Return the flow with this id, or the last updated one of this name; ``None`` if there is none.

        :param training_project: ignore flows of other training projects
        """
        if (flow_id is None) == (name is None):
            raise ViValidationError("give either a flow id or a flow name to find")
        if flow_id is not None:
            try:
                flow = yield from self.get_flow(flow_id)
            except ViNotFoundError:
                return None
            return flow if training_project in (None, flow.spec.training_project) else None
        scan = yield from self.scan_flows(frozenset(), frozenset({name}))
        flows = [flow for flow in scan.flows if training_project in (None, flow.spec.training_project)]
        return max(flows, key=last_update, default=None)

    # --- deletes -----------------------------------------------------------------------------------------------

    def delete_flow(self, flow_id: str) -> Steps[DeletedFlow]:
        """Delete a flow. An absent one is no error (``already_absent``).

        If the response to an attempt is lost and the flow is absent afterwards, this call counts as having deleted it.

        :raises ViConflictError: the flow is in use by a run
        """
        return _deletion(flow_id, (yield from self._delete(f"/flows/{checked_id(flow_id)}")))

    def delete_flow_if(self, flow_id: str, matches: Callable[[Flow], bool]) -> Steps[DeletedFlow | Flow]:
        """Delete a flow only while it matches; return the flow, untouched, if it does not.

        Each attempt to delete is preceded by a read: a retry never deletes a change that was made meanwhile.

        :raises ViConflictError: the flow is in use by a run
        """
        call = self._begin(self._request("DELETE", f"/flows/{checked_id(flow_id)}"))
        while True:
            flow = yield from self._current_flow(flow_id, call)
            if flow is None:
                return _deletion(flow_id, call.retry.may_have_applied)
            if not matches(flow):
                return flow
            outcome, context = yield from self._attempt(call)
            if is_success(outcome, ABSENT):
                return _deletion(flow_id, was_deleted(call, outcome, context))
            yield self._back_off(call, outcome, context)

    def delete_flows(self, flow_ids: Iterable[str], *, concurrency: int = 8) -> Steps[list[DeletedFlow]]:
        """Delete flows concurrently, and return the outcome of each, in the order of the ids.

        After the first failure no further delete begins; those in flight are waited for. Nothing is compared or
        archived: for a cleanup, see :class:`~vi_airflow_provider.operators.prune.PruneFlowsOperator`.

        :param concurrency: requests in flight at most, up to 16
        :raises ViValidationError: a value is not a flow id; nothing is deleted
        :raises ViError: a flow could not be deleted; those deleted before are ``already_absent`` the next time
        """
        ids = [checked_id(flow_id) for flow_id in flow_ids]
        failures: list[ViError] = []

        def delete(flow_id: str) -> Steps[DeletedFlow | None]:
            try:
                return None if failures else (yield from self.delete_flow(flow_id))
            except ViError as error:
                failures.append(error)
                return None

        limit = checked_count(concurrency, "concurrency", 1)
        deleted = yield Concurrently([delete(flow_id) for flow_id in ids], limit)
        if not isinstance(deleted, list):
            raise AssertionError("a client replies to Concurrently with a list")
        if failures:
            raise failures[0]
        return deleted

    # --- writes ------------------------------------------------------------------------------------------------

    def create_flow(
        self,
        spec: FlowSpec | Mapping[str, Any],
        *,
        attributes: Mapping[str, str] | None = None,
        flow_id: str | None = None,
    ) -> Steps[Flow]:
        """Create a flow (PUT). The client chooses the id, so a retried request cannot create a second flow.

        :param spec: the flow's spec, as a model or as a dict with keys in snake_case or camelCase
        :param attributes: text to find the flow by
        :param flow_id: create it under this id, replacing what exists there; a new id by default
        """
        return (
            yield from self.replace_flow(str(uuid.uuid4()) if flow_id is None else flow_id, spec, attributes=attributes)
        )

    def replace_flow(
        self, flow_id: str, spec: FlowSpec | Mapping[str, Any], *, attributes: Mapping[str, str] | None = None
    ) -> Steps[Flow]:
        """Replace spec and attributes of a flow as a whole (PUT)."""
        return (yield from self._flow("PUT", flow_id, _put_body(spec, attributes)))

    def put_flow_if(
        self,
        flow_id: str,
        spec: FlowSpec | Mapping[str, Any],
        attributes: Mapping[str, str] | None = None,
        *,
        matches: Callable[[Flow | None], bool],
    ) -> Steps[GuardedWrite]:
        """Create or replace a flow only while the current one, or ``None``, matches.

        Each attempt to write is preceded by a read: a retry never overwrites a change that was made meanwhile.
        If the response to an attempt is lost, finding exactly what it wrote counts as written.
        """
        return (yield from self._put_if(flow_id, _put_body(spec, attributes), matches))

    def restore_flow(self, document: Mapping[str, Any]) -> Steps[Flow]:
        """Write a flow as it was read (``Flow.to_wire()``): same id, spec and attributes, unknown fields included."""
        return (yield from self._flow("PUT", document["flowId"], _restore_body(document)))

    def restore_flow_if(
        self, document: Mapping[str, Any], matches: Callable[[Flow | None], bool]
    ) -> Steps[GuardedWrite]:
        """Write a flow as it was read, only while the current one, or ``None``, matches; see :meth:`put_flow_if`."""
        return (yield from self._put_if(document["flowId"], _restore_body(document), matches))

    def update_flow(
        self,
        flow_id: str,
        *,
        spec: FlowSpec | Mapping[str, Any] | None = None,
        attributes: Mapping[str, str | None] | None = None,
    ) -> Steps[Flow]:
        """Change the given fields of the spec and the given attributes (PATCH); ``None`` removes an attribute."""
        body = {} if spec is None else {"spec": codec.wire_spec(FlowSpecPatch.complete, spec)}
        body |= codec.wire_metadata(attributes, removable=True)
        if not body:
            raise ViValidationError("nothing to update: give a spec, attributes, or both")
        return (yield from self._flow("PATCH", flow_id, body))

    # --- requests ----------------------------------------------------------------------------------------------

    def _flow(self, method: str, flow_id: str, body: Mapping[str, Any] | None = None) -> Steps[Flow]:
        call = self._begin(self._request(method, f"/flows/{checked_id(flow_id)}", body))
        return self._parse_flow(flow_id, *(yield from self._exchange(call)))

    def _parse_flow(self, flow_id: str, response: Response, context: ErrorContext) -> Flow:
        flow = codec.parse_document(Flow, codec.json_content(response, context, "a flow"), context)
        codec.check_identity("flow", flow.flow_id, flow_id, context)
        codec.check_identity("organization", flow.organization_id, self.settings.organization_id, context)
        return flow

    def _flows(self, page_size: int | None, limit: int | None = None, **options: Any) -> Paginator[Flow]:
        parse = ListedFlows(self.settings.organization_id).parse
        return self._paginator("flows", parse, attrgetter("flow_id"), page_size, limit, **options)

    def _current_flow(self, flow_id: str, write: Call) -> Steps[Flow | None]:
        """Read the flow before an attempt to write it, within the retry budget of the write."""
        call = self._begin(self._request("GET", f"/flows/{flow_id}"), write.retry.deadline)
        try:
            return self._parse_flow(flow_id, *(yield from self._exchange(call)))
        except ViNotFoundError:
            return None

    def _put_if(
        self, flow_id: str, body: Mapping[str, Any], matches: Callable[[Flow | None], bool]
    ) -> Steps[GuardedWrite]:
        call = self._begin(self._request("PUT", f"/flows/{checked_id(flow_id)}", body))
        while True:
            flow = yield from self._current_flow(flow_id, call)
            if flow is not None and call.retry.may_have_applied and _is_written(flow, body):
                return GuardedWrite(written=True, flow=flow)
            if not matches(flow):
                return GuardedWrite(written=False, flow=flow)
            outcome, context = yield from self._attempt(call)
            if is_success(outcome):
                return GuardedWrite(written=True, flow=self._parse_flow(flow_id, outcome, context))
            yield self._back_off(call, outcome, context)


def _deletion(flow_id: str, deleted: bool) -> DeletedFlow:
    return DeletedFlow(id=flow_id, deleted=deleted, already_absent=not deleted)


def _put_body(spec: FlowSpec | Mapping[str, Any], attributes: Mapping[str, str] | None) -> dict[str, Any]:
    return {"spec": codec.wire_spec(FlowSpec.complete, spec)} | codec.wire_metadata(attributes)


def _restore_body(document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in document["metadata"].items() if key not in _SERVER_METADATA}
    return {"spec": document["spec"], "metadata": metadata}


def _is_written(flow: Flow, body: Mapping[str, Any]) -> bool:
    """Does a flow hold what a PUT of this body writes: the canonical spec, and the attributes if it has any?"""
    wire = flow.to_wire()
    if canonical_json(canonical_spec(wire["spec"])) != canonical_json(canonical_spec(body["spec"])):
        return False
    attributes = body.get("metadata", {}).get("attributes")
    return attributes is None or wire["metadata"]["attributes"] == attributes
