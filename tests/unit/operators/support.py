"""Shared by the tests of the operators: URLs, times, and how a task is run."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tests.documents import FLOW_ID, ORGANIZATION_ID, wire_spec
from tests.tasks import FLOWS, HOST, TaskInstance, plain

if TYPE_CHECKING:
    from requests_mock import Mocker

    from vi_airflow_provider.operators.base import ViBaseOperator

FLOW: Final = f"{FLOWS}/{FLOW_ID}"
#: Path of the organization.
ROOT: Final = f"/workspaces/{ORGANIZATION_ID}"
#: Any URL below the flows of the organization.
BELOW: Final = re.compile(f"^{re.escape(FLOWS)}")
SPEC: Final = wire_spec()

NOW: Final = datetime(2026, 7, 1, 12, tzinfo=UTC)
NOW_MS: Final = 1_782_907_200_000
DAY_MS: Final = 86_400_000


def run(operator: ViBaseOperator, ti: TaskInstance | None = None) -> Any:
    """Execute, and check that the result can be an XCom."""
    context: Any = {"ti": ti or TaskInstance()}
    return plain(operator.execute(context))


def sent(requests_mock: Mocker) -> list[str]:
    """The requests so far, as method and path."""
    return [f"{request.method} {request.url.partition(HOST)[2]}" for request in requests_mock.request_history]
