"""Killing a run on behalf of a task: only by its owner, and never by mistake.

A kill is permanent, and the run is paid for, so a task kills its run only while the run's owner stamp is its own: after
a clear, the next try may have taken the run over before the signal arrives that ends the previous try.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from vi_airflow_provider.api.errors import ViNotFoundError
from vi_airflow_provider.training.identity import KILL_REASON, Stamps, TaskIdentity, order_of
from vi_airflow_provider.training.starting import find_latest
from vi_airflow_provider.training.take_up import KILLED_WITH_TASK

if TYPE_CHECKING:
    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.models import Run
    from vi_airflow_provider.api.settings import ViSettings

log = logging.getLogger(__name__)


def with_short_timeouts(settings: ViSettings) -> ViSettings:
    """Return settings for a task that is being ended: Airflow ends its process five seconds after the signal."""
    return replace(settings, connect_timeout=1.0, read_timeout=2.0, retry_budget=4.0, max_retries=1)


def may_kill(run: Run, owner: str) -> bool:
    """Decide whether the try ``owner`` may kill a run: it is active, and its owner stamp is that of this try."""
    return reason_to_leave(run, owner) is None


def reason_to_leave(run: Run, owner: str) -> str | None:
    """Return why the try ``owner`` may not kill a run, ``None`` if it may."""
    if run.has_stopped:
        return "it has ended"
    if run.spec.killed_at is not None:
        return "its kill was requested before"
    found, ours = Stamps.of(run).owner, order_of(owner)
    if found > ours:
        return "a later try has taken it over"
    return None if found == ours else "its owner stamp is not the one of this try"


def kill_latest_run(settings: ViSettings, identity: TaskIdentity) -> bool:
    """Kill the latest run of a task instance if it is the one of this try; return whether it was killed.

    It has an HTTP session of its own: the signal that ends the task may have interrupted a request in the other one.
    """
    from vi_airflow_provider.api.client import ViClient

    with ViClient(with_short_timeouts(settings)) as client:
        latest = find_latest(client, identity)
        if latest is None:
            log.info("No run is killed: this task has started none that exists.")
            return False
        run = latest.run
        reason = reason_to_leave(run, identity.owner)
        if reason is None:
            ours, attributes = partial(may_kill, owner=identity.owner), {KILL_REASON: KILLED_WITH_TASK}
            run = client.kill_run_if(run.run_id, ours, attributes=attributes)
            reason = None if run.spec.killed_at is not None else reason_to_leave(run, identity.owner)
    if reason is not None:
        log.info("Run %s is left alone: %s.", run.run_id, reason)
        return False
    log.info("Requested the kill of run %s: %s.", run.run_id, KILLED_WITH_TASK)
    return True


async def kill_own_run(client: AsyncViClient, run_id: str, owner: str, reason: str) -> Run | None:
    """Kill a run if the try ``owner`` may; return what it is now, ``None`` if it does not exist."""
    try:
        return await client.kill_run_if(run_id, partial(may_kill, owner=owner), attributes={KILL_REASON: reason})
    except ViNotFoundError:
        return None
