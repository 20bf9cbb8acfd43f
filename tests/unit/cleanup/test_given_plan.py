"""PruneFlowsOperator with the plan of an earlier dry run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.unit.cleanup.support import (
    Vi,
    archived,
    before_the_deletes,
    counts,
    listing,
    operator,
    outcomes,
    run,
)
from vi_airflow_provider.cleanup import report as report_module

# --- a plan that was made before -----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["report", "outcomes"])
def test_exactly_the_flows_of_a_given_plan_are_deleted(
    part: str, vi: Vi, for_real: dict[str, Any], folder: Path
) -> None:
    before, stale = vi.flows, vi.stale()
    made = run(operator())
    vi.emulator.clear_requests()
    report = run(operator(plan=made if part == "report" else made["outcomes"], **for_real))

    assert set(before) - set(vi.flows) == stale
    assert {flow_id: flow.to_wire() for flow_id, flow in archived(folder).items()} == {i: before[i] for i in stale}
    assert listing(vi.sent()) == []
    assert {outcome["reason"] for outcome in report["outcomes"]} == {"last_updated at least 90 days ago"}


def test_protection_that_matches_no_flow_at_all_is_unmatched_for_a_given_plan(vi: Vi, for_real: dict[str, Any]) -> None:
    made = run(operator())
    young = next(flow["spec"]["name"] for flow_id, flow in vi.flows.items() if flow_id not in vi.stale())
    strict = {"plan": made, "protect_unmatched": "fail", **for_real}
    with pytest.raises(AirflowFailException, match=r"1 rules match no flow \(protect_names: prdo\*\)"):
        run(operator(**strict, protect_names=["prdo*"]))
    assert vi.sent("DELETE") == []
    # A rule whose flows are not in the plan, because it spared them before, has a flow to match.
    report = run(operator(**strict, protect_names=[young]))
    assert (report["unmatched"], report["deleted"]) == ([], made["selected"])


def test_some_outcomes_of_a_report_are_a_plan(vi: Vi, for_real: dict[str, Any]) -> None:
    some = run(operator())["outcomes"][2:5]
    before = set(vi.flows)
    assert counts(run(operator(plan=some, **for_real))) == {"deleted": 3}
    assert before - set(vi.flows) == {outcome["flow_id"] for outcome in some}


def test_changed_and_absent_flows_of_a_given_plan_are_not_archived(
    vi: Vi, for_real: dict[str, Any], folder: Path, task_log: pytest.LogCaptureFixture
) -> None:
    made = run(operator())
    changed, gone, *rest = sorted(vi.stale())
    vi.touch(changed)
    vi.store.delete_flow(gone)
    report = run(operator(plan=made, **for_real))
    assert f"Given plan: {len(rest)} selected, 0 spared, 2 changed or absent since it was made." in task_log.text
    assert counts(report) == {"deleted": len(rest), "changed": 1, "already_absent": 1}
    assert report["selected"] == made["selected"]
    assert changed in vi.flows
    assert set(archived(folder)) == set(rest)


def test_flow_that_changes_during_a_given_plan_is_spared(
    vi: Vi, for_real: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, touched = run(operator()), min(vi.stale())
    before_the_deletes(monkeypatch, lambda: vi.touch(touched))
    assert outcomes(run(operator(plan=made, **for_real)))[touched] == "changed"
    assert touched in vi.flows


def test_plan_of_another_organization_is_refused(vi: Vi, for_real: dict[str, Any]) -> None:
    made = run(operator())
    made["organization_id"] = "another-organization"
    vi.emulator.clear_requests()
    with pytest.raises(AirflowFailException, match="about the organization 'another-organization', and the connection"):
        run(operator(plan=made, **for_real))
    assert vi.sent() == []


def test_protections_apply_to_a_given_plan(vi: Vi, for_real: dict[str, Any], folder: Path) -> None:
    """They may have been added since it was made."""
    made, kept = run(operator()), min(vi.stale())
    report = run(operator(plan=made, **for_real, protect_ids=[kept]))
    assert report["spared_flows"][0]["flow_id"] == kept
    assert kept in vi.flows
    assert kept not in archived(folder)
    assert report["deleted"] == made["selected"] - 1


def test_given_plan_can_be_tried_in_a_dry_run(vi: Vi) -> None:
    made = run(operator())
    again = run(operator(plan=made))
    assert again["dry_run"] is True
    assert outcomes(again) == outcomes(made)
    assert vi.sent("DELETE") == []


@pytest.mark.parametrize(
    ("guard", "words"),
    [({"max_delete": 2}, r"more than max_delete \(2\)"), ({"max_delete_fraction": 0.1}, r"of 40 .* \(0.1\)")],
    ids=["max_delete", "fraction"],
)
def test_guards_apply_to_a_given_report(guard: dict[str, Any], words: str, vi: Vi, for_real: dict[str, Any]) -> None:
    """A dry run only reports that a guard would refuse it; passing its plan on must not bypass the guard."""
    made = run(operator())
    with pytest.raises(AirflowFailException, match=words):
        run(operator(plan=made, **for_real, **guard))
    assert vi.sent("DELETE") == []


def test_plan_with_omitted_outcomes_is_refused(vi: Vi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "MAX_LISTED", 5)
    made = run(operator())
    vi.emulator.clear_requests()
    with pytest.raises(AirflowFailException, match=f"does not list {len(vi.stale()) - 5} of its flows"):
        run(operator(plan=made, dry_run=False, allow_unarchived=True))
    assert vi.sent() == []
