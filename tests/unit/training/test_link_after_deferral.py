"""The link to the run of a task that was deferred: it leads to the run again, however the task ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.tries import Try, complete, deferred, event_of
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.links.runs import ViRunLink

pytestmark = pytest.mark.vi_emulator(flows=1, run_seconds=3600, runs=0)


@pytest.fixture(autouse=True)
def _urls(vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = vi_emulator.connection
    connection["extra"] |= {
        "ui_url_template": "https://vi.example/{organization_id}/{flow_id}/{run_id}",
        "max_retries": 0,
    }
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps(connection))


@pytest.mark.parametrize("ending", ["success", "unreadable run", "unusable argument"])
@pytest.mark.parametrize("given", ["flow_id", "flow"])
def test_link_leads_to_the_run_after_the_task_has_resumed(
    vi_emulator: Emulator, flow_id: str, ending: str, given: str
) -> None:
    ti = Try()
    flow = ViHook().get_flow(flow_id).model_dump(mode="json")
    arguments: dict[str, Any] = {} if given == "flow_id" else {"flow": flow}
    of_flow: Any = flow_id if given == "flow_id" else None
    trigger = deferred(of_flow, ti, **arguments)
    link = ti.pushed[ViRunLink().xcom_key]
    assert flow_id in link
    assert trigger.run_id in link
    vi_emulator.advance(7200)
    event = event_of(trigger)
    if ending == "success":
        assert complete(of_flow, event, ti, **arguments)["url"] == link
    else:
        if ending == "unreadable run":
            vi_emulator.faults.add(method="GET", path="/runs/", status=503, times=None)
        else:
            arguments["max_runs"] = 0
        with pytest.raises(Exception, match="max_runs" if "max_runs" in arguments else "503"):
            complete(of_flow, event, ti, **arguments)
    assert ti.pushed[ViRunLink().xcom_key] == link
