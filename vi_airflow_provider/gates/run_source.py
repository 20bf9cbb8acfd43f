"""How the shared poller finds runs: one by one, or many of them in the listing; and the checkpoints of runs.

The client refuses a response about another run or another organization than the one that was requested.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from vi_airflow_provider.api.errors import ViNotFoundError
from vi_airflow_provider.api.protocol.page_sizes import SMALL
from vi_airflow_provider.api.run_state import FLOW_ID_ATTRIBUTE
from vi_airflow_provider.gates.reader import GETS_PER_PAGE
from vi_airflow_provider.gates.run_condition import RunTarget, age
from vi_airflow_provider.gates.source import Extent, Listing
from vi_airflow_provider.gates.timers import BATCH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.models import Run, RunOutput


class RunSource:
    """The runs of an organization, by :class:`~vi_airflow_provider.gates.run_condition.RunTarget`."""

    listed: Final = True
    has_head: Final = False

    def must_be_created(self, key: RunTarget) -> bool:
        """Return false: a run is waited for after its start, or changes until it matches."""
        return False

    def created(self, document: Run) -> int:
        """Return the time of creation."""
        return document.metadata.time_created

    def needs_listing(self, key: RunTarget) -> bool:
        """The newest run that matches can only be found in the listing."""
        return key.run_id is None

    async def get(self, client: AsyncViClient, key: RunTarget) -> Run | None:
        """Return the run as it is now, ``None`` if it does not exist."""
        if key.run_id is None:
            return (await _read_listing(client, (key,))).found(key)
        try:
            return await client.get_run(key.run_id)
        except ViNotFoundError:
            return None

    async def scan(self, client: AsyncViClient, keys: Collection[RunTarget], extent: Extent) -> Listing[RunTarget, Run]:
        """Read the listing for several runs.

        It comes newest first, so for ids it ends early where all of them are new. The API does not promise the order,
        so for the newest run that matches, it is read to its end.
        """
        run_ids = {key.run_id for key in keys if key.run_id is not None}
        if any(key.run_id is None for key in keys):
            return await _read_listing(client, keys)
        scan = await client.scan_runs(run_ids, extent.max_pages, gets_per_page=GETS_PER_PAGE)
        found = {run.run_id: run for run in scan.runs}
        return Listing(scan.pages, scan.complete, lambda key: found.get(key.run_id or ""))


class CheckpointSource:
    """The checkpoints of runs, by the id of the run: read when a wait ends, by all waits for that run at once."""

    listed: Final = False
    has_head: Final = False

    def must_be_created(self, key: str) -> bool:
        """Return false: each poll reads the checkpoints as they are."""
        return False

    def created(self, document: list[RunOutput]) -> int:
        """Return when the newest checkpoint was created."""
        return max((output.metadata.time_created for output in document), default=0)

    def needs_listing(self, key: str) -> bool:
        """Each run has a listing of its own."""
        return False

    async def get(self, client: AsyncViClient, key: str) -> list[RunOutput]:
        """Return the checkpoints of all pages."""
        return [output async for output in client.list_run_outputs(key)]

    async def scan(self, client: AsyncViClient, keys: Collection[str], extent: Extent) -> Listing[str, list[RunOutput]]:
        """Find nothing: no listing shows the checkpoints of several runs."""
        return Listing(0, False, None)


async def _read_listing(client: AsyncViClient, keys: Collection[RunTarget]) -> Listing[RunTarget, Run]:
    """Read the whole listing, and keep one run of each key: the documents embed flows, and there may be thousands."""
    index = _Index(keys)
    newest: dict[RunTarget, Run] = {}
    number = 0
    async for run in client.list_runs():
        for key in index.keys_of(run):
            if key not in newest or age(newest[key]) < age(run):
                newest[key] = run
        number += 1
        if number % BATCH == 0:
            await asyncio.sleep(0)
    return Listing(max(1, -(-number // (client.settings.page_size or SMALL))), complete=True, find=newest.get)


class _Place(NamedTuple):
    """What is compared first: by it, the keys of a run are found without trying all of them."""

    run_id: str | None = None
    flow_id: str | None = None
    training_project: str | None = None


class _Index:
    """Finds the keys that a run matches."""

    def __init__(self, keys: Collection[RunTarget]) -> None:
        self._keys: defaultdict[_Place, list[RunTarget]] = defaultdict(list)
        for key in keys:
            self._keys[_Place(key.run_id, key.flow_id, key.training_project)].append(key)

    def keys_of(self, run: Run) -> Iterator[RunTarget]:
        """Yield the keys that a run matches."""
        flow_id, project = run.metadata.attributes.get(FLOW_ID_ATTRIBUTE), run.spec.training_project
        places = {
            _Place(run.run_id),
            *(_Place(None, one, other) for one in (flow_id, None) for other in (project, None)),
        }
        for place in places:
            for key in self._keys.get(place, ()):
                if key.matches(run):
                    yield key


#: The source of all waits for runs, and that of their results; a poller is shared by those that name the same one.
RUNS: Final = RunSource()
CHECKPOINTS: Final = CheckpointSource()
