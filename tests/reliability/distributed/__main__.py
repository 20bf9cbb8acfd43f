"""Command line: `python -m tests.reliability.distributed [--json FILE]`."""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from demo.deployment import COMPONENTS, Deployment
from demo.local_airflow import configure
from tests.deployed import eventually
from tests.reliability.distributed.memory import Peaks
from tests.reliability.distributed.services import MissingProgramError, PostgreSQL, Redis, install
from tests.reliability.figures import save
from vi_airflow_provider.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Mapping

WORKERS: Final = ("worker-1", "worker-2")
#: Four of them wait for training runs.
WORKER_TASKS: Final = 5
FLOWS: Final = 900
DAGS: Final = Path(__file__).parent / "dags"


def main() -> int:
    """Start the deployment, run the scenario, stop everything; 0 if all checks passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.distributed", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the `with` blocks stop everything
    try:
        install()
    except MissingProgramError as error:
        print(error, file=sys.stderr)
        return 1
    home = Path(tempfile.mkdtemp(prefix="vi-distributed-"))
    home.chmod(0o711)  # user postgres needs access to its folder
    try:
        figures = _measure(home)
    except BaseException:
        print(f"The logs are in {home}", file=sys.stderr)
        raise
    shutil.rmtree(home)
    _print(figures)
    if options.json:
        save(options.json, figures)
    return 0


def _measure(home: Path) -> dict[str, Any]:
    from tests.reliability.distributed.scenario import LATENCY_MS, Scenario

    seconds: dict[str, float] = {}
    began = time.monotonic()
    with ExitStack() as stack:
        vi = stack.enter_context(Emulator(flows=FLOWS, latency_ms=LATENCY_MS))
        configure(home / "here", **vi.environment)  # this process reads and restores flows, too
        postgres = stack.enter_context(PostgreSQL(home / "postgresql"))
        redis = stack.enter_context(Redis(home / "redis"))
        folder = home / "airflow"
        folder.mkdir()
        airflow = stack.enter_context(
            Deployment(folder, _variables(postgres, redis, vi), components=_components(folder))
        )
        airflow.migrate()
        seconds["setup"] = time.monotonic() - began
        _print_seconds("setup", seconds["setup"])

        def pids() -> dict[str, int]:
            return {"postgresql": postgres.pid, "redis": redis.pid, **airflow.pids()}

        began = time.monotonic()
        memory = stack.enter_context(Peaks(pids))
        airflow.start()
        airflow.wait_until_healthy(seconds=600)
        for worker in WORKERS:
            log = folder / f"{worker}.log"
            eventually(partial(_contains, log, " ready."), f"{worker} is not ready", 300)
        eventually(lambda: len(airflow.api("GET", "/dags")["dags"]) == 3, "the DAGs were not parsed", 300)
        seconds["healthy"] = time.monotonic() - began
        _print_seconds("healthy", seconds["healthy"])
        archives = home / "archives"
        scenario = Scenario(airflow, vi, archives, seconds)
        scenario.run()
    return {
        "workers": len(WORKERS),
        "worker_tasks": WORKER_TASKS,
        **scenario.facts,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "peak_mib": {name: round(value) for name, value in sorted(memory.mib.items())},
        "peak_mib_total": round(memory.total),
    }


def _contains(file: Path, text: str) -> bool:
    return text in file.read_text()


def _components(home: Path) -> dict[str, tuple[str, ...]]:
    workers = {
        name: (
            "celery",
            "worker",
            "--skip-serve-logs",
            "--celery-hostname",
            f"{name}@%h",
            "--concurrency",
            str(WORKER_TASKS),
            "--pid",
            str(home / f"{name}.pid"),
        )
        for name in WORKERS
    }
    return {**COMPONENTS, **workers}


def _variables(postgres: PostgreSQL, redis: Redis, vi: Emulator) -> Mapping[str, str]:
    return {
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{postgres.url}",
        "AIRFLOW__CELERY__BROKER_URL": redis.url,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{postgres.url}",
        # Time until the loss of a worker is detected: for a running task, and for one that it has only fetched.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "120",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "180",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        **vi.environment,
    }


def _print_seconds(what: str, seconds: float) -> None:
    print(f"{what:<24}{seconds:>8.1f} s", flush=True)


def _print(figures: Mapping[str, Any]) -> None:
    for name, value in figures["seconds"].items():
        _print_seconds(name, value)
    for name, mib in figures["peak_mib"].items():
        print(f"{name:<24}{mib:>6} MiB at peak")
    print(f"{'total':<24}{figures['peak_mib_total']:>6} MiB at peak")
    rest = {name: value for name, value in figures.items() if name not in ("seconds", "peak_mib", "peak_mib_total")}
    print(json.dumps(rest, indent=2))


if __name__ == "__main__":
    sys.exit(main())
