"""One thread of the soak test that trains: tries of tasks that are retried, cleared and ended, judged by the bill."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tests.reliability.soak.gates import CONN_ID, GateRunner
from tests.reliability.soak.model import MismatchError
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.models import FlowSpec, Run
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.training.identity import TaskIdentity
from vi_airflow_provider.training.killing import kill_latest_run
from vi_airflow_provider.training.starting import RunRefusedError, TakenUp, Training, TrainingRequest, take_up
from vi_airflow_provider.training.waiting import RunEnd, read_event
from vi_airflow_provider.triggers.runs import RunTrigger

if TYPE_CHECKING:
    from tests.reliability.soak.emulator_process import EmulatorProcess

#: Seconds that a run takes.
RUN_SECONDS: Final = 3.0
#: How runs go, by a regular expression for their ids.
SCENARIOS: Final = {"[0-7]$": "succeed", "[89ab]$": "fail_at_end", "[c-f]$": "slow_kill"}
#: Tries of a task instance, after which another one begins.
TRIES: Final = 6
#: Seconds that a trigger may take to report the end of a run, whatever happens to its polls.
PATIENCE: Final = 60.0
_RETRIES: Final = 3


class TaskInstance:
    """A task instance: its tries, and how many runs they may have started."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.try_number, self.max_tries = 1, _RETRIES
        #: Runs that may have been started so far: one per generation, and one after each kill with a try.
        self.allowed = 1

    @property
    def identity(self) -> TaskIdentity:
        """The try that runs."""
        return TaskIdentity("", "soak", self.name, "train", -1, "2026-07-01", self.max_tries, self.try_number)

    def retry(self) -> None:
        """Begin the next try, as Airflow does."""
        self.try_number += 1

    def clear(self) -> None:
        """Clear the task, as a person does."""
        self.max_tries = self.try_number + _RETRIES
        self.allowed += 1
        self.retry()

    def run_ids(self) -> list[str]:
        """The ids of all runs that its tries may have started."""
        return [self.identity.id_of(number) for number in range(self.try_number)]


class Trainer:
    """Trains by one task instance after the other, with random interruptions.

    :param name: prefix of the names of its task instances
    :param vi: a hook of its own
    """

    def __init__(self, name: str, vi: ViHook, rng: random.Random, runner: GateRunner) -> None:
        self.name, self._vi, self._rng, self._runner = name, vi, rng, runner
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.tasks: list[TaskInstance] = []
        self._serial = itertools.count(1)
        self._spec = FlowSpec.complete({"name": f"{name} trains", "schema": "v1", "blocks": []})

    def prepare(self) -> None:
        """Prepare nothing."""

    def has_due_gates(self) -> bool:
        """Return ``False``: nothing is waited for at the end."""
        return False

    def step(self) -> None:
        """Execute a try of a task, and let something happen to it.

        :raises MismatchError: a wait ended wrongly
        """
        if not self.tasks or self.tasks[-1].try_number >= TRIES:
            self.tasks.append(TaskInstance(f"{self.name}-{next(self._serial)}"))
        task = self.tasks[-1]
        taken = self._take_up(task)
        happens: list[Callable[[TaskInstance, TakenUp], None]] = [self._wait, self._retry, self._clear, self._kill]
        if taken is None:
            task.clear()
        else:
            (action,) = self._rng.choices(happens, [4, 3, 3, 3])
            self.counts[action.__name__.strip("_")] += 1
            action(task, taken)

    def _take_up(self, task: TaskInstance) -> TakenUp | None:
        """Start the run of a task or find it again; ``None`` if nothing else may be started."""
        while task.try_number < TRIES:
            try:
                taken = take_up(self._vi, TrainingRequest(lambda: Training(self._spec, "digest"), task.identity))
            except RunRefusedError:
                self.counts["refused"] += 1
                return None
            except ViError as error:
                self.errors[type(error).__name__] += 1
                task.retry()
            else:
                self.counts["adopted" if taken.adopted else "taken up"] += 1
                return taken
        return None

    def _retry(self, task: TaskInstance, _: TakenUp) -> None:
        task.retry()

    def _clear(self, task: TaskInstance, _: TakenUp) -> None:
        task.clear()

    def _kill(self, task: TaskInstance, _: TakenUp) -> None:
        """End the try as a person does; even if the kill fails, the next try of a cleared task trains again."""
        try:
            kill_latest_run(self._vi.settings, task.identity)
        except ViError as error:
            self.errors[type(error).__name__] += 1
        task.clear()

    def _wait(self, task: TaskInstance, taken: TakenUp) -> None:
        trigger = RunTrigger(vi_conn_id=CONN_ID, run_id=taken.run.run_id, owner=task.identity.owner, poll_interval=1.0)
        end = read_event(self._runner.result_of(trigger, PATIENCE))
        if end.outcome not in (RunEnd.ENDED, RunEnd.FAILED):
            raise MismatchError(f"the wait for run {end.run_id} of {task.name} ended as {end.outcome}")
        self.counts[f"wait {end.outcome}"] += 1
        task.retry()


def check_bill(vi: EmulatorProcess, trainers: list[Trainer]) -> None:
    """Compare the bill with the tasks: each run was started once, and no task had two active runs at a time.

    :raises MismatchError: something was paid for that should not have been, or nothing was
    """
    bill, known = vi.bill(), set[str]()
    if not bill:
        raise MismatchError("no run was started")
    for run_id, account in bill.items():
        if account["starts"] != 1:
            raise MismatchError(f"run {run_id} was started {account['starts']} times")
    for task in (task for trainer in trainers for task in trainer.tasks):
        ids = [run_id for run_id in task.run_ids() if run_id in bill]
        known.update(ids)
        if len(ids) > task.allowed:
            raise MismatchError(f"{task.name} has started {len(ids)} runs, more than {task.allowed}")
        _check_order(task.name, [Run.model_validate(vi.run(run_id)) for run_id in ids])
    if unknown := bill.keys() - known:
        raise MismatchError(f"no task has started run {min(unknown)}")


def _check_order(name: str, runs: list[Run]) -> None:
    """Check that each run had ended before the next one began."""
    for earlier, later in itertools.pairwise(runs):
        if not earlier.has_stopped or (earlier.ended_at or 0) > later.metadata.time_created:
            raise MismatchError(f"{name} had two active runs: {earlier.run_id} and {later.run_id}")
