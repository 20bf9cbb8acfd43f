"""Downloads from the storage host of a pre-signed URL: bounded memory, resumed where the host can, without credentials.

The URL is a secret, and the host is not Vi. So a request has neither the key nor cookies, redirects may lead elsewhere,
and the URL is in no message: exceptions of libraries become values, and the library's own log of requests is silent.

A download goes on while it makes progress. A broken connection, a busy host and a URL that has expired are dealt with
by further requests for the rest. What counts as progress is a byte beyond all that were ever held, so that a host that
breaks at the same place each time, and cannot resume, does not go on for ever.

The head of a response, redirects included, must be complete within the retry budget, like that of any other call. So
must each further piece of the content: a body may drip, but what is no content, such as trailers, is no progress.
"""

from __future__ import annotations

import http.client
import logging
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from vi_airflow_provider.api.errors import ViError, ViNetworkError, ViResponseError, one_line
from vi_airflow_provider.api.protocol.download import (
    Begin,
    ContentVersion,
    Held,
    Later,
    Redirect,
    Refuse,
    Renew,
    Sink,
    StartOver,
    judge,
    request_headers,
)
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Outcome, Request, Response
from vi_airflow_provider.api.protocol.outcomes import error_class
from vi_airflow_provider.api.protocol.retry import RetryPolicy, RetryState
from vi_airflow_provider.api.proxies import is_loopback, proxy_for
from vi_airflow_provider.api.settings import Secret, ViSettings
from vi_airflow_provider.api.transport import deadlines, requests_failures
from vi_airflow_provider.api.transport.failures import without_frames

log = logging.getLogger(__name__)

MAX_REDIRECTS: Final = 5
#: New URLs in a row that the host may reject.
MAX_RENEWALS: Final = 2
_SAFE: Final = "!$%&'()*+,/:;=?@[]~"
#: Decides about retries by its method alone.
_GET: Final = Request("GET", "", "", {})
_ADVICE: Final = "Check that workers can reach the storage host, and their clock; the next try continues the download."


class _Quiet(logging.Filter):
    """Drops records that are made during a request: they contain the URL."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _in_request.get()


_in_request: Final[ContextVar[bool]] = ContextVar("in_request", default=False)
_quiet: Final = _Quiet()


@contextmanager
def _unlogged() -> Iterator[None]:
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_quiet)
    token = _in_request.set(True)
    try:
        yield
    finally:
        _in_request.reset(token)


class _Session(requests.Session):
    """A session without credentials, that leaves every decision to the downloader."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # neither a netrc file nor variables: what applies is decided here
        self.mount("https://", deadlines.Adapter(pool_maxsize=1))
        self.mount("http://", deadlines.Adapter(pool_maxsize=1))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Prepare no redirect: ``requests`` would read an unbounded body for it."""


class Downloader:
    """Downloads contents, with the proxy, the certificates, the timeouts and the patience of a connection.

    :param sleep: waits between two attempts
    :param clock: seconds of a monotonic clock
    """

    def __init__(
        self,
        settings: ViSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._settings = settings
        self._sleep = sleep
        self._clock = clock
        self._policy = RetryPolicy(
            settings.max_retries, settings.max_rate_limit_retries, settings.max_retry_delay, jitter
        )

    def download(self, new_url: Callable[[], Secret], sink: Sink) -> None:
        """Fill a sink with a content; what it holds of it is not requested again.

        :param new_url: returns a URL that has not expired
        :raises ViError: it is not complete; a later call with the same sink continues
        """
        url: Secret | None = None
        record, renewals, retry = sink.held.size, 0, self._fresh()
        while not sink.held.is_complete:
            url = url or _clean(new_url())
            host, outcome = self._attempt(url, sink)
            if outcome is None:
                if not sink.held.size:
                    raise ViResponseError(f"download from {host}: the content is empty")
                return
            if sink.held.size > record:
                record, renewals, retry = sink.held.size, 0, self._fresh()
            if isinstance(outcome, Response) and judge(outcome.status, outcome.headers, Held()) == Renew():
                url, renewals = None, renewals + 1
                if renewals > MAX_RENEWALS:
                    raise _rejected(host, outcome)
                log.info("The storage host %s rejects the URL (%s); a new one is requested.", host, outcome.summary)
            else:
                retry = self._back_off(retry, host, outcome)

    def _fresh(self) -> RetryState:
        return RetryState(self._policy, self._clock() + self._settings.retry_budget)

    def _back_off(self, retry: RetryState, host: str, outcome: Outcome) -> RetryState:
        following = retry.after(_GET, outcome, self._clock())
        if following is None:
            is_final = isinstance(outcome, Failure) and not outcome.kind.transient  # with advice of its class
            message = f"download from {host}: {outcome.summary}"
            raise error_class(outcome)(message, advice=None if is_final else _ADVICE)
        log.warning("Download from %s: %s; continuing in %.1f s", host, outcome.summary, following.delay)
        self._sleep(following.delay)
        return following

    def _attempt(self, url: Secret, sink: Sink) -> tuple[str, Outcome | None]:
        """Request what is missing and read it; return the host, and what went wrong."""
        budget, call, redirects = self._settings.retry_budget, deadlines.Call(), 0
        call.deadline = time.monotonic() + budget
        with _Session() as session:
            while True:
                host = self._checked_host(url)
                response = self._send(session, call, url, request_headers(sink.held, self._settings.user_agent))
                if isinstance(response, Failure):
                    return host, response
                with response:
                    headers = {name.lower(): Secret(value) for name, value in response.headers.items()}
                    match judge(response.status_code, headers, sink.held):
                        case Begin() as begin:
                            return host, _read(response, begin, sink, call, budget)
                        case StartOver():
                            log.info("The content has changed at the storage host; the download starts over.")
                            sink.begin(ContentVersion(None, None))
                        case Redirect(location) if redirects < MAX_REDIRECTS:
                            redirects, url = redirects + 1, _joined(url, location)
                        case Renew() | Later():
                            return host, Response(response.status_code, headers)
                        case Refuse(reason):
                            raise ViResponseError(f"download from {host}: {reason}", status_code=response.status_code)
                        case _:
                            raise ViResponseError(f"download from {host}: more than {MAX_REDIRECTS} redirects")

    def _checked_host(self, url: Secret) -> str:
        scheme, host = _origin(url)
        if not host or scheme not in ("http", "https"):
            raise ViResponseError("the URL of the download is not an http(s) URL")
        if scheme == "http" and not self._settings.allow_http and not is_loopback(host):
            raise ViResponseError(
                f"the URL of the download leads to {host} by plain http://, which would show it to the network",
                advice="extra.allow_http of the connection accepts that.",
            )
        return host

    def _send(
        self, session: _Session, call: deadlines.Call, url: Secret, headers: dict[str, str]
    ) -> requests.Response | Failure:
        outer = sys.exception()
        settings = self._settings
        deadlines.current.set(call)
        proxy = proxy_for(url, settings.proxy)
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url, prepared.headers = "GET", url, CaseInsensitiveDict(headers)
        try:
            with _unlogged():
                return session.send(
                    prepared,
                    proxies={"http": proxy, "https": proxy} if proxy else {},
                    verify=settings.ca_bundle(),
                    timeout=(settings.connect_timeout, settings.read_timeout),
                    allow_redirects=False,
                    stream=True,
                )
        except requests_failures.ERRORS as error:
            return requests_failures.failure(error, outer, None)
        except BaseException as error:
            raise without_frames(error, outer)  # noqa: B904 - it is the caught one


def _read(response: requests.Response, begin: Begin, sink: Sink, call: deadlines.Call, budget: float) -> Failure | None:
    """Read the body; return what cut it off.

    :param budget: seconds within which at least a byte of the content must arrive
    """
    if begin.start == 0:
        if sink.held.size:
            log.info("The storage host does not continue the download, which starts over.")
        sink.begin(begin.version)
    status, missing = response.status_code, begin.length
    while missing != 0:
        buffer = sink.buffer()
        call.deadline = time.monotonic() + budget
        count = _arrived(response, buffer if missing is None else buffer[:missing])
        if isinstance(count, Failure):
            return count
        if count == 0:
            return None if missing is None else Failure(FailureKind.BROKEN, status=status)
        sink.write(count)  # outside of the try: a full disk is no broken connection
        missing = None if missing is None else missing - count
    return None if sink.held.is_complete else Failure(FailureKind.BROKEN, status=status)


def _arrived(response: requests.Response, buffer: memoryview) -> int | Failure:
    """Read what has arrived; return the number of bytes."""
    outer, status = sys.exception(), response.status_code
    body: Any = response.raw._fp  # of urllib3's own methods, each copies
    try:
        return body.read_into(buffer)  # type: ignore[no-any-return]
    except TimeoutError:
        return Failure(FailureKind.TIMEOUT, "the content was still arriving", status)
    except (http.client.HTTPException, *requests_failures.ERRORS) as error:
        return requests_failures.failure(error, outer, status)


def _origin(url: Secret) -> tuple[str, str]:
    """Return scheme and host. The frame that raises an error must not hold the parts of the URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme, one_line(parts.hostname or "", 100) if parts.port != 0 else ""
    except ValueError:
        return "", ""


def _joined(url: Secret, location: Secret) -> Secret:
    try:
        return _clean(urljoin(url, location))
    except ValueError:
        raise ViResponseError("the storage host redirects to an invalid URL") from None


def _clean(url: str) -> Secret:
    """Return a URL as it is sent: without a fragment, and with what a URL must not contain escaped."""
    return Secret(quote(url.partition("#")[0], safe=_SAFE))


def _rejected(host: str, outcome: Response) -> ViError:
    return ViNetworkError(f"the storage host {host} rejects new URLs: {outcome.summary}", advice=_ADVICE)
