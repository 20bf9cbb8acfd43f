"""What the calls of every kind of resource have in common: listing, reading a document, deleting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel

from vi_airflow_provider.api.protocol import codec
from vi_airflow_provider.api.protocol.codec import RawPage
from vi_airflow_provider.api.protocol.exchange import Call, Exchange
from vi_airflow_provider.api.protocol.messages import Response, Steps
from vi_airflow_provider.api.protocol.outcomes import ErrorContext
from vi_airflow_provider.api.protocol.paging import Paginator
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

    def _paginator(
        self,
        path: str,
        parse: Parse[M],
        page_size: int | None,
        limit: int | None = None,
        token: str | None = None,
        *,
        prefetch: bool = True,
        query: Mapping[str, str] | None = None,
        parse_page: ParsePage[M] = codec.parse_page,
    ) -> Paginator[M]:
        """Begin a listing (VI_API.md section 6).

        :param path: of the collection, below the organization
        :param query: what is asked beside page size and cursor
        """
        size = self.settings.page_size if page_size is None else checked_count(page_size, "page_size", 1)
        if limit is not None:
            checked_count(limit, "limit", 0)

        def fetch(size: int, token: str | None) -> Steps[RawPage[M]]:
            # The URL is built from the cursor alone, whatever else the server sends.
            cursor = {} if token is None else {"p": token}
            request = self._request("GET", f"/{path}?{urlencode({**(query or {}), **cursor, 's': size})}")
            response, context = yield from self._exchange(self._begin(request))
            return parse_page(parse, response, context)

        return Paginator(fetch, size, limit, token, prefetch=prefetch)

    def _document(self, model: type[M], method: str, path: str, body: Mapping[str, Any] | None = None) -> Steps[M]:
        response, context = yield from self._exchange(self._begin(self._request(method, path, body)))
        return codec.parse_document(model, codec.json_content(response, context, "a document"), context)

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
