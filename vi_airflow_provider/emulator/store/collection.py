"""The documents of one kind: the current state, and what reads show of it.

Writes apply to the current state. Reads show the same state, unless the behaviour delays them: then they show a
second listing, the *replica*, to which each write is applied once its delay has passed. Pending writes are applied
in order by the next read, so no timer is needed and a test moves the replica by moving its clock.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from vi_airflow_provider.emulator.store.behaviour import Behaviour
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.listing import Listing, Page, Place
from vi_airflow_provider.emulator.store.schema import Document, check_id, encode, equal

Clock = Callable[[], int]


def system_clock() -> int:
    """Milliseconds since the epoch, as all times on the wire."""
    return time.time_ns() // 1_000_000


class Ledger:
    """What the collections of a store share: the organization, the clock, the behaviour and one lock for changes."""

    def __init__(self, organization_id: str, behaviour: Behaviour, clock: Clock) -> None:
        self.organization_id = organization_id
        self.behaviour = behaviour
        self.offset_ms = 0
        self._clock = clock
        self.lock = threading.RLock()
        self.revision = 0
        #: Called with the new revision after each change, outside the lock.
        self.saves: Callable[[int], None] | None = None

    def clock(self) -> int:
        """The time of the server."""
        return self._clock() + self.offset_ms

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the lock for a change; once it has succeeded and the lock is free again, save it."""
        with self.lock:
            yield
            self.revision += 1
            revision = self.revision
        if self.saves is not None:
            self.saves(revision)

    def metadata(self, old: Document | None, spec: Document, attributes: Mapping[str, str]) -> Document:
        """The metadata of a document that is written now."""
        now = self.clock()
        if old is None:
            return {"timeCreated": now, "lastUpdated": now, "generation": 1, "attributes": attributes}
        metadata = old["metadata"]
        return {
            **metadata,
            # A second change within one millisecond must be visible.
            "lastUpdated": max(now, metadata["lastUpdated"] + 1),
            "generation": metadata["generation"] + (not equal(old["spec"], spec)),
            "attributes": attributes,
        }


@dataclass(frozen=True)
class Stored:
    """A document with its encoding, which is worth caching: documents are listed far more often than changed."""

    document: Document

    @cached_property
    def wire(self) -> bytes:
        """The JSON of the document."""
        return encode(self.document)

    def copy(self) -> Document:
        """A copy that the caller may change."""
        return copy_of(self.wire)


class Collection:
    """The documents of one kind, by id."""

    def __init__(self, ledger: Ledger, noun: str) -> None:
        self._ledger = ledger
        self._noun = noun
        self._id_name = f"{noun[0].lower()}{noun[1:]}Id"
        self._current: Listing[Stored] = Listing()
        self._replica: Listing[Stored] | None = None
        self._pending: deque[tuple[int, str, Stored | None]] = deque()

    # -- the current state ----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Document]:
        return (stored.document for stored in self._current)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._current

    def __len__(self) -> int:
        return len(self._current)

    def ids(self) -> list[str]:
        """All ids, in the order of the listing."""
        return self._current.ids()

    def get(self, id_: str) -> Document | None:
        """A document, or None."""
        found = self._current.get(id_)
        return None if found is None else found.document

    def require(self, id_: str) -> Stored:
        """A document, or a 404; a 400 for a malformed id."""
        return self._found(self._current, id_)

    def put(self, document: Document) -> Stored:
        """Add or replace a document."""
        stored = Stored(copy_of(encode(document)))
        id_ = document[self._id_name]
        self._current.put(id_, self._rank(document), stored)
        self._schedule(id_, stored)
        return stored

    def remove(self, id_: str) -> None:
        """Remove a document."""
        self._current.remove(id_)
        self._schedule(id_, None)

    def replace_all(self, documents: Iterable[Document]) -> None:
        """Replace everything; visible at once."""
        self._current = Listing()
        for document in documents:
            self._current.put(document[self._id_name], self._rank(document), Stored(document))
        self._pending.clear()
        self._replica = self._copy() if self._ledger.behaviour.read_delay_ms else None

    def reorder(self) -> None:
        """Follow a change of the behaviour."""
        self.replace_all(list(self))

    # -- what reads show ------------------------------------------------------------------------------

    def read(self, id_: str) -> Stored:
        """A document as reads show it, or a 404; a 400 for a malformed id."""
        return self._found(self._visible(), id_)

    def page(self, after: Place | None, size: int) -> Page[Stored]:
        """Consecutive documents as listings show them."""
        with self._ledger.lock:
            return self._visible().page(after, size, cursor=self._ledger.behaviour.cursor)

    # -- internals ------------------------------------------------------------------------------------

    def _found(self, listing: Listing[Stored], id_: str) -> Stored:
        check_id(id_, self._noun)
        with self._ledger.lock:
            found = listing.get(id_)
        if found is None:
            raise ApiError(404, f"{self._noun} {id_} not found")
        return found

    def _visible(self) -> Listing[Stored]:
        if self._replica is None:
            return self._current
        with self._ledger.lock:
            now = self._ledger.clock()
            while self._pending and self._pending[0][0] <= now:
                _, id_, stored = self._pending.popleft()
                if stored is None:
                    self._replica.remove(id_)
                else:
                    self._replica.put(id_, self._rank(stored.document), stored)
            return self._replica

    def _schedule(self, id_: str, stored: Stored | None) -> None:
        if self._replica is not None:
            due = self._ledger.clock() + int(self._ledger.behaviour.read_delay_ms)
            self._pending.append((due, id_, stored))

    def _copy(self) -> Listing[Stored]:
        replica: Listing[Stored] = Listing()
        for stored in self._current:
            replica.put(stored.document[self._id_name], self._rank(stored.document), stored)
        return replica

    def _rank(self, document: Document) -> int:
        match self._ledger.behaviour.order:
            case "created":
                return -int(document["metadata"]["timeCreated"])
            case "updated":
                return -int(document["metadata"]["lastUpdated"])
            case "unsorted":
                # Stable, so that a cursor stays valid, and unrelated to anything a client can see.
                return int.from_bytes(hashlib.sha256(document[self._id_name].encode()).digest()[:6])


def same_content(document: Document, spec: Document, attributes: Mapping[str, str]) -> bool:
    """Whether a write would change nothing."""
    return equal(document["spec"], spec) and equal(document["metadata"]["attributes"], attributes)


def copy_of(wire: bytes) -> Document:
    """Decode a document."""
    document: Document = json.loads(wire)
    return document
