"""Command line of the soak test: `python -m tests.reliability.soak --seconds 600 --seed N`."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from demo.local_airflow import configure
from tests.reliability.figures import save

if TYPE_CHECKING:
    from tests.reliability.soak.emulator_process import EmulatorProcess
    from tests.reliability.soak.gates import GateKind
    from tests.reliability.soak.resources import ResourceUse
    from tests.reliability.soak.trainer import Trainer
    from tests.reliability.soak.worker import Worker

THREADS: Final = 8
GATES: Final = 500
TRAINERS: Final = 2
SAMPLE_SECONDS: Final = 1.0


def main() -> int:
    """Run the soak test; 0 if nothing contradicted the model and nothing leaked."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="duration of the operations (%(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="seed of operations and faults")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    # A thread that hangs must not keep the process for ever.
    faulthandler.dump_traceback_later(options.seconds + 600, exit=True)
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(
        f"Soak of {options.seconds:.0f} s with --seed {seed}: {THREADS + TRAINERS} threads, {GATES} gates", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="vi-soak-") as home:
        # Before Airflow is imported. At INFO, each of 500 gates would log each poll.
        configure(Path(home), AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR")
        return _soak(options.seconds, seed, options.json)


def _soak(seconds: float, seed: int, json: Path | None) -> int:
    from tests.reliability.soak.emulator_process import READ_TIMEOUT, EmulatorProcess
    from tests.reliability.soak.gates import CONN_ID, GateRunner
    from tests.reliability.soak.model import MismatchError
    from tests.reliability.soak.resources import ResourceUse
    from tests.reliability.soak.trainer import RUN_SECONDS, SCENARIOS, Trainer
    from tests.reliability.soak.worker import Worker
    from vi_airflow_provider.hooks.vi import ViHook

    retries = _Retries()
    resources = ResourceUse()
    failures: list[BaseException] = []
    stop, prepared = threading.Event(), threading.Semaphore(0)

    def fail(error: BaseException) -> None:
        failures.append(error)
        stop.set()

    def work(worker: Worker | Trainer) -> None:
        try:
            try:
                worker.prepare()
            finally:
                prepared.release()
            while not stop.is_set():
                worker.step()
            while not failures and worker.has_due_gates():
                time.sleep(0.05)
        except Exception as error:
            fail(error)

    with EmulatorProcess(seed) as vi, ExitStack() as stack:
        extra = {"read_timeout": READ_TIMEOUT, "max_retry_delay": 0.5}
        os.environ["AIRFLOW_CONN_VI_DEFAULT"] = vi.connection(**extra)
        os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"] = vi.connection(**extra, page_size=1000)
        vi.plan_runs(RUN_SECONDS, SCENARIOS)
        vi.inject_faults()
        runner = stack.enter_context(GateRunner(fail))
        # Half of the threads share one client, as the threads of a task may; the others have a hook each.
        hooks = [stack.enter_context(closing(ViHook())) for _ in range(1 + THREADS // 2)]
        callers = [hooks[0].get_conn() if number % 2 else hooks[1 + number // 2] for number in range(THREADS)]
        workers = [
            Worker(f"w{number}", caller, random.Random(f"{seed} {number}"), runner, len(range(number, GATES, THREADS)))
            for number, caller in enumerate(callers)
        ]
        trainers = [
            Trainer(f"t{number}", stack.enter_context(closing(ViHook())), random.Random(f"{seed} t{number}"), runner)
            for number in range(TRAINERS)
        ]
        everyone: list[Worker | Trainer] = [*workers, *trainers]
        threads = [threading.Thread(target=work, args=(worker,), name=worker.name, daemon=True) for worker in everyone]
        for thread in threads:
            thread.start()
        try:
            for _ in threads:
                prepared.acquire()
            resources.sample()  # at least one, even in a very short run
            end = time.monotonic() + seconds
            while not stop.wait(min(SAMPLE_SECONDS, max(0.0, end - time.monotonic()))) and time.monotonic() < end:
                resources.sample()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        requests, faults = vi.faults()
        if not failures:
            vi.stop_faults()
            failures += _mismatches(vi, workers, trainers)
    rows = _rows(workers, trainers, requests, faults, retries.count, resources)
    for name, value, note in rows:
        print(f"{name:<38}{value:>12}  {note}".rstrip())
    for failure in failures[:1]:
        if not isinstance(failure, MismatchError):
            raise failure
        print(f"\nMISMATCH, with --seed {seed}: {failure}")
    for leak in resources.leaks:
        print(f"\nLEAK: {leak}")
    if failures or resources.leaks:
        return 1
    if json is not None:
        save(json, {"seconds": seconds, "seed": seed, "rows": rows})
    return 0


class _Retries(logging.Handler):
    """Counts the log lines about retries, which would fill the screen."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0
        protocol = logging.getLogger("vi_airflow_provider.api.protocol.exchange")
        protocol.setLevel(logging.WARNING)
        protocol.addHandler(self)
        protocol.propagate = False

    def emit(self, _: logging.LogRecord) -> None:
        self.count += 1  # under the handler's lock


def _mismatches(vi: EmulatorProcess, workers: list[Worker], trainers: list[Trainer]) -> list[BaseException]:
    """Compare each flow that the server has, or should have, with the models, and the bill with the tasks."""
    from tests.reliability.soak.model import MismatchError
    from tests.reliability.soak.trainer import check_bill

    documents = {document["flowId"]: document for document in vi.documents()}
    try:
        for worker in workers:
            for flow_id in worker.model.ids():
                worker.model.check_wire(flow_id, documents.pop(flow_id, None))
        if documents:
            raise MismatchError(f"flows that should not exist: {', '.join(sorted(documents))}")
        check_bill(vi, trainers)
    except MismatchError as error:
        return [error]
    return []


def _rows(
    workers: list[Worker],
    trainers: list[Trainer],
    requests: int,
    faults: dict[str, int],
    retries: int,
    resources: ResourceUse,
) -> list[tuple[str, str, str]]:
    """Return the table: name, value, and breakdown or remark."""
    from tests.reliability.soak.worker import Counts

    counts = Counts()
    for worker in workers:
        counts.add(worker.counts)
    training: Counter[str] = Counter()
    for trainer in trainers:
        training += trainer.counts
        counts.errors += trainer.errors
    tasks = sum(len(trainer.tasks) for trainer in trainers)
    (memory, more_memory), (files, more_files) = resources.thirds(resources.memory), resources.thirds(resources.files)
    rows: list[tuple[str, str | int, str]] = [
        ("operations", counts.operations.total(), _listed(counts.operations)),
        ("requests", requests, ""),
        ("faulty responses", sum(faults.values()), f"{sum(faults.values()) / max(1, requests):.1%} of the requests"),
        *((f"  {name}", count, "") for name, count in faults.items()),
        ("retries", retries, ""),
        ("errors seen by callers", counts.errors.total(), _listed(counts.errors)),
        ("  writes applied despite the error", counts.applied_despite_error, "established by a read"),
        ("  writes not applied", counts.not_applied, "established by a read"),
        ("flows at the end", sum(len(worker.model.ids()) for worker in workers), "model and server agree on each"),
        ("gates opened", counts.opened.total(), _listed(counts.opened)),
        ("  greatest delay after its flow was ready", f"{counts.slowest_gate:.1f} s", ""),
        ("tasks that train", tasks, f"each run was paid for once; {_listed(training)}"),
        ("memory, MiB", f"{memory:.1f}", f"in the last third: {more_memory:.1f}"),
        ("open files", f"{files:.0f}", f"in the last third: {more_files:.0f}"),
    ]
    return [(name, value if isinstance(value, str) else f"{value:,}", note) for name, value, note in rows]


def _listed(counts: Counter[str] | Counter[GateKind]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    sys.exit(main())
