"""One call of the Vi API: build the request, send it, follow redirects, retry, log, and judge the outcome.

No input or output happens here: a call yields steps (see ``messages``), and the clients carry them out. Clock and
jitter are arguments, so a test controls the time.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeGuard
from urllib.parse import quote, urljoin, urlsplit

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.api.protocol import codec
from vi_airflow_provider.api.protocol.messages import Failure, Outcome, Request, Response, Send, Sleep, Steps
from vi_airflow_provider.api.protocol.outcomes import ErrorContext, describe, error_class, is_success
from vi_airflow_provider.api.protocol.redaction import Redactor
from vi_airflow_provider.api.protocol.retry import RetryPolicy, RetryState, retry_after
from vi_airflow_provider.api.settings import Secret, ViSettings

log = logging.getLogger(__name__)

#: Decoded bytes of one response. A page of 1,000 flows has about 4 MB.
MAX_RESPONSE_BYTES: Final = 64 * 1024 * 1024
MAX_REDIRECTS: Final = 5


@dataclass
class Call:
    """A call in progress: its request, how many were sent, and what its retries have used up."""

    request: Request
    retry: RetryState
    attempts: int = 0
    redirects: int = 0


class Exchange:
    """Calls for one organization, as steps. The verbs are methods of its subclasses.

    :param settings: where, as whom and how patiently to call
    :param clock: seconds of a monotonic clock
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
        self._proxy = settings.proxy_url()
        self._policy = RetryPolicy(
            settings.max_retries, settings.max_rate_limit_retries, settings.max_retry_delay, jitter
        )
        self._redact = Redactor(settings.secrets())
        self._headers = {
            "Authorization": Secret(f"Bearer {settings.secret_key}"),
            "Organization-Id": settings.organization_id,
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "Content-Type": "application/json",
            "User-Agent": settings.user_agent,
        }

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, root: str = "/workspaces"
    ) -> Request:
        path = f"{root}/{self.settings.organization_id}{path}"
        content = None if body is None else codec.encode_body(body)
        return Request(method, self.settings.endpoint + path, path, self._headers, content)

    def _begin(self, request: Request, deadline: float | None = None) -> Call:
        if deadline is None:
            deadline = self._clock() + self.settings.retry_budget
        return Call(request, RetryState(self._policy, deadline))

    def _exchange(self, call: Call, accept: frozenset[int] = frozenset()) -> Steps[tuple[Response, ErrorContext]]:
        """Send until the response is a 2xx or one of ``accept``, or there is no reason to retry."""
        while True:
            outcome, context = yield from self._attempt(call)
            if is_success(outcome, accept):
                return outcome, context
            yield self._back_off(call, outcome, context)

    def _attempt(self, call: Call) -> Steps[tuple[Outcome, ErrorContext]]:
        """Send once, and follow redirects."""
        while True:
            outcome, context = yield from self._send(call)
            if not _is_redirect(outcome) or call.redirects >= MAX_REDIRECTS:
                return outcome, context
            call.request = _redirected(call.request, outcome, context)
            call.redirects += 1

    def _send(self, call: Call) -> Steps[tuple[Outcome, ErrorContext]]:
        began = self._clock()
        outcome = yield Send(call.request, max(0.001, call.retry.deadline - began), MAX_RESPONSE_BYTES)
        if not isinstance(outcome, Response | Failure):
            raise AssertionError("a client replies to Send with a Response or a Failure")
        if call.request.method == "DELETE" and isinstance(outcome, Failure) and outcome.status is not None:
            outcome = Response(outcome.status)  # the status decides; only the body was cut off
        call.attempts += 1
        context = ErrorContext.of(call.request, outcome, call.attempts, self._redact)
        milliseconds = (self._clock() - began) * 1000
        summary = self._redact(outcome.summary)
        line = "%s %s: %s in %.0f ms (trace %s)"
        log.debug(line, context.method, context.path, summary, milliseconds, context.trace_id)
        return outcome, context

    def _back_off(self, call: Call, outcome: Outcome, context: ErrorContext) -> Sleep:
        """Return the wait before the next attempt; raise the error that the outcome means if there is none."""
        retry = call.retry.after(call.request, outcome, self._clock())
        if retry is None:
            message = describe(call.request, outcome, self._proxy, self._redact)
            error = context.error(error_class(outcome), message)
            error.retry_after = retry_after(outcome)
            raise error
        call.retry = retry
        summary = self._redact(outcome.summary)
        line = "%s %s: %s; retrying in %.1f s (attempt %d)"
        log.warning(line, context.method, context.path, summary, retry.delay, call.attempts)
        return Sleep(retry.delay)


def _is_redirect(outcome: Outcome) -> TypeGuard[Response]:
    return isinstance(outcome, Response) and 300 <= outcome.status < 400 and "location" in outcome.headers


def _redirected(request: Request, response: Response, context: ErrorContext) -> Request:
    """Follow a redirect of a GET within the origin; any other could leak the key or change the method."""
    try:
        # Quoted here because the libraries of the two clients differ in that.
        target = quote(urljoin(request.url, response.headers["location"]), safe="!#$%&'()*+,/:;=?@[]~")
        old, new = urlsplit(request.url), urlsplit(target)
    except ValueError:
        raise context.response_error(f"the server redirects ({response.status}) to an invalid URL") from None
    if request.method == "GET" and (new.scheme, new.netloc) == (old.scheme, old.netloc):
        return replace(request, url=target)
    where = one_line(f"{new.scheme}://{new.hostname}", 100)
    raise context.response_error(
        f"the server redirects ({response.status}) to {where}, which is not followed; "
        "if the API is there, put that URL into the connection's host"
    )
