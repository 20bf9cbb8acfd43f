"""What the API answers: listings, kept for a while; plans of the real planner; and errors without secrets."""

from __future__ import annotations

import json
import logging

import pytest

from tests.unit.ui.conftest import As, plan_path
from vi_airflow_provider.cleanup import policy
from vi_airflow_provider.emulator import Emulator, Fault

FLOWS = "/vi/api/connections/vi_default/flows"
RUNS = "/vi/api/connections/vi_default/runs"


def test_flows_are_listed_with_their_links(called_as: As, vi: Emulator) -> None:
    body = called_as("admin").get(FLOWS).json()
    assert (body["organization_id"], body["complete"], len(body["flows"])) == (vi.organization_id, True, 40)
    flow = body["flows"][0]
    assert flow["url"].startswith("http")
    assert flow.keys() == {
        *("id", "name", "project", "blocks", "generation", "created", "updated", "attributes", "url"),
    }


def test_listing_is_kept_and_shared_with_the_plan(called_as: As, vi: Emulator) -> None:
    client = called_as("admin")
    first = client.get(FLOWS)
    requests = len(vi.requests)
    second = client.get(FLOWS)
    client.get(plan_path(older_than="P90D"))
    assert len(vi.requests) == requests
    assert second.content == first.content
    assert int(second.headers["age"]) >= 0
    client.get(f"{FLOWS}?refresh=true")
    assert len(vi.requests) > requests


def test_response_is_compressed_for_clients_that_accept_it(called_as: As, vi: Emulator) -> None:
    client = called_as("admin")
    compressed = client.get(FLOWS, headers={"accept-encoding": "gzip"})
    plain = client.get(FLOWS, headers={"accept-encoding": "identity, gzip;q=0"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert compressed.json() == plain.json()
    assert plain.headers["cache-control"] == "no-store"


def test_one_flow_is_read_with_its_spec(called_as: As, vi: Emulator) -> None:
    client = called_as("admin")
    listed = client.get(FLOWS).json()["flows"][0]
    flow = client.get(f"{FLOWS}/{listed['id']}").json()
    assert {name: flow[name] for name in listed} == listed
    assert len(flow["spec"]["blocks"]) == listed["blocks"]


def test_runs_are_listed_with_their_task_and_checkpoints(called_as: As, vi: Emulator) -> None:
    client = called_as("admin")
    runs = client.get(RUNS).json()["runs"]
    assert runs
    assert {"run_id", "state", "flow_name", "task", "deadline", "overdue", "queued_seconds"} <= runs[0].keys()
    ended = next(run for run in runs if run["state"] == "succeeded")
    outputs = client.get(f"{RUNS}/{ended['run_id']}/outputs").json()["outputs"]
    assert outputs
    assert all(output["metrics"] for output in outputs)


# --- errors ----------------------------------------------------------------------------------------------------------


def test_unknown_connection_is_not_found(called_as: As, vi: Emulator) -> None:
    response = called_as("admin").get("/vi/api/connections/nowhere/flows")
    assert response.status_code == 404
    assert "the API server must have access" in response.json()["detail"]


def test_unusable_connection_is_to_be_fixed(called_as: As, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"conn_type": "vi", "login": "acme", "password": "my-secret-that-is-no-key"}
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps(broken))
    response = called_as("admin").get(FLOWS)
    assert response.status_code == 409
    assert "my-secret" not in response.text


@pytest.mark.parametrize(("status", "text"), [(401, "secret key"), (403, "Training Access"), (500, "problem")])
def test_error_of_vi_is_passed_on(status: int, text: str, called_as: As, vi: Emulator) -> None:
    vi.faults.add(Fault(status=status))
    response = called_as("admin").get(FLOWS)
    assert response.status_code == 502
    assert text in response.json()["detail"]
    assert len(vi.requests) == 1, "a person is waiting, and can try again"


def test_failure_is_not_kept(called_as: As, vi: Emulator) -> None:
    vi.faults.add(Fault(status=500, times=1))
    client = called_as("admin")
    assert [client.get(FLOWS).status_code for _ in range(2)] == [502, 200]


def test_flow_that_does_not_exist_is_an_error_of_vi(called_as: As, vi: Emulator) -> None:
    assert called_as("admin").get(f"{FLOWS}/no-such-flow").status_code == 502


def test_other_errors_are_logged_without_their_message(
    called_as: As, vi: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(f"failed with {vi.secret_key}")

    monkeypatch.setattr(policy, "plan_retention", fail)
    monkeypatch.setattr("vi_airflow_provider.ui.planning.plan_retention", fail)
    with caplog.at_level(logging.DEBUG):
        response = called_as("admin").get(plan_path(older_than="P90D"))
    assert response.status_code == 500
    assert "RuntimeError" in response.json()["detail"]
    assert "in fail" in caplog.text
    assert vi.secret_key not in response.text + caplog.text


def test_key_is_in_no_response_and_no_log(called_as: As, vi: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    client = called_as("admin")
    vi.faults.add(Fault(status=401, body=vi.secret_key, times=1))
    paths = [FLOWS, FLOWS, RUNS, plan_path(older_than="P1D"), "/vi/api/connections"]
    with caplog.at_level(logging.DEBUG):
        texts = [client.get(path).text for path in paths]
    assert vi.secret_key not in "".join(texts) + caplog.text
    assert "dtvi_" not in "".join(texts)


def test_configured_connections_are_offered(called_as: As) -> None:
    assert called_as("admin").get("/vi/api/connections").json() == {
        "default": "vi_default",
        "connections": ["vi_vault"],
    }


def test_progress_is_null_without_a_listing_in_flight(called_as: As) -> None:
    assert called_as("admin").get("/vi/api/connections/vi_default/progress").json() == {"read": None}
