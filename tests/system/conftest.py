"""One deployment for all tests of this folder: its start takes longer than any of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.deployment import Deployment
from demo.local_airflow import EXAMPLES
from tests.deployed import eventually, pytest_runtest_makereport  # noqa: F401 - a hook of pytest
from vi_airflow_provider.emulator import Emulator

#: Number of DAGs in the folder `dags` and the example.
DAGS = 11


@pytest.fixture(scope="session")
def vi() -> Iterator[Emulator]:
    with Emulator(flows=5) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def airflow(vi: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    home, dags = tmp_path_factory.mktemp("airflow"), tmp_path_factory.mktemp("dags")
    for path in (Path(__file__).parent / "dags").glob("*.py"):
        (dags / path.name).write_text(path.read_text())
    # The example as users have it, except that it polls every second.
    example = (EXAMPLES / "train_when_flow_changes.py").read_text()
    assert "poke_interval=60" in example
    (dags / "example.py").write_text(example.replace("poke_interval=60", "poke_interval=1"))
    variables = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "600",
        **vi.environment,
    }
    with Deployment(home, variables) as deployment:
        deployment.migrate()
        deployment.start()
        deployment.wait_until_healthy()
        eventually(lambda: len(deployment.api("GET", "/dags")["dags"]) == DAGS, "the DAGs were not parsed")
        yield deployment
