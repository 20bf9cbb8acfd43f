"""The way through the pages of a listing (VI_API.md section 6): pure decisions, as all of the protocol's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Generic, TypeVar

from pydantic import BaseModel

from vi_airflow_provider.api.errors import ViResponseError
from vi_airflow_provider.api.protocol.codec import RawPage
from vi_airflow_provider.api.protocol.messages import Steps

M = TypeVar("M", bound=BaseModel)

#: In a row, before a listing that shows nothing is taken for one without end.
MAX_EMPTY_PAGES: Final = 1_000


class Paginator(Generic[M]):
    """A walk through the pages of one listing: which page is next, and when it is over."""

    def __init__(
        self,
        fetch: Callable[[int, str | None], Steps[RawPage[M]]],
        size: int,
        limit: int | None,
        token: str | None,
    ) -> None:
        self._fetch = fetch
        self._size = size if limit is None else max(1, min(size, limit))
        self._remaining = limit
        self._token = token
        self._seen = {token}
        self._ended = limit == 0
        self._empty_pages = 0

    def next_page(self) -> Steps[RawPage[M]] | None:
        """Return the steps that fetch the next page, ``None`` after the last one.

        :raises ViResponseError: (from the steps) the server repeats a cursor, or sends one empty page after the other;
            the walk would never end
        """
        return None if self._ended else self._steps()

    def _steps(self) -> Steps[RawPage[M]]:
        page = yield from self._fetch(self._size, self._token)
        if self._remaining is not None:
            page = replace(page, raw_items=page.raw_items[: self._remaining])
            self._remaining -= len(page.raw_items)
        # An empty page is no end: a filter on the server's side, or a delete meanwhile, may have emptied it.
        self._empty_pages = 0 if page.raw_items else self._empty_pages + 1
        self._ended = page.next_page is None or self._remaining == 0
        if not self._ended and page.next_page in self._seen:
            raise page.origin.error(ViResponseError, "the server repeats a page cursor; the listing would never end")
        if not self._ended and self._empty_pages >= MAX_EMPTY_PAGES:
            raise page.origin.error(
                ViResponseError, f"{MAX_EMPTY_PAGES:,} pages in a row are empty, and there are more"
            )
        self._token = page.next_page
        self._seen.add(self._token)
        return page
