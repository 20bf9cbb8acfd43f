"""A large organization as a source of documents, in each form that the contract of a listing leaves open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, TypeAlias

from tests.unit.gates.virtual import LATENCY
from vi_airflow_provider.api.errors import ViError, ViServerError
from vi_airflow_provider.gates.source import Extent, Listing

SETTINGS: Final = SimpleNamespace(endpoint="https://vi.test", organization_id="one")


class Document(NamedTuple):
    """A document: its id, its name, and when it was created and updated."""

    id: str
    name: str
    created: int
    updated: int


Position: TypeAlias = tuple[Any, ...]

#: Where a document stands in the listing.
ORDERS: Final[dict[str, Callable[[Document], Position]]] = {
    "newest": lambda document: (-document.created, document.id),
    "oldest": lambda document: (document.created, document.id),
    "updated": lambda document: (-document.updated, document.id),
    "unsorted": lambda document: (sha256(document.id.encode()).digest(),),
    "by id": lambda document: (document.id,),
}


class Organization:
    """Documents and a listing of them. It is both the client that is lent to the poller, and the source.

    A key that begins with ``name:`` can only be found in the listing.

    :param order: one of ``ORDERS``
    :param by_offset: cursors count documents, and do not name one
    """

    listed: Final = True
    has_head: Final = True

    def __init__(self, order: str, *, page_size: int = 20, by_offset: bool = False) -> None:
        self.settings = SETTINGS
        self.documents: dict[str, Document] = {}
        self.failing: type[ViError] | None = None
        self.pages = 0
        self.gets = 0
        self._position = ORDERS[order]
        self._page_size = page_size
        self._by_offset = by_offset

    def put(self, id_: str, created: int, *, updated: int | None = None, name: str | None = None) -> None:
        self.documents[id_] = Document(id_, name or id_, created, created if updated is None else updated)

    async def call(self, ask: Callable[[Any], Awaitable[Any]]) -> Any:
        return await ask(self)

    def needs_listing(self, key: str) -> bool:
        return key.startswith("name:")

    def must_be_created(self, _key: str) -> bool:
        return True

    def created(self, document: Document) -> int:
        return document.created

    async def get(self, _client: Any, key: str) -> Document | None:
        self.gets += 1
        await self._respond()
        if self.needs_listing(key):
            raise AssertionError("a name cannot be fetched")
        return self.documents.get(key)

    async def scan(self, _client: Any, keys: Collection[str], extent: Extent) -> Listing[str, Document]:
        wanted, pages, place = set(keys), 0, extent.page_token
        found: dict[str, Document] = {}
        while True:
            self.pages += 1
            page, place = await self._page(place)
            pages += 1
            found |= {key: each for each in page for key in (each.id, f"name:{each.name}") if key in wanted}
            enough = extent.enough is not None and extent.enough([document.created for document in page], 0)
            if place is None or enough or pages == extent.max_pages:
                return Listing(pages, place is None, found.get if found else None, place)

    async def _page(self, place: str | None) -> tuple[list[Document], str | None]:
        await self._respond()
        ordered = sorted(self.documents.values(), key=self._position)
        start = 0
        if place is not None:
            after = int(place) if self._by_offset else _document(place)
            start = after if isinstance(after, int) else self._behind(ordered, after)
        page = ordered[start : start + self._page_size]
        if start + self._page_size >= len(ordered):
            return page, None
        return page, str(start + self._page_size) if self._by_offset else "\t".join(map(str, page[-1]))

    def _behind(self, ordered: list[Document], last: Document) -> int:
        return sum(self._position(document) <= self._position(last) for document in ordered)

    async def _respond(self) -> None:
        await asyncio.sleep(LATENCY)
        if self.failing is not None:
            raise self.failing("planned")


def _document(place: str) -> Document:
    id_, name, created, updated = place.split("\t")
    return Document(id_, name, int(created), int(updated))


OUTAGE: Final = ViServerError
