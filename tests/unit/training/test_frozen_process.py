"""Tasks whose process is frozen by SIGSTOP until the next try has taken their run over, judged by the emulator's bill.

Each try is a process of its own, with the signal handler of Airflow 2 or of Airflow 3.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.layers import ROOT
from vi_airflow_provider.emulator import Emulator

pytestmark = pytest.mark.vi_emulator(flows=1, run_seconds=3600, runs=0)

#: Executes a try, and prints how it ended. In Airflow 2, a signal raises an exception in the task; in 3, it does not.
SCRIPT: Final = """
import signal, sys
from types import SimpleNamespace
from tests.tasks import TaskInstance
from tests.tries import START, Try
from vi_airflow_provider.operators.runs import StartRunOperator

airflow, flow_id, number, state = sys.argv[1:]

class TryOfAirflow2(TaskInstance):
    @classmethod
    def get_task_instance(cls, *_):
        return SimpleNamespace(state=state)

class Terminated(BaseException):
    pass

def handle(*_):
    operator.on_kill()
    if airflow == "2":
        raise Terminated

identity = {"try_number": int(number), "max_tries": 3}
ti = TryOfAirflow2(**identity) if airflow == "2" else Try(**identity, state=state)
operator = StartRunOperator(task_id="train", flow_id=flow_id, poll_interval=0.1, tail_logs=False)
context = {"ti": ti, "dag_run": SimpleNamespace(start_date=START)}
operator.pre_execute(context)
signal.signal(signal.SIGTERM, handle)
try:
    print(operator.execute(context)["state"])
except BaseException as error:
    print(type(error).__name__)
"""


class Tries:
    """The processes of the tries of one task instance."""

    def __init__(self, vi: Emulator) -> None:
        self._vi = vi
        self.started: list[subprocess.Popen[str]] = []

    def start(self, airflow: str, state: str = "running") -> subprocess.Popen[str]:
        """Start the next try."""
        arguments = [airflow, self._vi.store.flow_ids()[0], str(len(self.started) + 1), state]
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-W", "ignore", "-c", SCRIPT, *arguments],
            cwd=ROOT,
            env={**os.environ, **self._vi.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.started.append(process)
        return process

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait while the tries work."""
        end = time.monotonic() + 60
        while not reached():
            assert time.monotonic() < end, "not reached within 60 s"
            time.sleep(0.01)

    def run(self) -> Any:
        """The only run, as the server has it."""
        (run_id,) = self._vi.bill()
        return self._vi.store.get_run(run_id)

    @property
    def owner(self) -> str:
        """The owner stamp of the run."""
        return str(self.run()["metadata"]["attributes"]["vi_airflow.owner"])

    def requests(self, method: str) -> int:
        """The number of requests for the run."""
        return sum(request.method == method and "/runs/" in request.path for request in self._vi.requests)


@pytest.fixture
def tries(vi_emulator: Emulator) -> Iterator[Tries]:
    tries = Tries(vi_emulator)
    yield tries
    for process in tries.started:
        process.kill()
        process.communicate()


def freeze(process: subprocess.Popen[str]) -> None:
    """Stop a process, and wait until it has stopped."""
    process.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


def last_line(process: subprocess.Popen[str]) -> str:
    printed, _ = process.communicate(timeout=60)
    return printed.splitlines()[-1]


#: Where the first try is frozen: the response to its next request of this method comes late.
STEPS: Final = {"before the start": "GET", "during the start": "PUT", "while it waits": None}


@pytest.mark.parametrize(
    ("step", "airflow", "state"),
    [
        ("before the start", "3", None),
        ("during the start", "2", "failed"),
        ("while it waits", "2", None),
        ("while it waits", "3", "failed"),
    ],
)
def test_frozen_try_that_wakes_up_costs_nothing(
    vi_emulator: Emulator, tries: Tries, step: str, airflow: str, state: str | None
) -> None:
    """With a state, it also gets SIGTERM when it wakes up, as its task is in this state."""
    method = STEPS[step]
    if method is not None:
        vi_emulator.faults.add(method=method, path="/runs/", latency_ms=5000, when="after", times=1)
    frozen = tries.start(airflow, state or "running")
    tries.wait_until(lambda: tries.requests(method or "GET") >= (1 if method else 3))
    freeze(frozen)
    if method == "GET":
        assert not vi_emulator.bill()

    next_try = tries.start(airflow)
    tries.wait_until(lambda: bool(vi_emulator.bill()) and tries.owner == "3/2")
    if state is not None:
        frozen.send_signal(signal.SIGTERM)
    frozen.send_signal(signal.SIGCONT)
    assert last_line(frozen) in ("RunTakenOverError", *(["TaskInterruptedError", "Terminated"] if state else []))

    if method == "GET":  # its late start has replaced the run, whose owner renews the stamp with the next poll
        tries.wait_until(lambda: tries.owner == "3/2")
    assert tries.owner == "3/2"
    assert tries.run()["spec"].get("killedAt") is None
    assert next_try.poll() is None
    vi_emulator.advance(7200)
    assert last_line(next_try) == "succeeded"
    assert [account["starts"] for account in vi_emulator.bill().values()] == [1]
