"""Which flows an export has: a listing that others change while it is read, made complete.

A page cursor may count documents instead of naming one. If flows on earlier pages are deleted meanwhile, the rest
moves up, and the flows that move across the boundary of two pages are on neither. So one pass is not trusted:

1. the flows are listed, and those that match are stored; ids of the others are remembered;
2. the ids are listed again, until a pass has no unknown id, and unknown flows are fetched one by one;
3. before a flow counts as removed since an earlier export, it is requested by its id.

A flow that exists from the first request to the last is in the export. One that is created or deleted meanwhile may
be in it or not. With a ``limit`` the export is a sample by intention, and a single pass.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

from vi_airflow_provider.selection.filter import FlowFilter

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Flow, SimpleFlow
    from vi_airflow_provider.audit.plan import Selection
    from vi_airflow_provider.audit.spool import FlowSpool

#: Flows between two lines of progress in the log.
PROGRESS: Final = 1000
#: Listings after which an export gives up waiting for a pass without an unknown id.
MAX_PASSES: Final = 5
#: Ids are small, and fewer pages have fewer boundaries.
IDS_PER_PAGE: Final = 1000

log = logging.getLogger(__name__)


class FlowSource(Protocol):
    """Where the flows come from, as a hook or a client of ``api`` has it."""

    def list_flows(self, *, page_size: int | None, limit: int | None, prefetch: bool) -> Iterator[Flow]:
        """Yield all flows."""
        ...

    def list_simple_flows(self, *, page_size: int | None) -> Iterator[SimpleFlow]:
        """Yield the ids of all flows."""
        ...

    def find_flow(self, *, flow_id: str) -> Flow | None:
        """Return a flow, ``None`` if it does not exist."""
        ...


@dataclass
class Listing:
    """Stores the selected flows of an organization in a spool, and counts what it takes.

    :param passes: listings that were read
    :param late: flows that the first listing lacked
    """

    source: FlowSource
    selection: Selection
    spool: FlowSpool
    passes: int = 0
    late: int = 0

    def collect(self) -> None:
        """Store the flows, and repeat the listing until it has no unknown flow."""
        self._first_pass()
        while self.selection.limit is None:
            unknown = self._unknown_ids()
            self._fetch(unknown)
            if not unknown:
                return
            if self.passes == MAX_PASSES:
                log.warning(
                    "The flows kept changing: pass %d of the listing had %d unknown ones, too. They are in the export; "
                    "others may be missing.",
                    *(self.passes, len(unknown)),
                )
                return

    def confirm_removed(self, flow_ids: Iterable[str]) -> bool:
        """Request flows of an earlier export that the listings lack; store and report those that exist."""
        if self.selection.limit is not None:
            return False
        before = self.late
        self._fetch([flow_id for flow_id in flow_ids if not self.spool.knows(flow_id)])
        return self.late > before

    def _first_pass(self) -> None:
        selection, limit = self.selection, self.selection.limit
        self.passes = 1
        # Without a filter, the listing itself can stop at the limit. With a filter, any page may be the last one that
        # is needed, so none is prefetched.
        bound = limit if selection.wanted == FlowFilter() else None
        flows = self.source.list_flows(page_size=selection.page_size, limit=bound, prefetch=limit == bound)
        for flow in islice(self._selected(flows), limit):
            self.spool.add(flow)

    def _selected(self, flows: Iterator[Flow]) -> Iterator[Flow]:
        """Yield the flows that match, and remember the ids of the others."""
        now, began, count = datetime.now(UTC), time.monotonic(), 0
        for flow in flows:
            if not self.selection.wanted.matches(flow, now):
                self.spool.skip(flow.flow_id)
                continue
            count += 1
            if count % PROGRESS == 0:
                rate = count / max(time.monotonic() - began, 1e-9)
                log.info("%s flows so far, %s per second.", f"{count:,}", f"{rate:,.0f}")
            yield flow

    def _unknown_ids(self) -> list[str]:
        self.passes += 1
        listed = self.source.list_simple_flows(page_size=IDS_PER_PAGE)
        return [flow.flow_id for flow in listed if not self.spool.knows(flow.flow_id)]

    def _fetch(self, flow_ids: Iterable[str]) -> None:
        """Request flows by their ids, and store those that exist and match."""
        for number, flow_id in enumerate(dict.fromkeys(flow_ids), 1):
            flow = self.source.find_flow(flow_id=flow_id)
            if flow is None:
                self.spool.skip(flow_id)
                continue
            for selected in self._selected(iter((flow,))):
                self.spool.add(selected)
                self.late += 1
            if number % PROGRESS == 0:
                log.info("%s flows requested by their ids.", f"{number:,}")
