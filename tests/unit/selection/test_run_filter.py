"""Which runs are selected: the boundaries of every criterion, and the values that are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from tests.documents import ABSENT, wire_run
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Run
from vi_airflow_provider.selection.run_filter import RunFilter

NOW: Final = datetime(2026, 7, 1, 12, tzinfo=UTC)
NOW_MS: Final = 1_782_907_200_000
DAY_MS: Final = 86_400_000
FIRST: Final = 1_000_000_000_000


def selects(criteria: dict[str, Any], **changes: Any) -> bool:
    return RunFilter.build(**criteria).matches(Run.model_validate(wire_run(**changes)), NOW)


def ended(name: str) -> dict[str, Any]:
    """Changes that make a run end in a condition."""
    return {"status__conditions": [{"condition": name, "status": "Reached", "lastTransitionTime": NOW_MS}]}


def test_no_criterion_selects_every_run() -> None:
    assert selects({})
    assert selects({"attributes": {}}, metadata__attributes={})


@pytest.mark.parametrize(
    ("states", "selected"),
    [
        ("succeeded", True),
        ("failed", False),
        (["failed", "succeeded"], True),
        (("queued",), False),
        ([], False),
    ],
)
def test_a_run_is_in_one_of_the_states(states: Any, selected: bool) -> None:
    assert selects({"states": states}, **ended("Finished")) is selected


@pytest.mark.parametrize(("stamped", "selected"), [("flow-1", True), ("flow-2", False), (None, False)])
def test_a_flow_is_known_by_the_stamp_of_its_runs(stamped: str | None, selected: bool) -> None:
    attributes = {} if stamped is None else {"vi_airflow.flow_id": stamped}
    assert selects({"flow_id": "flow-1"}, metadata__attributes=attributes) is selected


@pytest.mark.parametrize(("project", "selected"), [("weld-inspection", True), ("weld", False), (ABSENT, False)])
def test_a_training_project_is_its_exact_id(project: Any, selected: bool) -> None:
    assert selects({"training_project": "weld-inspection"}, spec__trainingProject=project) is selected


@pytest.mark.parametrize(("value", "selected"), [("7", True), ("8", False)])
def test_a_run_must_have_the_attributes(value: str, selected: bool) -> None:
    assert selects({"attributes": {"seed": "7"}}, metadata__attributes={"seed": value, "other": ""}) is selected


@pytest.mark.parametrize(
    ("side", "offset", "selected"),
    [("after", -1, False), ("after", 0, True), ("before", -1, True), ("before", 0, False)],
)
def test_after_includes_its_millisecond_and_before_does_not(side: str, offset: int, selected: bool) -> None:
    assert selects({f"created_{side}": NOW}, metadata__timeCreated=NOW_MS + offset) is selected


@pytest.mark.parametrize(("offset", "selected"), [(-1, True), (0, True), (1, False)])
def test_older_than_counts_from_the_last_update(offset: int, selected: bool) -> None:
    updated = NOW_MS - 90 * DAY_MS + offset
    assert selects({"older_than": timedelta(days=90)}, metadata__lastUpdated=updated) is selected


@pytest.mark.parametrize(("updated", "selected"), [(0, False), (FIRST - 1, False), (FIRST, True)])
def test_a_run_without_a_time_is_not_old(updated: int, selected: bool) -> None:
    assert selects({"older_than": "P90D"}, metadata__lastUpdated=updated) is selected


@pytest.mark.parametrize(
    ("criteria", "named"),
    [({"states": "done"}, "states"), ({"flow_id": ""}, "flow_id"), ({"state": "failed"}, "state")],
)
def test_an_unusable_criterion_is_refused_by_name(criteria: dict[str, Any], named: str) -> None:
    with pytest.raises(ViValidationError, match=named):
        RunFilter.build(**criteria)
