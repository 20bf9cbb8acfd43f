"""A database for Airflow once, and the example DAGs anew for each test: a run leaves its parameters in them."""

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
    """Let all tasks of `dag.test()` share one API server: Airflow 3.0 to 3.2 builds one for each, in seconds."""
    try:
        from airflow.sdk.execution_time import supervisor
    except ImportError:  # Airflow 2
        return
    supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)


@pytest.fixture
def examples(database: None, one_api_server: None) -> dict[str, Any]:
    return local_airflow.load_dags()
