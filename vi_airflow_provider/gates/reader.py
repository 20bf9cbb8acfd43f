"""``Reader``: which requests find the documents of many keys, and what follows from their responses.

A key is read in one of three ways. If one fails, the next one is tried.

- *Head*: in a long listing, one reading of its head is the result of all keys that were found absent before
  (``coverage``), if new documents can only appear there (``head``).
- *Listing*: one scan of the listing for all other keys, where that is cheaper than a GET for each. What an incomplete
  scan lacks is fetched.
- *Single*: one GET.

A listing is cheaper if a key can be found no other way, or if there are more keys than GETs fit into the time of its
pages: pages come one after the other, GETs ``GETS_PER_PAGE`` at a time. How much time it takes is learnt from scans
(``_pages``) and includes the GETs for what it lacked, so that a scan in vain is not soon repeated.

A document may also appear without standing in the head: restored with its old creation time, or renamed. So readings
of the head are accompanied by up to ``GETS_PER_PAGE`` requests that check covered keys in turn: GETs, or pages of the
whole listing if a key cannot be fetched or there are many more keys than pages. Every key is checked once in
``n / GETS_PER_PAGE`` polls, where ``n`` is the number of keys or pages. A check is no result for a poll: the key that
it finds is covered no more, so the next poll reads it. Therefore a slow check delays nothing.

Invariants:

- A key is covered only by a check that began when all new documents were already being seen.
- An error of one document is never the result of another key: only errors in ``_SERVICE_WIDE`` are shared.
- Loops over keys give way (``in_turns``).
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from vi_airflow_provider.api.errors import (
    ViAuthenticationError,
    ViConfigurationError,
    ViError,
    ViNetworkError,
    ViRateLimitError,
    ViServerError,
    ViTimeoutError,
)
from vi_airflow_provider.gates.coverage import Coverage
from vi_airflow_provider.gates.head import Head
from vi_airflow_provider.gates.source import Extent, Listing
from vi_airflow_provider.gates.timers import in_turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.gates.client import RefreshingClient
    from vi_airflow_provider.gates.head import HeadReading
    from vi_airflow_provider.gates.source import Source

#: Up to this number, documents are fetched individually; above it, reading the listing may be cheaper.
MAX_SINGLE_GETS: Final = 4
#: GETs that are in flight at a time, and so fit into the time of one page of the listing. It also bounds the requests
#: that accompany a reading of the head; a listing of more pages than this is a long one.
GETS_PER_PAGE: Final = 16
#: Covered keys up to which GETs check them, whatever the length of the listing.
MANY_KEYS: Final = 1024
#: Seconds between the beginnings of two checks at least, however often the head is read.
CHECK_PAUSE: Final = 4.0

#: Errors of a listing that every other request would meet as well. Any other may be about one document in it, or
#: about the listing alone, so it is no result for a single document.
_SERVICE_WIDE: Final = (
    ViAuthenticationError,
    ViConfigurationError,
    ViNetworkError,
    ViRateLimitError,
    ViServerError,
    ViTimeoutError,
)

K = TypeVar("K")
D = TypeVar("D")
T = TypeVar("T")


class Result(NamedTuple, Generic[D]):
    """What was found for a key, or why that is not known."""

    #: In seconds of the event loop's clock.
    asked_at: float
    found: D | ViError | None
    #: From the listing, which may miss a document that changes while it is read.
    listed: bool = False
    #: When the document did not exist, in seconds of the same clock: later than that it may have been created.
    #: ``None`` if only the head of the listing was read.
    absent_at: float | None = None


#: Returns what was found for each key of a plan.
Results: TypeAlias = "Callable[[K], Result[D]]"


#: Reads several keys together.
Read: TypeAlias = "Callable[[Collection[K]], Awaitable[Results[K, D]]]"


class Plan(NamedTuple, Generic[K, D]):
    """Keys that are read together, and how; ``None`` for one key that is fetched by itself."""

    keys: Collection[K]
    read: Read[K, D] | None


class Reader(Generic[K, D]):
    """Reads documents for the polls of one connection.

    :param client: calls the service; closed by its owner
    :param source: where the documents come from
    """

    def __init__(self, client: RefreshingClient, source: Source[K, D]) -> None:
        self.keys: Coverage[K] = Coverage(source.needs_listing)
        self._client = client
        self._source = source
        self._head = Head(_now)
        #: The organization that the client called last.
        self._organization: tuple[str, str] | None = None
        #: Time of the listing in pages, as far as is known, and whether it is too long to be read at each poll.
        self._pages = 1
        self._long = False
        self._slots = asyncio.Semaphore(GETS_PER_PAGE)
        self._check: asyncio.Task[None] | None = None
        self._checked_at = -math.inf
        #: Where the pages that check keys continue, how many were read, and the cursors seen.
        self._sweep = _Sweep()
        #: Keys that a check found, and that the next reading of the head must show.
        self._expected: list[K] = []

    def plan(self, key: K) -> Plan[K, D]:
        """Decide how to read a key, and which others along with it."""
        head = self._head_pays()
        if head and key in self.keys.covered:
            return Plan(tuple(self.keys.covered), self._read_head)
        if self._listing_pays(head=head):
            covered = () if head else self.keys.covered
            return Plan((*self.keys.open, *covered), self._read_listing)
        return Plan((key,), None)

    def note(self, key: K, result: Result[D]) -> None:
        """Learn from the result of a subscribed key."""
        if result.found is None:
            known = result.absent_at is not None and self._head.covers(result.absent_at)
            if known and self._source.must_be_created(key):
                self.keys.cover(key)
        elif not isinstance(result.found, ViError):
            self.keys.uncover(key)

    async def fetch(self, key: K) -> Result[D]:
        """Fetch a document by itself, and note when."""
        async with self._slots:
            asked_at = _now()
            try:
                found = await self._call(lambda client: self._source.get(client, key))
            except ViError as error:
                return Result(asked_at, error)
        return Result(asked_at, found, absent_at=asked_at)

    async def get(self, key: K) -> D | None:
        """Fetch a document by itself."""
        async with self._slots:
            return await self._call(lambda client: self._source.get(client, key))

    async def close(self) -> None:
        """End the check in progress."""
        if self._check is not None:
            self._check.cancel()
            await asyncio.gather(self._check, return_exceptions=True)

    async def _call(self, ask: Callable[[AsyncViClient], Awaitable[T]]) -> T:
        def asked(client: AsyncViClient) -> Awaitable[T]:
            organization = (client.settings.endpoint, client.settings.organization_id)
            if self._organization not in (None, organization):  # the connection was edited
                self._head.lose()
                self.keys.uncover_all()
                self._sweep = _Sweep()
            self._organization = organization
            return ask(client)

        return await self._client.call(asked)

    # --- decisions -------------------------------------------------------------------------------------------------

    def _head_pays(self) -> bool:
        worth_it = len(self.keys.covered) > GETS_PER_PAGE or self.keys.covered_for_listing > 0
        return worth_it and self._long and self._head.known

    def _listing_pays(self, *, head: bool) -> bool:
        if not self._source.listed:
            return False
        keys = self.keys
        count = len(keys.open) if head else len(keys)
        few = max(MAX_SINGLE_GETS, GETS_PER_PAGE * (self._pages - 1))
        if count > few or keys.open_for_listing or (keys.covered_for_listing and not head):
            return True
        return self._long and count > GETS_PER_PAGE and self._source.has_head and self._head.due

    # --- ways to read ----------------------------------------------------------------------------------------------

    async def _get_each(self, keys: Collection[K]) -> Results[K, D]:
        """Fetch each document by itself, several at a time."""
        results: dict[K, Result[D]] = {}
        remaining = iter(keys)

        async def work() -> None:
            for key in remaining:
                results[key] = await self.fetch(key)

        await asyncio.gather(*(work() for _ in range(min(len(keys), GETS_PER_PAGE))))
        return results.__getitem__

    async def _read_listing(self, keys: Collection[K]) -> Results[K, D]:
        # If each document can be fetched by itself, a listing that takes longer than that is not read to its end.
        only_listed = self.keys.open_for_listing + self.keys.covered_for_listing > 0
        max_pages = None if only_listed else _pages_for(len(keys))
        reading = self._head.begin()

        def observe(created: list[Any], walk: int) -> bool:
            reading.page(created, walk)
            return False

        listing = await self._scan(keys, Extent(max_pages, enough=observe))
        if isinstance(listing, ViError):
            return await self._after(listing, keys)
        if reading.done or (len(keys) > GETS_PER_PAGE and self._head.due):
            self._learn(reading)
        self._long = not listing.complete or listing.pages > GETS_PER_PAGE
        if listing.complete:
            self._pages = listing.pages
            return _listed(listing, reading, reading.seen_at)
        found = {key: document async for key in in_turns(keys) if (document := listing.found(key)) is not None}
        missing = [key for key in keys if key not in found]
        self._pages = listing.pages + _pages_for(len(missing))
        fetched = await self._get_each(missing)
        return lambda key: Result(reading.began, found[key], listed=True) if key in found else fetched(key)

    async def _read_head(self, keys: Collection[K]) -> Results[K, D]:
        self._begin_check()
        reading = self._head.begin()
        expected, self._expected = self._expected, []
        max_pages = max(GETS_PER_PAGE, _pages_for(len(keys)))
        listing = await self._scan((*keys, *expected), Extent(max_pages, enough=reading.page))
        if isinstance(listing, ViError):
            return await self._after(listing, keys)
        if listing.complete:
            self._pages, self._long = listing.pages, listing.pages > GETS_PER_PAGE
        if reading.done or not listing.complete:
            self._learn(reading, lacks=any(listing.found(key) is None for key in expected))
        if not self._head.known and not listing.complete:
            in_listing = any(map(self._source.needs_listing, keys))
            return await (self._read_listing(keys) if in_listing else self._get_each(keys))
        return _listed(listing, reading, reading.seen_at if listing.complete else None)

    async def _scan(self, keys: Collection[K], extent: Extent) -> Listing[K, D] | ViError:
        try:
            return await self._call(lambda client: self._source.scan(client, keys, extent))
        except ViError as error:
            return error

    async def _after(self, error: ViError, keys: Collection[K]) -> Results[K, D]:
        """Return the results of keys whose listing met an error."""
        # The base class itself: there is no connection, so no request was sent.
        if isinstance(error, _SERVICE_WIDE) or type(error) is ViError:
            failure: Result[D] = Result(_now(), error, listed=True)
            return lambda _: failure
        return await self._get_each(keys)

    def _learn(self, reading: HeadReading, *, lacks: bool = False) -> None:
        if lacks:
            self._head.lose()
        if not self._head.end(reading):
            self.keys.uncover_all()

    # --- checks ----------------------------------------------------------------------------------------------------

    def _begin_check(self) -> None:
        if (self._check is None or self._check.done()) and _now() - self._checked_at >= CHECK_PAUSE:
            self._checked_at = _now()
            by_pages = self.keys.covered_for_listing > 0 or len(self.keys.covered) > max(MANY_KEYS, 2 * self._pages)
            self._check = asyncio.create_task(self._check_pages() if by_pages else self._check_each(), name="vi-check")

    async def _check_each(self) -> None:
        keys = self.keys.longest_unchecked(GETS_PER_PAGE)
        result_of = await self._get_each(keys)
        for key in keys:
            found = result_of(key).found
            if key not in self.keys.covered:
                continue
            if found is None:
                self.keys.cover(key)
            elif not isinstance(found, _SERVICE_WIDE):
                self.keys.uncover(key)
                if not isinstance(found, ViError) and self._head.shows(self._source.created(found)):
                    self._expected.append(key)

    async def _check_pages(self) -> None:
        keys = tuple(self.keys.covered)
        listing = await self._scan(keys, Extent(GETS_PER_PAGE, self._sweep.page_token))
        if isinstance(listing, ViError):
            self._sweep = _Sweep()
            return
        self._sweep.pages += listing.pages
        if listing.find is not None:
            async for key in in_turns(keys):
                if listing.found(key) is not None:
                    self.keys.uncover(key)
        if listing.complete:
            self._pages, self._long = self._sweep.pages, self._sweep.pages > GETS_PER_PAGE
        if listing.complete or not self._sweep.advance(listing.next_page):
            self._sweep = _Sweep()


class _Sweep:
    """A reading of the whole listing, a few pages at a time."""

    def __init__(self) -> None:
        self.page_token: str | None = None
        self.pages = 0
        self._seen: set[str | None] = set()

    def advance(self, page_token: str | None) -> bool:
        """Continue there; return false if it was there before, in a listing that would never end."""
        new = page_token not in self._seen
        self._seen.add(page_token)
        self.page_token = page_token
        return new


def _listed(listing: Listing[K, D], reading: HeadReading, absent_at: float | None) -> Results[K, D]:
    """Return what a listing shows; most readings of a head show no document of any key."""
    if listing.find is None:
        absent: Result[D] = Result(reading.began, None, listed=True, absent_at=absent_at)
        return lambda _: absent
    return lambda key: Result(reading.began, listing.found(key), listed=True, absent_at=absent_at)


def _pages_for(keys: int) -> int:
    """Return the number of pages whose time fits the GETs for a number of keys."""
    return -(-keys // GETS_PER_PAGE)


def _now() -> float:
    return asyncio.get_running_loop().time()
