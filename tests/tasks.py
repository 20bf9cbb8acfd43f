"""Shared by the tests of operators and sensors: a connection, URLs, and a task instance that keeps its XComs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from tests.documents import ORGANIZATION_ID, SECRET_KEY
from tests.versions import AIRFLOW

HOST: Final = "https://vi.example"
FLOWS: Final = f"{HOST}/workspaces/{ORGANIZATION_ID}/flows"
UI: Final = "https://ui.example/{organization_id}/{flow_id}"

#: The function by which Airflow finds its secrets backends, to be replaced in a test.
SECRETS_BACKENDS: Final = (
    "airflow.sdk.execution_time.supervisor.ensure_secrets_backend_loaded"
    if AIRFLOW >= (3, 1)
    else "airflow.models.connection.ensure_secrets_loaded"
)


class UnavailableBackend:
    """A secrets backend that cannot be reached."""

    def get_connection(self, conn_id: str) -> None:
        """Fail, as a look-up over a broken network does."""
        raise ConnectionError(f"{conn_id}: the secrets backend is down")


class EmptyBackend:
    """A secrets backend without any connection."""

    def get_connection(self, conn_id: str) -> None:
        """Find nothing."""


def connection(**extra: Any) -> str:
    """Return the value of ``AIRFLOW_CONN_VI_DEFAULT``, without retries: tests do not wait."""
    defaults = {"max_retries": 0, "max_rate_limit_retries": 0, "ui_url_template": UI}
    return json.dumps(
        {
            "conn_type": "vi",
            "host": HOST,
            "login": ORGANIZATION_ID,
            "password": SECRET_KEY,
            "extra": {**defaults, **extra},
        }
    )


@dataclass
class TaskInstance:
    """The part of a task instance that the operators use."""

    dag_id: str = "dag"
    task_id: str = "task"
    run_id: str = "manual__2026-07-01"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    pushed: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def plain(value: Any) -> Any:
    """Return the value after checking that an XCom can carry it: JSON types only, text as keys."""
    if isinstance(value, dict):
        assert all(type(key) is str for key in value), value
        for inner in value.values():
            plain(inner)
    elif isinstance(value, list):
        for inner in value:
            plain(inner)
    else:
        assert value is None or type(value) in (str, int, float, bool), repr(value)
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    return value
