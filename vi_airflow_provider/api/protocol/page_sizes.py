"""How many documents the pages of a listing request: pure decisions about page sizes that grow.

Theory of operation
===================

A round trip costs more than the documents it carries, but the first document of a listing must not wait for many
others. So a listing whose page size is not given begins with small pages, and goes on with large ones.

A cursor belongs to the page size that it was issued for: the contract (VI_API.md section 6) leaves open whether it is
a key, counts documents, or counts *pages*. A page number that is sent with another size skips documents, and nothing
in the response shows it. Therefore no cursor is ever sent with another size than that of the page it comes from.
Whenever the size changes, the listing begins again, without a cursor; a :class:`Walk` is one such pass of one size.
The paginator drops documents that an earlier walk had. Each walk is complete by itself, so a gap cannot arise.

States of a listing::

    small --(pages are quick)--> trial --(the page is full)------------------------> large
                                   | (refused, slow, or not the page requested)         | (refused)
                                   v                                                    v
                              small, where it was                                small, from the start

Only a *full* first page shows that the server accepts the size: one that returns fewer documents may still count its
pages in units of the requested size, and even end the listing too early. So a short page, with or without a cursor, is
followed by a trial with as many documents as it had. What a trial finds is kept for all listings of a client
(:class:`LearnedSizes`). Each further trial is smaller, and a settled walk keeps its size, so the walks are few.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, NamedTuple

from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Outcome

#: Documents of the first page.
SMALL: Final = 100
#: The largest page that is requested unasked: what the vendor's SDK allows.
LARGEST: Final = 1_000
#: Bytes of a large page, as estimated from a small one. Larger ones save little time, and cost memory.
PAGE_BYTES: Final = 2_000_000
#: Seconds of a large page.
PAGE_SECONDS: Final = 1.0
#: Seconds after which a trial is given up; a small page may take as long as any other request.
TRIAL_SECONDS: Final = 10.0

#: A small page includes the time to connect. So it is not taken as proof that one of this many times its size is slow.
_MIN_GROWTH: Final = 4
#: Growth that is not worth another walk.
_WORTH: Final = 2
#: Pages of a small walk after which it is not given up any more.
_EARLY: Final = 2


class Pace(Enum):
    """How the size of pages develops."""

    #: For a caller that keeps cursors: another listing may continue from them.
    CONSTANT = "constant"
    #: Small first, for a consumer that waits for the first document.
    GROWING = "growing"
    #: Large at once, if a size has proved itself, for a caller that needs all pages.
    LARGE = "large"


class PageFacts(NamedTuple):
    """What a page was: documents, bytes, seconds from the request to the response, and the cursor of the next one."""

    documents: int
    bytes: int
    seconds: float
    next_page: str | None


@dataclass
class LearnedSizes:
    """What a client has learned about the pages of one collection.

    :param ceiling: the largest page to request
    :param proven: a large page that the server has sent
    """

    ceiling: int = LARGEST
    proven: int | None = None


@dataclass(frozen=True)
class Walk:
    """A pass over a listing with pages of one size.

    :param size: documents to request with each page
    :param number: walks of the listing before this one
    :param token: cursor of the next page
    :param pages: pages that it has read
    :param small: the walk to continue with if this one, which is a trial, fails
    :param settled: may the size not grow any more?
    :param seconds: what a document of the last page took
    """

    size: int
    token: str | None = None
    number: int = 0
    pages: int = 0
    small: Walk | None = None
    settled: bool = False
    seconds: float = 0.0

    @property
    def is_trial(self) -> bool:
        """Is the next page the first one of a size that the server may not accept?"""
        return self.small is not None

    @property
    def is_large(self) -> bool:
        """Did the client choose a size that the server may not accept?"""
        return self.size > SMALL and not self.settled

    def after(self, page: PageFacts, learned: LearnedSizes, limit: int | None) -> Walk | None:
        """Return the walk that continues after a page; ``None`` at the end of the listing.

        :param limit: documents to list
        """
        if self.small is not None:
            return self._after_trial(page, learned, self.small)
        if page.next_page is None:
            return None
        seconds = page.seconds / max(page.documents, 1)
        same = replace(self, token=page.next_page, pages=self.pages + 1, seconds=seconds)
        if self.settled or self.is_large or self.pages >= _EARLY:
            return same
        size = _larger(page, self.size, learned.ceiling if limit is None else min(learned.ceiling, limit))
        return same if size is None else Walk(size, number=self.number + 1, small=same)

    def refused(self, learned: LearnedSizes) -> Walk:
        """Return the walk that continues after the server did not send a large page."""
        learned.ceiling, learned.proven = SMALL, None
        return replace(self.small or Walk(SMALL), number=self.number + 1, settled=True)

    def _after_trial(self, page: PageFacts, learned: LearnedSizes, small: Walk) -> Walk | None:
        if page.documents < self.size:
            return self._after_short_trial(page, learned, small)
        if page.seconds > max(PAGE_SECONDS, small.seconds * page.documents):
            return self.refused(learned)
        learned.proven = max(self.size, learned.proven or 0)
        return None if page.next_page is None else replace(self, token=page.next_page, pages=1, small=None)

    def _after_short_trial(self, page: PageFacts, learned: LearnedSizes, small: Walk) -> Walk | None:
        capped = page.next_page is not None
        if capped:
            size = page.documents // SMALL * SMALL
            learned.ceiling = min(learned.ceiling, max(size, SMALL))
        elif page.documents <= small.pages * small.size:
            # A small page had a cursor, so there is more: some servers send nothing for a size that they refuse.
            return self.refused(learned)
        elif learned.proven is not None and page.documents < learned.proven:
            return None
        else:
            # The end, or the cap of a server that counts its pages in the requested size: a full page will show it.
            size = page.documents
        if size >= _WORTH * SMALL:
            return Walk(size, number=self.number + 1, small=small)
        return self.refused(learned) if capped else replace(small, number=self.number + 1, settled=True)


def first_walk(size: int | None, limit: int | None, token: str | None, pace: Pace, learned: LearnedSizes) -> Walk:
    """Return the walk with which a listing begins.

    :param size: documents per page, if the caller or the connection determines it
    :param limit: documents to list
    :param token: cursor of the first page
    """
    first = SMALL if size is None else size
    if limit is not None:
        first = max(1, min(first, limit))
    few = limit is not None and limit <= _WORTH * SMALL
    if size is not None or few or pace is Pace.CONSTANT:
        return Walk(first, token, settled=True)
    if pace is Pace.LARGE and learned.proven is not None:
        return Walk(learned.proven, token, small=Walk(first, token))
    return Walk(first, token)


def _larger(page: PageFacts, size: int, ceiling: int) -> int | None:
    """Return the size of a large page; ``None`` if the pages had better stay small."""
    if page.documents < size or page.seconds > PAGE_SECONDS:
        return None
    by_bytes = page.documents * PAGE_BYTES // max(page.bytes, 1)
    by_time = int(page.documents * max(_MIN_GROWTH, PAGE_SECONDS / max(page.seconds, 0.001)))
    larger = min(by_bytes, by_time, ceiling)
    return larger if larger >= _WORTH * size else None


def may_refuse_size(outcome: Outcome) -> bool:
    """Can the size of the page be the reason that it did not arrive?"""
    if isinstance(outcome, Failure):
        return outcome.kind in (FailureKind.TIMEOUT, FailureKind.BROKEN, FailureKind.TOO_LARGE)
    return outcome.status in (400, 408, 413, 414, 422) or outcome.status >= 500
