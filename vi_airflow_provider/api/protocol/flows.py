"""What the Vi API expects and what its answers mean: every decision, and no input or output.

A call is a generator of :class:`Send` and :class:`Sleep` steps (see ``messages``). The synchronous and the
asynchronous client only carry the steps out, so they cannot disagree about a header, an error, a retry or the
next page. The clock and the jitter are arguments: a test decides what time it is.
"""

from __future__ import annotations

import copy
import logging
import random
import re
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final, TypeGuard, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from pydantic import BaseModel

from vi_airflow_provider.api.canonical import canonical_json, canonical_spec
from vi_airflow_provider.api.errors import (
    ViAuthenticationError,
    ViCertificateError,
    ViConflictError,
    ViError,
    ViNetworkError,
    ViNotFoundError,
    ViPermissionError,
    ViRateLimitError,
    ViResponseError,
    ViServerError,
    ViTimeoutError,
    ViValidationError,
    one_line,
)
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
from vi_airflow_provider.api.protocol.codec import ErrorContext, RawPage, Scan
from vi_airflow_provider.api.protocol.lazy_flow import parse_listed_flow
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Request, Response, Send, Sleep, Steps
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.protocol.redaction import Redactor
from vi_airflow_provider.api.settings import Secret, ViSettings
from vi_airflow_provider.api.validation import checked_count, checked_id

log = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)

#: Decoded bytes of one answer. A page of 1,000 flows has about 4 MB; what is beyond this is no flow page.
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_REDIRECTS: Final = 5

#: Metadata that the server keeps by itself.
_SERVER_METADATA: Final = frozenset({"timeCreated", "lastUpdated", "generation"})

#: Beside 2xx, what means that a flow no longer exists.
_DELETED: Final = frozenset({404})

_KEY_LIKE: Final = re.compile(r"dtvi_[!-~]+")

_ERRORS: Final[Mapping[int, type[ViError]]] = {
    401: ViAuthenticationError,
    403: ViPermissionError,
    404: ViNotFoundError,
    408: ViTimeoutError,
    409: ViConflictError,
    429: ViRateLimitError,
}


def error_class(outcome: Response | Failure) -> type[ViError]:
    """Return the error that an outcome means (VI_API.md section 7)."""
    if isinstance(outcome, Failure):
        if outcome.kind in (FailureKind.TIMEOUT, FailureKind.CONNECT_TIMEOUT):
            return ViTimeoutError
        if outcome.kind is FailureKind.CERTIFICATE:
            return ViCertificateError
        unusable = outcome.kind in (FailureKind.TOO_LARGE, FailureKind.INVALID)
        return ViResponseError if unusable else ViNetworkError
    if outcome.status in _ERRORS:
        return _ERRORS[outcome.status]
    if 400 <= outcome.status < 500:
        return ViValidationError
    return ViServerError if 500 <= outcome.status < 600 else ViResponseError


def may_retry(request: Request, outcome: Response | Failure) -> bool:
    """Decide whether the same request may be sent once more (VI_API.md section 8, provider rules)."""
    if isinstance(outcome, Failure):
        return outcome.kind.transient and (request.idempotent or outcome.kind.before_send)
    if outcome.status == 429:
        return True
    return request.idempotent and (outcome.status == 408 or 500 <= outcome.status < 600)


def retry_after(outcome: Response | Failure, now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that ``Retry-After`` asks for (RFC 9110 section 10.2.3), ``None`` without a usable one."""
    if isinstance(outcome, Failure) or outcome.status not in (429, 503):
        return None
    value = outcome.headers.get("retry-after", "").strip()
    if re.fullmatch(r"-?\d{1,300}(\.\d{1,300})?", value, re.ASCII):
        return max(0.0, float(value))
    try:
        when = parsedate_to_datetime(value)
        # The oldest form of a date names no zone, and means UTC (RFC 9110 section 5.6.7).
        return max(0.0, when.replace(tzinfo=when.tzinfo or UTC).timestamp() - now())
    except (ValueError, OverflowError):
        return None


@dataclass
class _Call:
    """The state of one call: how often it was tried, and until when it may be."""

    request: Request
    deadline: float
    attempts: int = 0
    retries: int = 0
    rate_limit_retries: int = 0
    redirects: int = 0
    #: Did an attempt that failed reach the server, so that it may have acted on it?
    may_have_applied: bool = False


class ViProtocol:
    """The calls of the Vi API for one organization, as steps.

    :param settings: whom and how to call
    :param clock: seconds of a clock that never goes back
    :param jitter: returns a random number between its two arguments
    """

    def __init__(
        self,
        settings: ViSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._jitter = jitter
        self._redact = Redactor(settings.secrets())
        self._headers = {
            "Authorization": Secret(f"Bearer {settings.secret_key}"),
            "Organization-Id": settings.organization_id,
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "Content-Type": "application/json",
            "User-Agent": settings.user_agent,
        }

    # --- the calls ---------------------------------------------------------------------------------------------

    def walk_flows(
        self, page_size: int | None = None, limit: int | None = None, token: str | None = None
    ) -> Paginator[Flow]:
        """Begin a listing of flows, newest first (VI_API.md section 6)."""
        return self._walk("flows", parse_listed_flow, page_size, limit, token)

    def walk_simple_flows(self, page_size: int | None = None, limit: int | None = None) -> Paginator[SimpleFlow]:
        """Begin a listing of flow ids and names."""
        return self._walk("simpleFlows", partial(codec.parse_document, SimpleFlow), page_size, limit, None)

    def get_flow(self, flow_id: str) -> Steps[Flow]:
        """Read one flow; :class:`ViNotFoundError` where there is none."""
        return (yield from self._flow("GET", flow_id))

    def flow_exists(self, flow_id: str) -> Steps[bool]:
        """Tell whether a flow exists. Anything but a flow or a 404 is an error, not an answer."""
        try:
            yield from self.get_flow(flow_id)
        except ViNotFoundError:
            return False
        return True

    def find_flow(
        self, *, flow_id: str | None = None, name: str | None = None, training_project: str | None = None
    ) -> Steps[Flow | None]:
        """Look for a flow by id or by name, optionally within a training project; ``None`` where there is none.

        Names need not be unique: the flow that was updated last is the one that is meant.
        """
        if (flow_id is None) == (name is None):
            raise ViValidationError("give either a flow id or a flow name to look for")
        if flow_id is not None:
            try:
                flow = yield from self.get_flow(flow_id)
            except ViNotFoundError:
                return None
            return flow if training_project in (None, flow.spec.training_project) else None
        found = yield from self.scan_flows(frozenset(), frozenset({name}))
        flows = [flow for flow in found.flows if training_project in (None, flow.spec.training_project)]
        return max(flows, key=last_update, default=None)

    def scan_flows(
        self, flow_ids: Collection[str], names: Collection[str | None], max_pages: int | None = None
    ) -> Steps[Scan]:
        """Read the listing for flows of these ids or names. Only those are validated, which is most of the cost.

        :param max_pages: give up after so many pages; the scan is not ``complete`` then
        """
        flows: list[Flow] = []
        pages = 0
        walk = self.walk_flows()
        while (steps := walk.next_page()) is not None:
            if pages == max_pages:
                return Scan(flows, pages, complete=False)
            page = yield from steps
            pages += 1
            flows += page.documents(lambda peek: peek.flowId in flow_ids or peek.spec.name in names)
        return Scan(flows, pages, complete=True)

    def delete_flow(self, flow_id: str) -> Steps[DeletedFlow]:
        """Delete a flow. A 2xx is success; so is 404, and after a lost answer it means "deleted by us"."""
        request = self._request("DELETE", f"/flows/{checked_id(flow_id)}")
        call = self._begin(request)
        response, context = yield from self._exchange(call, accept=_DELETED)
        return _deleted(flow_id, response, context, call)

    def delete_flow_if(self, flow_id: str, matches: Callable[[Flow], bool]) -> Steps[DeletedFlow | Flow]:
        """Delete a flow only while it matches; return the flow, untouched, if it does not.

        Each attempt to delete is preceded by a read: a retry never deletes what somebody changed meanwhile.

        :raises ViConflictError: the flow is in use by a run
        """
        call = self._begin(self._request("DELETE", f"/flows/{checked_id(flow_id)}"))
        while True:
            flow = yield from self._current_flow(flow_id, call.deadline)
            if flow is None:
                return _deleted_flow(flow_id, call.may_have_applied)
            if not matches(flow):
                return flow
            outcome, context = yield from self._attempt(call)
            if _accepts(outcome, _DELETED):
                return _deleted(flow_id, outcome, context, call)
            yield Sleep(self._wait(call, outcome, context))

    def put_flow(
        self,
        flow_id: str | None,
        spec: FlowSpec | Mapping[str, Any],
        attributes: Mapping[str, str] | None = None,
    ) -> Steps[Flow]:
        """Create or replace a flow as a whole. Without an id one is made here, so a repeated PUT cannot duplicate."""
        body = _put_body(spec, attributes)
        return (yield from self._flow("PUT", str(uuid.uuid4()) if flow_id is None else flow_id, body))

    def put_flow_if(
        self,
        flow_id: str,
        spec: FlowSpec | Mapping[str, Any],
        attributes: Mapping[str, str] | None = None,
        *,
        matches: Callable[[Flow | None], bool],
    ) -> Steps[GuardedWrite]:
        """Create or replace a flow only while what is there, or ``None``, matches.

        Each attempt to write is preceded by a read: a retry never overwrites what somebody changed meanwhile.
        """
        return (yield from self._put_if(flow_id, _put_body(spec, attributes), matches))

    def restore_flow(self, document: Mapping[str, Any]) -> Steps[Flow]:
        """Write a flow as it was read: same id, spec and metadata, with the fields that we do not know."""
        return (yield from self._flow("PUT", document["flowId"], _restore_body(document)))

    def restore_flow_if(
        self, document: Mapping[str, Any], matches: Callable[[Flow | None], bool]
    ) -> Steps[GuardedWrite]:
        """Write a flow as it was read, only while what is there, or ``None``, matches; see :meth:`put_flow_if`."""
        return (yield from self._put_if(document["flowId"], _restore_body(document), matches))

    def patch_flow(
        self,
        flow_id: str,
        spec: FlowSpec | Mapping[str, Any] | None = None,
        attributes: Mapping[str, str | None] | None = None,
    ) -> Steps[Flow]:
        """Change what is given and nothing else; an attribute of ``None`` is removed (VI_API.md section 3)."""
        body = {} if spec is None else {"spec": codec.wire_spec(FlowSpecPatch.complete, spec)}
        body |= codec.wire_metadata(attributes, removable=True)
        if not body:
            raise ViValidationError("nothing to update: give a spec, attributes, or both")
        return (yield from self._flow("PATCH", flow_id, body))

    # --- requests ----------------------------------------------------------------------------------------------

    def _walk(
        self,
        collection: str,
        parse: Callable[[bytes, ErrorContext, str], M],
        page_size: int | None,
        limit: int | None,
        token: str | None,
    ) -> Paginator[M]:
        size = self.settings.page_size if page_size is None else checked_count(page_size, "page_size", 1)
        if limit is not None:
            checked_count(limit, "limit", 0)

        def fetch(size: int, token: str | None) -> Steps[RawPage[M]]:
            # The address is built from the cursor alone, whatever else the server says.
            query = urlencode({"s": size} if token is None else {"p": token, "s": size})
            answer, origin = yield from self._exchange(self._begin(self._request("GET", f"/{collection}?{query}")))
            return codec.parse_page(parse, answer, origin)

        return Paginator(fetch, size, limit, token)

    def _flow(self, method: str, flow_id: str, body: Mapping[str, Any] | None = None) -> Steps[Flow]:
        call = self._begin(self._request(method, f"/flows/{checked_id(flow_id)}", body))
        return _flow_in(*(yield from self._exchange(call)))

    def _current_flow(self, flow_id: str, deadline: float) -> Steps[Flow | None]:
        call = replace(self._begin(self._request("GET", f"/flows/{flow_id}")), deadline=deadline)
        try:
            return _flow_in(*(yield from self._exchange(call)))
        except ViNotFoundError:
            return None

    def _put_if(
        self, flow_id: str, body: Mapping[str, Any], matches: Callable[[Flow | None], bool]
    ) -> Steps[GuardedWrite]:
        call = self._begin(self._request("PUT", f"/flows/{checked_id(flow_id)}", body))
        while True:
            flow = yield from self._current_flow(flow_id, call.deadline)
            if flow is not None and call.may_have_applied and _is_written(flow, body):
                return GuardedWrite(written=True, flow=flow)
            if not matches(flow):
                return GuardedWrite(written=False, flow=flow)
            outcome, context = yield from self._attempt(call)
            if _accepts(outcome):
                return GuardedWrite(written=True, flow=_flow_in(outcome, context))
            yield Sleep(self._wait(call, outcome, context))

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Request:
        path = f"/workspaces/{self.settings.organization_id}{path}"
        content = None if body is None else codec.encode_body(body)
        return Request(method, self.settings.endpoint + path, path, self._headers, content)

    # --- one call: attempts, waits, the verdict ----------------------------------------------------------------

    def _begin(self, request: Request) -> _Call:
        return _Call(request, deadline=self._clock() + self.settings.retry_budget)

    def _exchange(self, call: _Call, accept: frozenset[int] = frozenset()) -> Steps[tuple[Response, ErrorContext]]:
        """Send until there is a response of 2xx or of ``accept``, or no reason to try again."""
        while True:
            outcome, context = yield from self._attempt(call)
            if _accepts(outcome, accept):
                return outcome, context
            yield Sleep(self._wait(call, outcome, context))

    def _attempt(self, call: _Call) -> Steps[tuple[Response | Failure, ErrorContext]]:
        """Send once, and follow redirects."""
        while True:
            outcome, context = yield from self._send(call)
            if (
                isinstance(outcome, Response)
                and 300 <= outcome.status < 400
                and "location" in outcome.headers
                and call.redirects < MAX_REDIRECTS
            ):
                call.request = _redirected(call.request, outcome, context)
                call.redirects += 1
            else:
                return outcome, context

    def _send(self, call: _Call) -> Steps[tuple[Response | Failure, ErrorContext]]:
        began = self._clock()
        outcome = yield Send(call.request, max(0.001, call.deadline - began), MAX_ANSWER_BYTES)
        if outcome is None:
            raise AssertionError("a client replies to each Send with a Response or a Failure")
        if call.request.method == "DELETE" and isinstance(outcome, Failure) and outcome.status is not None:
            outcome = Response(outcome.status)  # the status decides; only the body was cut off
        call.attempts += 1
        context = ErrorContext.of(call.request, outcome, call.attempts, self._redact)
        milliseconds = (self._clock() - began) * 1000
        summary = self._redact(outcome.summary)
        log.debug(
            "%s %s: %s in %.0f ms (trace %s)", context.method, context.path, summary, milliseconds, context.trace_id
        )
        return outcome, context

    def _wait(self, call: _Call, outcome: Response | Failure, context: ErrorContext) -> float:
        """Return the seconds until the next attempt; raise the error if there is none."""
        delay = self._delay(call, outcome)
        if delay is None:
            error = context.error(error_class(outcome), self._message(call, outcome))
            error.retry_after = retry_after(outcome)
            raise error
        summary = self._redact(outcome.summary)
        log.warning(
            "%s %s: %s; trying again in %.1f s (attempt %d)",
            context.method,
            context.path,
            summary,
            delay,
            call.attempts,
        )
        return delay

    def _delay(self, call: _Call, outcome: Response | Failure) -> float | None:
        """Return the seconds until the next attempt, ``None`` if there shall be none; count this one."""
        if not may_retry(call.request, outcome):
            return None
        if isinstance(outcome, Response) and outcome.status == 429:
            tries, allowed = call.rate_limit_retries, self.settings.max_rate_limit_retries
            call.rate_limit_retries += 1
        else:
            tries, allowed = call.retries, self.settings.max_retries
            call.retries += 1
            call.may_have_applied |= isinstance(outcome, Response) or not outcome.kind.before_send
        if tries >= allowed:
            return None
        delay = retry_after(outcome)
        if delay is None:
            # Full jitter: tasks that failed together do not come back together.
            delay = self._jitter(0, 2.0 ** min(tries, 30))
        delay = min(delay, self.settings.max_retry_delay)
        return None if self._clock() + delay >= call.deadline else delay

    def _message(self, call: _Call, outcome: Response | Failure) -> str:
        if isinstance(outcome, Failure):
            proxy = self.settings.proxy_url() if outcome.kind is FailureKind.PROXY else None
            url = urlsplit(proxy or call.request.url)
            return f"{outcome.summary} ({url.netloc.rpartition('@')[2]})"
        # A server may quote the header that it did not like, also when it was another one's.
        said = one_line(_KEY_LIKE.sub("***", self._redact(codec.server_message(outcome)[:2000])))
        return f"{outcome.summary}: {said}" if said else outcome.summary


def _accepts(outcome: Response | Failure, accept: frozenset[int] = frozenset()) -> TypeGuard[Response]:
    return isinstance(outcome, Response) and (200 <= outcome.status < 300 or outcome.status in accept)


def _flow_in(response: Response, context: ErrorContext) -> Flow:
    return codec.parse_document(Flow, codec.json_content(response, context, "a flow"), context)


def _deleted(flow_id: str, response: Response, context: ErrorContext, call: _Call) -> DeletedFlow:
    if response.status != 404 and response.body.lstrip()[:1] == b"<":
        # A login page or portal responded with 200: nothing was deleted.
        raise context.error(ViResponseError, "the response to a DELETE is a web page")
    return _deleted_flow(flow_id, response.status != 404 or call.may_have_applied)


def _deleted_flow(flow_id: str, deleted: bool) -> DeletedFlow:
    return DeletedFlow(id=flow_id, deleted=deleted, already_absent=not deleted)


def _put_body(spec: FlowSpec | Mapping[str, Any], attributes: Mapping[str, str] | None) -> dict[str, Any]:
    return {"spec": codec.wire_spec(FlowSpec.complete, spec)} | codec.wire_metadata(attributes)


def _restore_body(document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in document["metadata"].items() if key not in _SERVER_METADATA}
    return {"spec": document["spec"], "metadata": metadata}


def _is_written(flow: Flow, body: Mapping[str, Any]) -> bool:
    """Does a flow hold what a PUT of this body writes: the canonical spec, and the attributes if it has any?"""
    wire, intended = flow.to_wire(), copy.deepcopy(dict(body))
    if canonical_json(canonical_spec(wire["spec"])) != canonical_json(canonical_spec(intended["spec"])):
        return False
    attributes = intended.get("metadata", {}).get("attributes")
    return attributes is None or wire["metadata"]["attributes"] == attributes


def _redirected(request: Request, answer: Response, origin: ErrorContext) -> Request:
    """Follow a redirect of a GET within the origin; any other could leak the key or change the verb."""
    try:
        # Quoted here, because one client's library would and the other's would not.
        target = quote(urljoin(request.url, answer.headers["location"]), safe="!#$%&'()*+,/:;=?@[]~")
        old, new = urlsplit(request.url), urlsplit(target)
    except ValueError:
        raise origin.error(ViResponseError, f"the server redirects ({answer.status}) to no URL") from None
    if request.method == "GET" and (new.scheme, new.netloc) == (old.scheme, old.netloc):
        return replace(request, url=target)
    where = one_line(f"{new.scheme}://{new.hostname}", 100)
    raise origin.error(
        ViResponseError,
        f"the server redirects ({answer.status}) to {where}, which is not followed; "
        "if that is where the API is, put it into the connection's host",
    )
