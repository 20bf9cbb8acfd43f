"""The emulator conforms to its OpenAPI document, for requests that schemathesis generates from it."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.http.openapi import openapi

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
schema = schemathesis.openapi.from_dict(openapi())


@pytest.fixture(scope="module")
def vi() -> Any:
    with Emulator(flows=12) as emulator:
        yield emulator


@schema.parametrize()
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_responses_conform_to_the_document(case: Any, vi: Emulator) -> None:
    case.path_parameters["organization"] = vi.organization_id
    headers = {"Authorization": f"Bearer {vi.secret_key}", "Organization-Id": vi.organization_id}
    case.call_and_validate(base_url=vi.url, headers=headers, checks=CHECKS)
