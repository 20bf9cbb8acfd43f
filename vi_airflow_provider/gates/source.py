"""Where the shared poller's documents come from: what it requires of a kind of document."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from vi_airflow_provider.api.async_client import AsyncViClient

K = TypeVar("K")
D = TypeVar("D")


class Extent(NamedTuple):
    """How much of a listing to read.

    :param max_pages: stop after this many pages
    :param page_token: start with the page that it names
    :param enough: takes the creation times of each page, and the number of times that the listing began before; stop
        when it returns true
    """

    max_pages: int | None = None
    page_token: str | None = None
    enough: Callable[[list[Any], int], bool] | None = None


class Listing(NamedTuple, Generic[K, D]):
    """What a scan of a listing found.

    :param pages: pages that were read
    :param complete: whether what was not found does not exist, as far as a listing can show
    :param find: returns the document of a key; ``None`` if there is no document of any key
    :param next_page: names the page behind those that were read
    """

    pages: int
    complete: bool
    find: Callable[[K], D | None] | None
    next_page: str | None = None

    def found(self, key: K) -> D | None:
        """Return the document of a key, ``None`` if it was not found."""
        return None if self.find is None else self.find(key)


class Source(Protocol[K, D]):
    """Where the documents come from. An implementation checks that a document is the one that was requested."""

    @property
    def listed(self) -> bool:
        """Whether a listing shows several documents at once."""

    @property
    def has_head(self) -> bool:
        """Whether the head of the listing may show every new document."""

    def needs_listing(self, key: K) -> bool:
        """Return whether the document can only be found in the listing."""

    def must_be_created(self, key: K) -> bool:
        """Return whether the document of a key that was found absent must be created, and not only changed."""

    def created(self, document: D) -> int:
        """Return when a document was created, as the listing's head shows it."""

    async def get(self, client: AsyncViClient, key: K) -> D | None:
        """Return the document as it is now, ``None`` if it does not exist."""

    async def scan(self, client: AsyncViClient, keys: Collection[K], extent: Extent) -> Listing[K, D]:
        """Read the listing for several documents."""
