"""Previews of cleanups: what the planner of the operators decides about the listings of the page."""

from __future__ import annotations

import inspect
from typing import Any
from urllib.parse import quote

import pytest

from tests.unit.ui.conftest import As, plan_path
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.flows import PruneFlowsOperator
from vi_airflow_provider.operators.runs import PruneRunsOperator
from vi_airflow_provider.ui import app, planning, reading

FLOWS = "/vi/api/connections/vi_default/flows"
BEST = {"older_than": "P1D", "keep_best": 1, "best_metric": ["validationLoss", "min"], "max_delete_fraction": 1}


def test_plan_is_that_of_a_dry_run(called_as: As, vi: Emulator) -> None:
    plan = called_as("admin").get(plan_path(older_than="P1D", keep_last=2, protect_names=["Weld*"])).json()
    assert plan["dry_run"]
    assert plan["selected"] == len(plan["outcomes"]) > 0
    assert plan["selected"] + plan["spared"] + plan["young"] + plan["out_of_scope"] == plan["total"] == 40
    assert any("kept by keep_last=2" in kept["reason"] for kept in plan["kept_by_reason"])
    assert {outcome["outcome"] for outcome in plan["outcomes"]} == {"would_delete"}


def test_plan_reports_what_a_guard_would_refuse(called_as: As, vi: Emulator) -> None:
    client = called_as("admin")
    assert "max_delete (1)" in client.get(plan_path(older_than="P1D", max_delete=1)).json()["guard"]
    rules = {"older_than": "P1D", "protect_ids": ["no-such"], "protect_unmatched": "fail", "max_delete_fraction": 1}
    assert "protect_ids: no-such" in client.get(plan_path(**rules)).json()["guard"]


def test_rendered_fields_of_a_task_are_a_policy(called_as: As, vi: Emulator) -> None:
    rendered = {"older_than": "90 days, 0:00:00", "keep_last": "2", "max_delete": "50", "protect_ids": None}
    assert called_as("admin").get(plan_path(**rendered)).status_code == 200


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ({}, "older_than"),
        ({"older_than": "90"}, "older_than"),
        ({"older_than": "P90D", "max_delete": "many"}, "max_delete"),
        ({"older_than": "P90D", "archive_to": "s3://bucket"}, "archive_to"),
        ({"older_than": "P90D", "keep_last": []}, "keep_last"),
    ],
)
def test_unusable_policy_is_refused_by_name(rules: Any, named: str, called_as: As, vi: Emulator) -> None:
    response = called_as("admin").get(plan_path(**rules))
    assert response.status_code == 422
    assert named in response.json()["detail"]
    assert vi.requests == []


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 20_000])
def test_policy_that_is_no_object_is_refused(text: str, called_as: As, vi: Emulator) -> None:
    assert called_as("admin").get(f"/vi/api/connections/vi_default/plan?policy={text}").status_code == 422


def test_no_plan_is_made_of_an_incomplete_listing(called_as: As, vi: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_FLOWS", 10)
    client = called_as("admin")
    assert client.get(FLOWS).json()["complete"] is False
    response = client.get(plan_path(older_than="P90D"))
    assert response.status_code == 422
    assert "PruneFlowsOperator" in response.json()["detail"]


def test_policy_that_is_too_long_is_not_repeated(called_as: As, vi: Emulator) -> None:
    policy = quote("x" * (app.MAX_POLICY + 1))
    response = called_as("admin").get(f"/vi/api/connections/vi_default/plan?policy={policy}")
    assert response.status_code == 422
    assert "20,001 characters" in response.json()["detail"]
    assert len(response.text) < 200


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("subjects", "operator"), [("flows", PruneFlowsOperator), ("runs", PruneRunsOperator)])
def test_policy_has_the_arguments_and_defaults_of_the_operator(subjects: str, operator: Any) -> None:
    defaults: dict[str, Any] = {}
    for kind in operator.__mro__:
        for name, parameter in inspect.signature(kind.__init__).parameters.items():
            defaults.setdefault(name, parameter.default)
    assert {name: defaults[name] for name in planning.LIMITS} == planning.LIMITS
    written = {name: defaults[name] for name in operator.rules} | {"older_than": "P30D"}
    assert planning.request_of(written, subjects).source == planning.request_of({"older_than": "P30D"}, subjects).source
    with pytest.raises(ViValidationError, match="'unknown': not an argument"):
        planning.request_of({**written, "unknown": 1}, subjects)


def test_plan_of_runs_is_that_of_a_dry_run(called_as: As, vi: Emulator) -> None:
    plan = called_as("admin").get(plan_path(older_than="P30D", states=["failed", "succeeded"], of="runs")).json()
    assert (plan["noun"], plan["dry_run"]) == ("run", True)
    assert plan["selected"] == len(plan["outcomes"]) > 0
    assert all(outcome["run_id"] for outcome in plan["outcomes"])
    total = plan["selected"] + plan["spared"] + plan["young"] + plan["out_of_scope"]
    assert total == plan["total"] == len(vi.store.runs.ids())


def test_runs_that_have_not_ended_are_never_selected(called_as: As, vi: Emulator) -> None:
    client = called_as("admin")
    runs = client.get("/vi/api/connections/vi_default/runs").json()["runs"]
    active = {run["run_id"] for run in runs if run["state"] in ("queued", "running")}
    plan = client.get(plan_path(older_than="PT0S", of="runs")).json()
    assert active
    assert plan["outcomes"]
    assert not active & {outcome["run_id"] for outcome in plan["outcomes"]}


def test_metrics_are_read_only_where_they_decide(called_as: As, vi: Emulator) -> None:
    client = called_as("admin")
    client.get(plan_path(older_than="P1D", of="runs"))
    assert not [request for request in vi.requests if "/outputs" in request.path]
    plan = client.get(plan_path(**BEST, of="runs")).json()
    assert [request for request in vi.requests if "/outputs" in request.path]
    assert any("kept by keep_best=1 per flow, by validationLoss" in kept["reason"] for kept in plan["kept_by_reason"])


def test_preview_does_not_read_the_metrics_of_too_many_runs(
    called_as: As, vi: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_MEASURED", 1)
    response = called_as("admin").get(plan_path(**BEST, of="runs"))
    assert response.status_code == 422
    assert "PruneRunsOperator" in response.json()["detail"]


def test_no_plan_is_made_of_some_of_the_runs(called_as: As, vi: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_PLANNED_RUNS", 3)
    response = called_as("admin").get(plan_path(older_than="P1D", of="runs"))
    assert response.status_code == 422
    assert "there are 3 runs or more; run PruneRunsOperator" in response.json()["detail"]


@pytest.mark.parametrize(
    ("rules", "named"),
    [({"states": ["running"]}, "states"), ({"keep_best": 1}, "best_metric"), ({"best_metric": "loss"}, "best_metric")],
)
def test_unusable_rule_for_runs_is_refused_by_name(rules: Any, named: str, called_as: As, vi: Emulator) -> None:
    response = called_as("admin").get(plan_path(**{"older_than": "P1D", **rules}, of="runs"))
    assert response.status_code == 422
    assert named in response.json()["detail"]


def test_rules_for_runs_are_refused_for_flows(called_as: As, vi: Emulator) -> None:
    response = called_as("admin").get(plan_path(older_than="P1D", states=["failed"]))
    assert response.status_code == 422
    assert "'states'" in response.json()["detail"]
