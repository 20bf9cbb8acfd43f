"""Killing a run on behalf of a task: only by its owner, and never by mistake.

A kill is permanent and paid for, so a task kills its run only while the run's owner stamp is its own: after a clear, the
next try may have taken the run over before the signal arrives that ends the one before.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from vi_airflow_provider.api.errors import ViNotFoundError
from vi_airflow_provider.training.identity import KILL_REASON, Stamps, order_of

if TYPE_CHECKING:
    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.models import Run
    from vi_airflow_provider.api.verbs import BlockingVerbs

log = logging.getLogger(__name__)

#: Seconds for a kill by a task that is being ended: Airflow ends the process five seconds after its signal.
KILL_TIMEOUTS: Final = {"connect_timeout": 1.0, "read_timeout": 2.0, "retry_budget": 4.0, "max_retries": 1}


def may_kill(run: Run, owner: str) -> bool:
    """Decide whether the try ``owner`` may kill a run: it is active, and no later try has taken it over."""
    if run.has_stopped or run.spec.killed_at is not None:
        return False
    return Stamps.of(run).owner == order_of(owner)


def kill_own_run(client: BlockingVerbs, run_id: str, owner: str, reason: str) -> Run | None:
    """Kill a run if it is still the one of this try; return what it is now, ``None`` if it does not exist."""
    try:
        run = client.get_run(run_id)
    except ViNotFoundError:
        return None
    if not may_kill(run, owner):
        log.info("Run %s is left alone: it has ended, or another try has taken it over.", run_id)
        return run
    run = client.kill_run(run_id, attributes={KILL_REASON: reason})
    log.info("Killed run %s: %s.", run_id, reason)
    return run


async def kill_own_run_async(client: AsyncViClient, run_id: str, owner: str, reason: str) -> Run | None:
    """Do what :func:`kill_own_run` does, on an event loop."""
    try:
        run = await client.get_run(run_id)
    except ViNotFoundError:
        return None
    if not may_kill(run, owner):
        return run
    return await client.kill_run(run_id, attributes={KILL_REASON: reason})
