"""One Airflow database for the session; the DAGs are loaded for each test, because a run changes their parameters."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from demo import local_airflow


@pytest.fixture(scope="session")
def database() -> None:
    local_airflow.create_database()


@pytest.fixture(scope="session")
def one_api_server() -> None:
    """Share one API server among all tasks of `dag.test()`: Airflow 3.0 to 3.2 takes seconds to build one for each."""
    try:
        from airflow.sdk.execution_time import supervisor
    except ImportError:  # Airflow 2
        return
    supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)


@pytest.fixture
def examples(database: None, one_api_server: None) -> dict[str, Any]:
    """The example DAGs by their ids."""
    return local_airflow.load_dags()
