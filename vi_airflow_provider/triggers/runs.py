"""``RunTrigger``: waits for a training run on the triggerer."""

from __future__ import annotations

import asyncio
import random
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.failed_polls import retry_after
from vi_airflow_provider.gates import timers
from vi_airflow_provider.gates.pacing import MAX_SPREAD, MIN_INTERVAL, SPREAD, next_poll
from vi_airflow_provider.gates.run_condition import RunTarget
from vi_airflow_provider.gates.run_source import RUNS
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.task import task_state
from vi_airflow_provider.training.killing import kill_own_run, with_short_timeouts
from vi_airflow_provider.training.starting import RunTakenOverError
from vi_airflow_provider.training.take_up import KILLED_WITH_TASK
from vi_airflow_provider.training.task_end import ends_run
from vi_airflow_provider.training.waiting import RunEnd, Wait, WaitEnd, build_event, ensure_owner_stamp
from vi_airflow_provider.training.watch import Limits, RunWatch
from vi_airflow_provider.triggers.shared import shared_client, shared_poller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vi_airflow_provider.api.models import Run
    from vi_airflow_provider.gates.client import RefreshingClient
    from vi_airflow_provider.gates.poller import SharedPoller

#: Seconds that a kill may take when a person has ended the task.
KILL_TIMEOUT: Final = 10.0
#: Seconds of these in which the state of the task is read.
STATE_TIMEOUT: Final = 5.0
_AIRFLOW_CALLS_ON_KILL: Final = hasattr(BaseTrigger, "on_kill")

#: The event loop keeps only weak references to its tasks.
_killing: set[asyncio.Task[None]] = set()


class RunTrigger(BaseTrigger):
    """Waits until a run has ended or exceeds a limit, and yields exactly one event.

    It never ends a run by itself, except when a person ends the task: a restart of the triggerer must not. From 3.3 on,
    Airflow calls :meth:`on_kill` in the first case only, but also if another triggerer has taken the trigger over while
    this one stalled. Before 3.3, it cancels the trigger for any reason. The state of the task shows whether a person
    has ended it. No state proves that it was cleared; its next try kills the run.

    Arguments are JSON, hold no secret, and keep their names across versions.

    :param vi_conn_id: id of a connection of type ``vi``
    :param run_id: id of the run
    :param owner: owner stamp of the try that waits: only while the run still carries it may this trigger kill it
    :param limits: :class:`~vi_airflow_provider.training.watch.Limits` as JSON data
    :param poll_interval: seconds between two polls
    :param first_poll: time of the first poll, in seconds since the epoch
    :param cancel_on_kill: kill the run when a person ends the task
    :param on_clear: ``"adopt"`` if the run goes on when the task is cleared
    :param adopted: whether the task has taken over an active run; goes into the event
    """

    def __init__(
        self,
        *,
        vi_conn_id: str,
        run_id: str,
        owner: str,
        limits: dict[str, Any] | None = None,
        poll_interval: float = 60.0,
        first_poll: float = 0.0,
        cancel_on_kill: bool = True,
        adopted: bool = False,
        on_clear: str = "restart",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vi_conn_id = vi_conn_id
        self.run_id = run_id
        self.owner = owner
        self.limits = limits
        self.poll_interval = max(poll_interval, MIN_INTERVAL)
        self.first_poll = first_poll
        self.cancel_on_kill = cancel_on_kill
        self.adopted = adopted
        self.on_clear = on_clear
        self._cancelled = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        waiting = ("vi_conn_id", "run_id", "owner", "limits", "poll_interval", "first_poll")
        names = (*waiting, "cancel_on_kill", "adopted", "on_clear")
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield how the wait ended."""
        watch = RunWatch(Limits(**(self.limits or {})))
        try:
            async with (
                shared_client(self.vi_conn_id) as client,
                shared_poller(self.vi_conn_id, RUNS) as poller,
                poller.subscribe(RunTarget(run_id=self.run_id)),
            ):
                end = await self._wait(watch, poller, client)
        except asyncio.CancelledError:
            self._cancelled = True
            raise
        yield TriggerEvent(build_event(end))  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Kill the run, because a person has failed, cleared or marked the task (called by Airflow 3.3 and later).

        Airflow also calls it on a triggerer that stalled, and whose triggers another one has taken over. The task is
        still deferred then, or goes on with the event of the other trigger, so the run goes on. A task that was cleared
        may be in such a state already: its next try kills the run, or adopts it. If the state cannot be read, Airflow's
        call counts, unless the next try of a cleared task is to adopt the run.
        """
        if not self.cancel_on_kill:
            return
        try:
            async with asyncio.timeout(KILL_TIMEOUT):
                state = await self._state_in_time()
                if ends_run(state, self.on_clear) or (state is None and self.on_clear != "adopt"):
                    await self._kill()
                else:
                    self.log.info("Run %s goes on: its task is in state %s, and may need it.", self.run_id, state)
        except Exception as error:  # whatever it is, nothing else handles it
            self.log.warning("Run %s could not be killed; it may go on: %s", self.run_id, error)

    async def cleanup(self) -> None:
        """Kill the run if the trigger was cancelled because a person has ended the task (Airflow before 3.3).

        Airflow repeats the cancellation every second, so a task of its own does the work.
        """
        if self._cancelled and self.cancel_on_kill and not _AIRFLOW_CALLS_ON_KILL:
            killing = asyncio.create_task(self._kill_if_meant())
            _killing.add(killing)
            killing.add_done_callback(_killing.discard)
            await asyncio.shield(killing)

    async def _state_in_time(self) -> str | None:
        try:
            async with asyncio.timeout(STATE_TIMEOUT):
                # From 3.3 on, a request to the supervisor may be given up.
                return await asyncio.to_thread(_stored_state, getattr(self, "task_instance", None))
        except TimeoutError:
            self.log.warning("The state of the task could not be read in %g s.", STATE_TIMEOUT)
            return None

    async def _kill_if_meant(self) -> None:
        from asgiref.sync import sync_to_async

        # Not limited in time: on 3.0, a request to the supervisor that is given up breaks those that follow.
        state = await sync_to_async(_stored_state)(getattr(self, "task_instance", None))
        if not ends_run(state, self.on_clear):
            self.log.info("The trigger is cancelled while the task is in state %s; its run goes on.", state)
            return
        try:
            await self._kill()
        except Exception as error:  # whatever it is, no one else handles it
            self.log.warning("Run %s could not be killed; it may go on: %s", self.run_id, error)

    async def _kill(self) -> None:
        # A client of its own: the shared one may be closed, or busy with requests that hang.
        async with await ViHook(self.vi_conn_id).get_async_conn() as shared:
            client = type(shared)(with_short_timeouts(shared.settings))
        async with client:
            await kill_own_run(client, self.run_id, self.owner, KILLED_WITH_TASK)

    async def _wait(self, watch: RunWatch, poller: SharedPoller[RunTarget, Run], client: RefreshingClient) -> WaitEnd:
        spread = min(self.poll_interval * SPREAD, MAX_SPREAD)
        offset = random.uniform(0, spread)  # noqa: S311 - not for secrets
        target, wait, began = RunTarget(run_id=self.run_id), Wait(self.run_id, watch), time.time()
        due = self.first_poll if self.first_poll > began else next_poll(began, self.poll_interval, offset)
        end = None
        while end is None:
            await timers.sleep(min(due, wait.latest_poll(time.time())) - time.time())
            earliest = time.time() + self.poll_interval
            try:
                run = await poller.poll(target, spread, certain=True)
                run = None if run is None else await self._ensure_owner_stamp(client, run)
                end = wait.absent(time.time()) if run is None else wait.read(run, time.time())
            except ViError as error:
                end = wait.failed(error, time.time())
                earliest = max(earliest, time.time() + retry_after(error))
            except RunTakenOverError:
                # A task that nevertheless resumes with this event reads the run again, and ends for the same reason.
                self.log.info("A later try of the task waits for run %s.", self.run_id)
                end = WaitEnd(self.run_id, RunEnd.ENDED)
            due = next_poll(earliest, self.poll_interval, offset)
        return end._replace(adopted=self.adopted, wait_deadline=watch.limits.wait_deadline)

    async def _ensure_owner_stamp(self, client: RefreshingClient, run: Run) -> Run:
        async def update(run_id: str, **changes: Any) -> Run:
            return await client.call(lambda vi: vi.update_run(run_id, **changes))

        return await ensure_owner_stamp(update, run, self.owner)


def _stored_state(ti: Any) -> str | None:
    """Return the state that Airflow has stored of a trigger's task, ``None`` if it cannot be read."""
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:  # Airflow 2 gives a trigger the task instance itself
        return task_state({"ti": ti})
    known = {name: getattr(ti, name, None) for name in ("dag_id", "run_id", "task_id", "map_index")}
    runtime: Any = SimpleNamespace(get_task_states=RuntimeTaskInstance.get_task_states, **known)
    return task_state({"ti": runtime})
