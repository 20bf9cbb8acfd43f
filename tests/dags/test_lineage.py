"""What OpenLineage's own listener emits when an export is run in a real Airflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from demo import local_airflow
from tests.conftest import LINEAGE
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.hooks.vi import ViHook


@pytest.fixture
def dag(database: None) -> Any:
    return local_airflow.load_dags(Path(__file__).parent / "dags")["lineage"]


def events(state: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in LINEAGE.read_text().splitlines()]
    return [line for line in lines if line["job"]["name"] == "lineage.export" and line["eventType"] == state]


def test_openlineage_gets_input_and_output_even_after_drift(dag: Any, vi_emulator: Emulator, tmp_path: Path) -> None:
    organization_id = vi_emulator.organization_id
    run = local_airflow.run(dag, {"folder": tmp_path.as_uri(), "name": "1"})
    (written,) = local_airflow.returned(run, "export")
    (complete,) = events("COMPLETE")
    (read,), (output,) = complete["inputs"], complete["outputs"]
    assert (read["namespace"], read["name"]) == (f"vi://{organization_id}", "flows")
    assert (output["namespace"], output["name"]) == ("file", written["uri"].removeprefix("file://"))
    assert output["facets"]["version"]["datasetVersion"] == written["sha256"]
    statistics = output["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"]) == (written["count"], verify(written["uri"]).size)

    ViHook().delete_flow(next(ViHook().list_flows(limit=1)).flow_id)
    local_airflow.run(dag, {"folder": tmp_path.as_uri(), "name": "2"})
    (failed,) = events("FAIL")
    assert failed["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == written["count"] - 1
