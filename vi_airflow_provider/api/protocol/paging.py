"""Pagination of a listing (VI_API.md section 6): pure decisions, as everywhere in the protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Generic, TypeVar

from pydantic import BaseModel

from vi_airflow_provider.api.protocol.codec import RawPage
from vi_airflow_provider.api.protocol.messages import Steps

M = TypeVar("M", bound=BaseModel)

#: Consecutive empty pages after which a listing is assumed to be endless.
MAX_EMPTY_PAGES: Final = 1_000


class Paginator(Generic[M]):
    """The pages of one listing: which one is next, and when the listing ends.

    :param fetch: returns the steps that fetch a page of a size, by its cursor
    :param prefetch: may a client fetch the next page while the current one is consumed?
    """

    def __init__(
        self,
        fetch: Callable[[int, str | None], Steps[RawPage[M]]],
        size: int,
        limit: int | None,
        token: str | None,
        *,
        prefetch: bool = True,
    ) -> None:
        self.prefetch = prefetch
        self._fetch = fetch
        self._size = size if limit is None else max(1, min(size, limit))
        self._remaining = limit
        self._token = token
        self._seen = {token}
        self._ended = limit == 0
        self._empty_pages = 0

    def next_page(self) -> Steps[RawPage[M]] | None:
        """Return the steps that fetch the next page, ``None`` after the last one.

        :raises ViResponseError: (from the steps) the server repeats a cursor or sends one empty page after the other;
            the listing would never end
        """
        return None if self._ended else self._steps()

    def _steps(self) -> Steps[RawPage[M]]:
        page = yield from self._fetch(self._size, self._token)
        if self._remaining is not None:
            page = replace(page, raw_items=page.raw_items[: self._remaining])
            self._remaining -= len(page.raw_items)
        # An empty page does not end a listing: a filter of the server or a concurrent delete may have emptied it.
        self._empty_pages = 0 if page.raw_items else self._empty_pages + 1
        self._ended = page.next_page is None or self._remaining == 0
        if not self._ended:
            self._check_progress(page)
        self._token = page.next_page
        self._seen.add(self._token)
        return page

    def _check_progress(self, page: RawPage[M]) -> None:
        if page.next_page in self._seen:
            raise page.context.response_error("the server repeats a page cursor; the listing would never end")
        if self._empty_pages >= MAX_EMPTY_PAGES:
            raise page.context.response_error(f"{MAX_EMPTY_PAGES:,} consecutive pages are empty, and more follow")
