"""A database for Airflow once, and the example DAGs anew for each test: a run leaves its parameters in them."""

from __future__ import annotations

from typing import Any

import pytest

from demo import local_airflow


@pytest.fixture(scope="session")
def database() -> None:
    local_airflow.create_database()


@pytest.fixture
def examples(database: None) -> dict[str, Any]:
    return local_airflow.load_dags()
