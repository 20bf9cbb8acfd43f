"""Interrupts cleanups by real signals, as Airflow does, and reports what was sent afterwards.

Run in a process of its own: ``python -m tests.unit.cleanup.interrupted WAY REPETITIONS SEED``. Each repetition deletes
flows of an emulator in this process. At a random moment after a random number of requests, the process sends itself the
signal. The output is one line of JSON for each repetition:

``raised``: the class of the exception that came out of ``execute``, ``late``: requests to delete that began after the
signal's handler had run and not before, ``deleted`` and ``selected``: numbers of flows, ``archived``: whether every
deleted flow is in an archive, ``running``: whether the event loop still ran when ``execute`` had ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tests.tasks import TaskInstance
from tests.unit.cleanup.support import archived
from tests.versions import AIRFLOW
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.protocol.messages import Send
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.flows import PruneFlowsOperator

CONCURRENCY: Final = 4
Handler = Callable[[int, FrameType | None], None]


class Terminated(BaseException):
    """What Airflow 2 raises (``AirflowTaskTerminated``)."""


def timeout(operator: PruneFlowsOperator) -> AbstractContextManager[Any]:
    """``execution_timeout``: an alarm, whose handler raises; Airflow calls ``on_kill`` afterwards."""
    module = import_module("airflow.sdk.execution_time.timeout" if AIRFLOW >= (3, 1) else "airflow.utils.timeout")
    manager: AbstractContextManager[Any] = module.timeout(600)
    return manager


def mark_failed_on_airflow_2(operator: PruneFlowsOperator) -> AbstractContextManager[Any]:
    """SIGTERM: the handler calls ``on_kill`` and raises."""

    def handle(number: int, frame: FrameType | None) -> None:
        operator.on_kill()
        raise Terminated

    signal.signal(signal.SIGTERM, handle)
    return nullcontext()


def mark_failed_on_airflow_3(operator: PruneFlowsOperator) -> AbstractContextManager[Any]:
    """SIGTERM: the handler only calls ``on_kill``."""

    def handle(number: int, frame: FrameType | None) -> None:
        operator.on_kill()

    signal.signal(signal.SIGTERM, handle)
    return nullcontext()


def control_c(operator: PruneFlowsOperator) -> AbstractContextManager[Any]:
    """SIGINT: ``KeyboardInterrupt``."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return nullcontext()


WAYS: Final[dict[str, tuple[signal.Signals, Callable[[PruneFlowsOperator], AbstractContextManager[Any]]]]] = {
    "timeout": (signal.SIGALRM, timeout),
    "airflow-2": (signal.SIGTERM, mark_failed_on_airflow_2),
    "airflow-3": (signal.SIGTERM, mark_failed_on_airflow_3),
    "control-c": (signal.SIGINT, control_c),
}


class Interruption:
    """Counts the deletes that are sent, and sends the signal after some of them."""

    def __init__(self, number: signal.Signals, rng: random.Random) -> None:
        self.sent = 0
        self.sent_when_handled: int | None = None
        self._number = number
        self._after = rng.randint(1, 30)
        self._delay = rng.choice((0, rng.uniform(0, 0.02)))

    def watch_handler(self) -> None:
        """Note how many deletes had been sent when the handler began."""
        handler: Any = signal.getsignal(self._number)

        def handle(number: int, frame: FrameType | None) -> None:
            self.sent_when_handled = self.sent
            handler(number, frame)

        signal.signal(self._number, handle)

    def count(self, send: Send) -> None:
        """Note a request that is about to be sent."""
        if send.request.method == "DELETE":
            self.sent += 1
            if self.sent == self._after:
                asyncio.get_running_loop().call_later(self._delay, os.kill, os.getpid(), self._number)


def loop_is_running() -> bool:
    """Return whether a thread runs an event loop of the provider."""
    for frame in sys._current_frames().values():
        names = set()
        caller: FrameType | None = frame
        while caller is not None:
            names.add(caller.f_code.co_qualname)
            caller = caller.f_back
        if {"_LoopThread._run", "Runner.run"} <= names:
            return True
    return False


def repetition(emulator: Emulator, way: str, rng: random.Random, send: Any) -> dict[str, Any]:
    """Interrupt one cleanup, and return what is to be reported."""
    number, arrange = WAYS[way]
    interruption = Interruption(number, rng)

    async def counted(client: AsyncViClient, step: Send) -> Any:
        interruption.count(step)
        return await send(client, step)

    AsyncViClient._send = counted  # type: ignore[assignment, method-assign]
    # Other flows each time: a request that was aborted may still be carried out.
    latency_ms = rng.choice((0, 1, 5, 20))
    emulator.reset(flows=80, seed=rng.randrange(1 << 30), latency_ms=latency_ms)
    before = set(emulator.store.flow_ids())
    raised: BaseException | None = None
    with tempfile.TemporaryDirectory() as folder:
        operator = PruneFlowsOperator(
            task_id="prune", older_than="PT1S", dry_run=False, archive_to=folder, concurrency=CONCURRENCY,
            max_delete=80, max_delete_fraction=1,
        )  # fmt: skip
        try:
            with arrange(operator):
                interruption.watch_handler()
                operator.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]
        except BaseException as error:
            raised = error
        running = loop_is_running()
        deleted = before - set(emulator.store.flow_ids())
        return {
            "raised": type(raised).__name__,
            "latency_ms": latency_ms,
            "late": interruption.sent - (interruption.sent_when_handled or 0),
            "deleted": len(deleted),
            "selected": len(archived(Path(folder))),
            "archived": deleted <= archived(Path(folder)).keys(),
            "running": running,
        }


def main(way: str, repetitions: str, seed: str) -> None:
    """Print one line for each repetition."""
    send = AsyncViClient._send
    with Emulator() as emulator:
        os.environ["AIRFLOW_CONN_VI_DEFAULT"] = emulator.airflow_conn
        for number in range(int(repetitions)):
            print(json.dumps(repetition(emulator, way, random.Random(f"{seed}-{number}"), send)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
