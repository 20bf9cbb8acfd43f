"""What the calls of every kind of resource have in common: listing, reading a document, deleting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel

from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.protocol import codec
from vi_airflow_provider.api.protocol.codec import RawPage
from vi_airflow_provider.api.protocol.exchange import Call, Exchange
from vi_airflow_provider.api.protocol.messages import Request, Response, Steps
from vi_airflow_provider.api.protocol.outcomes import ErrorContext, is_success
from vi_airflow_provider.api.protocol.page_sizes import (
    TRIAL_SECONDS,
    LearnedSizes,
    Pace,
    PageFacts,
    Walk,
    first_walk,
    may_refuse_size,
)
from vi_airflow_provider.api.protocol.paging import Fetched, Paginator
from vi_airflow_provider.api.validation import checked_count

M = TypeVar("M", bound=BaseModel)

#: Makes a document of the bytes of an item; the last argument is its JSON path.
Parse: TypeAlias = Callable[[bytes, ErrorContext, str], M]
#: Makes a page of a response.
ParsePage: TypeAlias = Callable[[Parse[M], Response, ErrorContext], RawPage[M]]

#: Beside 2xx, the status of a DELETE that means that the resource does not exist.
ABSENT: Final = frozenset({404})


class ResourceCalls(Exchange):
    """Base of the calls for one kind of resource."""

    @cached_property
    def _learned(self) -> defaultdict[str, LearnedSizes]:
        """What this client has learned about page sizes, by the name of the collection."""
        return defaultdict(LearnedSizes)

    def _paginator(
        self,
        path: str,
        parse: Parse[M],
        identity: Callable[[M], str],
        page_size: int | None,
        limit: int | None = None,
        *,
        pace: Pace = Pace.GROWING,
        token: str | None = None,
        prefetch: bool = True,
        query: Mapping[str, str] | None = None,
        parse_page: ParsePage[M] = codec.parse_page,
    ) -> Paginator[M]:
        """Begin a listing (VI_API.md section 6).

        :param path: of the collection, below the organization
        :param identity: returns the id of a document
        :param pace: of the page size, unless the caller or the connection determines it
        :param query: query parameters beside page size and cursor
        """
        size = self.settings.page_size if page_size is None else checked_count(page_size, "page_size", 1)
        if limit is not None:
            checked_count(limit, "limit", 0)
        learned = self._learned[path.rpartition("/")[2]]

        def fetch(walk: Walk) -> Steps[Fetched[M] | None]:
            # The URL is built from the cursor alone, whatever else the server sends.
            cursor = {} if walk.token is None else {"p": walk.token}
            request = self._request("GET", f"/{path}?{urlencode({**(query or {}), **cursor, 's': walk.size})}")
            began = self._clock()
            result = yield from self._page(request, walk)
            if result is None:
                return None
            page, seconds = parse_page(parse, *result), self._clock() - began
            return Fetched(page, PageFacts(len(page.raw_items), len(result[0].body), seconds, page.next_page))

        walk = first_walk(size, limit, token, pace, learned)
        return Paginator(fetch, walk, identity, learned, limit=limit, prefetch=prefetch)

    def _page(self, request: Request, walk: Walk) -> Steps[tuple[Response, ErrorContext] | None]:
        """Fetch a page; ``None`` if its size may be the reason that the server does not send it."""
        if walk.is_trial:  # once, and not patiently: the small page that follows is retried if something else is wrong
            call = self._begin(request, self._clock() + min(TRIAL_SECONDS, self.settings.retry_budget))
            outcome, context = yield from self._attempt(call)
            return (outcome, context) if is_success(outcome) else None
        call = self._begin(request)
        while True:
            outcome, context = yield from self._attempt(call)
            if is_success(outcome):
                return outcome, context
            try:
                wait = self._back_off(call, outcome, context)
            except ViError:
                if walk.is_large and may_refuse_size(outcome):
                    return None
                raise
            yield wait

    def _document(
        self, model: type[M], method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Steps[tuple[M, ErrorContext]]:
        response, context = yield from self._exchange(self._begin(self._request(method, path, body)))
        return codec.parse_document(model, codec.json_content(response, context, "a document"), context), context

    def _delete(self, path: str) -> Steps[bool]:
        """Delete a resource; return whether this call did, or an attempt of it whose response was lost."""
        call = self._begin(self._request("DELETE", path))
        response, context = yield from self._exchange(call, accept=ABSENT)
        return was_deleted(call, response, context)


def was_deleted(call: Call, response: Response, context: ErrorContext) -> bool:
    """Decide on the response to a DELETE: did this call delete something, or was there nothing to delete?"""
    if response.status != 404 and response.body.lstrip()[:1] == b"<":
        # A login page or portal responded with 200: nothing was deleted.
        raise context.response_error("the response to the DELETE is a web page")
    return response.status != 404 or call.retry.may_have_applied
