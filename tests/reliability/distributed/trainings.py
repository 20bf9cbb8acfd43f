"""Training runs beside the cleanup, whose tasks lose a worker or the triggerer; the emulator's bill is the judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from demo.deployment import Deployment
from tests.deployed import eventually, start, task_instances
from vi_airflow_provider.emulator import Emulator

#: The numbers of `dags/training.py`.
TASKS: Final = {"running": 4, "deferred": 12}
PATIENCE: Final = 900.0


@dataclass
class Trainings:
    """The DAG run `train`: no run ends by itself until the clock of the emulator is moved forward.

    :param flow_id: the flow to train
    """

    airflow: Deployment
    vi: Emulator
    flow_id: str
    run_id: str = field(init=False)
    lost: frozenset[tuple[str, int]] = frozenset()

    def begin(self) -> None:
        """Start the DAG run, and wait until each task waits for a run of its own."""
        self.run_id = start(self.airflow, "train", {"flow_id": self.flow_id})
        eventually(lambda: self._states() == TASKS, "the training tasks do not wait", PATIENCE, seen=self._states)
        eventually(lambda: len(self.vi.bill()) == sum(TASKS.values()), "not every run was started", PATIENCE)

    def note_loss(self, processes: Collection[int]) -> None:
        """Remember the tasks of a worker that is to be killed."""
        running = [task for task in self._tasks() if task["state"] == "running"]
        self.lost = frozenset(_instance(task) for task in running if task["pid"] in processes)

    def check(self) -> dict[str, Any]:
        """Let the runs end, check that each task succeeds and each run was paid for once, and return the facts."""
        before = set(self.vi.bill())
        assert len(before) == sum(TASKS.values()), "a task started another run"
        assert not any(self.vi.store.get_run(run_id)["spec"].get("killedAt") for run_id in before), "a run was killed"
        self.vi.advance(2 * 3600)
        ended = Counter(success=sum(TASKS.values()))
        eventually(lambda: self._states() == ended, "the training tasks did not succeed", PATIENCE, seen=self._states)
        bill = self.vi.bill()
        assert bill.keys() == before, "a task started another run"
        assert {account["starts"] for account in bill.values()} == {1}, "a run was started twice"
        again = {_instance(task) for task in self._tasks() if task["try_number"] > 1}
        assert self.lost <= again, "the tasks of the killed worker were not tried again"
        return {
            "training_runs": len(bill),
            "training_tasks_lost": len(self.lost),
            "training_tasks_tried_again": len(again),
        }

    def _tasks(self) -> list[dict[str, Any]]:
        return task_instances(self.airflow, "train", self.run_id)

    def _states(self) -> Counter[str]:
        return Counter(task["state"] for task in self._tasks())


def _instance(task: Mapping[str, Any]) -> tuple[str, int]:
    return task["task_id"], task["map_index"]
