"""Pagination of a listing (VI_API.md section 6): pure decisions, as everywhere in the protocol."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from vi_airflow_provider.api.protocol.codec import RawPage
from vi_airflow_provider.api.protocol.messages import Steps
from vi_airflow_provider.api.protocol.page_sizes import LearnedSizes, PageFacts, Walk

M = TypeVar("M", bound=BaseModel)

#: Consecutive empty pages after which a listing is assumed to be endless.
MAX_EMPTY_PAGES: Final = 1_000


class Fetched(NamedTuple, Generic[M]):
    """A page, and what it took to fetch it."""

    page: RawPage[M]
    facts: PageFacts


class Paginator(Generic[M]):
    """The pages of one listing: which one is next, which documents it adds, and when the listing ends.

    Two threads may use it: one fetches a page while the other consumes the page before.

    :param fetch: returns the steps that fetch the next page of a walk; their value is ``None`` if the server may have
        refused the size of the page
    :param walk: the pass over the listing to begin with
    :param identity: returns the id of a document
    :param learned: what earlier pages of the client have shown about page sizes
    :param limit: documents to list
    :param prefetch: may a client fetch the next page while the current one is consumed?
    """

    def __init__(
        self,
        fetch: Callable[[Walk], Steps[Fetched[M] | None]],
        walk: Walk,
        identity: Callable[[M], str],
        learned: LearnedSizes,
        *,
        limit: int | None = None,
        prefetch: bool = True,
    ) -> None:
        self.prefetch = prefetch
        self._fetch = fetch
        self._walk = walk
        self._identity = identity
        self._learned = learned
        self._limit = limit
        self._seen = {walk.token}
        self._ended = False
        self._empty_pages = 0
        # The documents that were yielded: how many, the hashes of their ids, and those of earlier walks. A listing
        # whose size does not grow has one walk.
        self._yielded = 0
        self._pending = 0
        self._ids = None if walk.settled else array("q")
        self._earlier: frozenset[int] = frozenset()
        self._consumed_walk = walk.number

    def next_page(self) -> Steps[RawPage[M]] | None:
        """Return the steps that fetch the next page, ``None`` after the last one.

        While a page is consumed that may reach the limit, there is no next page yet.

        :raises ViResponseError: (from the steps) the server repeats a cursor or sends one empty page after the other;
            the listing would never end
        """
        enough = self._limit is not None and self._yielded + self._pending >= self._limit
        return None if self._ended or enough else self._steps()

    def documents(self, page: RawPage[M]) -> Iterator[M]:
        """Yield the documents of a page that no earlier walk had, up to the limit."""
        return page.documents() if self._ids is None and self._limit is None else self._new_documents(page)

    def _new_documents(self, page: RawPage[M]) -> Iterator[M]:
        if page.walk != self._consumed_walk:
            self._consumed_walk, self._earlier = page.walk, frozenset(self._ids or ())
        self._pending = len(page.raw_items)
        documents = page.documents()
        while self._yielded != self._limit and (document := next(documents, None)) is not None:
            self._pending -= 1
            if self._ids is not None:
                key = hash(self._identity(document))
                if key in self._earlier:
                    continue
                self._ids.append(key)
            self._yielded += 1
            yield document

    def _steps(self) -> Steps[RawPage[M]]:
        while (fetched := (yield from self._fetch(self._walk))) is None:
            self._walk = self._walk.refused(self._learned)
            self._seen = {self._walk.token}
        page, facts = fetched
        walk = self._walk.after(facts, self._learned, self._limit)
        # An empty page does not end a listing: a filter of the server or a concurrent delete may have emptied it.
        self._empty_pages = 0 if page.raw_items else self._empty_pages + 1
        if walk is None:
            self._ended = True
            return replace(page, walk=self._walk.number)
        if walk.number != self._walk.number:
            self._seen = {walk.token}
        else:
            self._check_progress(page)
            self._seen.add(walk.token)
        page = replace(page, walk=self._walk.number)
        self._walk = walk
        return page

    def _check_progress(self, page: RawPage[M]) -> None:
        if page.next_page in self._seen:
            raise page.context.response_error("the server repeats a page cursor; the listing would never end")
        if self._empty_pages >= MAX_EMPTY_PAGES:
            raise page.context.response_error(f"{MAX_EMPTY_PAGES:,} consecutive pages are empty, and more follow")
