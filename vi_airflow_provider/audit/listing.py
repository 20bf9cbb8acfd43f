"""Which documents an export has: a listing that others change while it is read, made complete.

A page cursor may count documents instead of naming one. If documents on earlier pages are deleted meanwhile, the
rest moves up, and those that move across the boundary of two pages are on neither. So one pass is not trusted:

1. the documents are listed, and those that match are stored; ids of the others are remembered;
2. the ids are listed again, until a pass has no unknown id, and unknown documents are fetched one by one;
3. before a document counts as removed since an earlier export, it is requested by its id.

A document that exists from the first request to the last is in the export. One that is created or deleted meanwhile may
be in it or not. With a ``limit`` the export is a sample by intention, and a single pass.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic

from vi_airflow_provider.audit.sources import L
from vi_airflow_provider.audit.subject import D

if TYPE_CHECKING:
    from vi_airflow_provider.audit.plan import Selection
    from vi_airflow_provider.audit.sources import Source
    from vi_airflow_provider.audit.spool import Spool

#: Documents between two lines of progress in the log.
PROGRESS: Final = 1000
#: Listings after which an export gives up waiting for a pass without an unknown id.
MAX_PASSES: Final = 5
#: Ids are small, and fewer pages have fewer boundaries.
IDS_PER_PAGE: Final = 1000

log = logging.getLogger(__name__)


@dataclass
class Listing(Generic[L, D]):
    """Stores the selected documents of an organization in a spool, and counts what it takes.

    :param passes: listings that were read
    :param late: documents that the first listing lacked
    """

    source: Source[L, D]
    selection: Selection
    spool: Spool[D]
    passes: int = 0
    late: int = 0

    def collect(self) -> None:
        """Store the documents, and repeat the listing until it has no unknown one."""
        self._first_pass()
        while self.selection.limit is None:
            unknown = self._unknown_ids()
            self._fetch(unknown)
            if not unknown:
                return
            if self.passes == MAX_PASSES:
                log.warning(
                    "The %ss kept changing: pass %d of the listing had %d unknown ones, too. They are in the export; "
                    "others may be missing.",
                    *(self.source.noun, self.passes, len(unknown)),
                )
                return

    def confirm_removed(self, document_ids: Iterable[str]) -> bool:
        """Request documents of an earlier export that the listings lack; store and report those that exist."""
        if self.selection.limit is not None:
            return False
        before = self.late
        self._fetch(list(self.spool.unknown(document_ids)))
        return self.late > before

    def _first_pass(self) -> None:
        selection, limit = self.selection, self.selection.limit
        self.passes = 1
        # Without a filter, the listing itself can stop at the limit. With a filter, any page may be the last one that
        # is needed, so none is prefetched.
        bound = limit if selection.wants_all else None
        listed = self.source.list(page_size=selection.page_size, limit=bound, prefetch=limit == bound)
        self._store(islice(self._selected(listed), limit))

    def _store(self, selected: Iterator[L]) -> int:
        """Store documents; return how many."""
        count = 0
        for document in self.source.complete(selected):
            if isinstance(document, str):  # the id of one that has been deleted
                self.spool.skip(document)
            else:
                self.spool.add(document)
                count += 1
        return count

    def _selected(self, listed: Iterator[L]) -> Iterator[L]:
        """Yield the documents that match, and remember the ids of the others."""
        now, began, count = datetime.now(UTC), time.monotonic(), 0
        wants_all, matches = self.selection.wants_all, self.selection.wanted.matches
        for document in listed:
            if not (wants_all or matches(document, now)):  # type: ignore[arg-type]
                self.spool.skip(self.source.id_of(document))
                continue
            count += 1
            if count % PROGRESS == 0:
                rate = count / max(time.monotonic() - began, 1e-9)
                log.info("%s %ss so far, %s per second.", f"{count:,}", self.source.noun, f"{rate:,.0f}")
            yield document

    def _unknown_ids(self) -> list[str]:
        self.passes += 1
        return list(self.spool.unknown(self.source.ids(page_size=IDS_PER_PAGE)))

    def _fetch(self, document_ids: Iterable[str]) -> None:
        """Request documents by their ids, and store those that exist and match."""
        for number, document_id in enumerate(dict.fromkeys(document_ids), 1):
            document = self.source.find(document_id)
            if document is None:
                self.spool.skip(document_id)
                continue
            self.late += self._store(self._selected(iter((document,))))
            if number % PROGRESS == 0:
                log.info("%s %ss requested by their ids.", f"{number:,}", self.source.noun)
