"""Which runs started, or came to an end, between two polls; ``changes`` explains how that is found out.

Of each run, the events are remembered that it has had. So each is reported once, also if the state of the run goes back
and forth, or if a poll finds several steps at once: a run that starts and ends between two polls has had both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from vi_airflow_provider.api.errors import ViNotFoundError
from vi_airflow_provider.api.models import Run, RunState
from vi_airflow_provider.gates.changes import Detector, Poll, Version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.gates.run_condition import RunTarget

#: Describes a run; the second argument is its web address.
Summarize: TypeAlias = Callable[[Run, str], dict[str, Any]]

EVENTS: Final = ("started", "succeeded", "failed", "killed")
_ENDS: Final = {
    RunState.SUCCEEDED: "succeeded",
    RunState.FAILED: "failed",
    RunState.KILLED: "killed",
}


@dataclass(frozen=True)
class RunChange:
    """What happened to one run."""

    events: tuple[str, ...]
    run: Run
    url: str
    summarize: Summarize

    def as_data(self, run_id: str) -> list[dict[str, Any]]:
        """Return the changes as an event lists them."""
        summary = self.summarize(self.run, self.url)
        return [{"event": event, **summary} for event in self.events]


class RunChangeDetector(Detector[Run]):
    """Finds which of the runs that are watched started or ended.

    :param target: which runs are watched
    :param events: which of ``EVENTS`` to report
    :param summarize: describes a run of which an event is reported
    """

    def __init__(self, target: RunTarget, *, events: Collection[str], summarize: Summarize) -> None:
        super().__init__()
        self._target = target
        self._events = frozenset(events)
        self._summarize = summarize

    def listing(self, client: AsyncViClient) -> AsyncIterator[Run]:
        """Yield all runs."""
        return client.list_runs()

    async def find(self, client: AsyncViClient, document_id: str) -> Run | None:
        """Return one run, ``None`` if it does not exist."""
        try:
            return await client.get_run(document_id)
        except ViNotFoundError:
            return None

    def id_of(self, document: Run) -> str:
        """Return the id of a run."""
        return document.run_id

    def compare(self, poll: Poll[Run], document: Run, old: Version | None) -> None:
        """Note the events that a run has had, and report those that are new."""
        if old is None and not self._target.matches(document):
            return
        known = () if old is None else tuple(old.version.split(","))
        had = ("started", *filter(None, [_ENDS.get(document.state)]))
        new = tuple(event for event in had if event not in known)
        poll.after.versions[document.run_id] = Version(",".join(known + new), "")
        reported = tuple(event for event in new if event in self._events)
        if reported and not poll.is_first:
            url = poll.client.settings.run_url(document)
            poll.after.changes[document.run_id] = RunChange(reported, document, url, self._summarize)
