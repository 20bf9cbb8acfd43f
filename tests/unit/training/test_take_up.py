"""What a try does about the latest run of its task instance: a pure decision, row by row."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.documents import wire_run
from vi_airflow_provider.api.models import Run
from vi_airflow_provider.training.identity import TaskIdentity
from vi_airflow_provider.training.take_up import (
    KILLED_WITH_TASK,
    Adopt,
    Decision,
    Finished,
    Numbered,
    Refuse,
    Restart,
    Start,
    TakenOver,
    Terms,
    decide,
)

IDENTITY: Final = TaskIdentity("", "dag", "manual", "train", -1, "2026-07-01T00:00:00+00:00", 2, 2)
DIGEST: Final = "d" * 64

ACTIVE: Final = [{"condition": "Running", "status": "Reached", "lastTransitionTime": 5}]
SUCCEEDED: Final = [{"condition": "Succeeded", "status": "Reached", "lastTransitionTime": 9}]
KILLED: Final = [{"condition": "Cancelled", "status": "Reached", "lastTransitionTime": 9}]
FAILED: Final = [{"condition": "Failed", "status": "Reached", "lastTransitionTime": 9, "message": "out of memory"}]


def run(conditions: list[dict[str, Any]], *, killed: bool = False, **stamps: str) -> Run:
    own = IDENTITY.stamps() | {"vi_airflow.flow_digest": DIGEST, "vi_airflow.run_number": "1"}
    attributes = own | {f"vi_airflow.{name}": value for name, value in stamps.items()}
    return Run.model_validate(
        wire_run(
            runId="run",
            spec__killedAt=8 if killed else None,
            status__conditions=conditions,
            metadata__attributes={name: value for name, value in attributes.items() if value != "missing"},
        )
    )


def decided(latest: Run | None, number: int = 0, **terms: Any) -> Decision:
    given = {"identity": IDENTITY, "digest": DIGEST, **terms}
    return decide(None if latest is None else Numbered(number, latest), Terms(**given))


def test_first_try_starts_the_first_run() -> None:
    assert decided(None) == Start(0)


def test_retry_adopts_an_active_run() -> None:
    decision = decided(run(ACTIVE))
    assert isinstance(decision, Adopt)
    assert decision.warning is None


def test_adoption_warns_if_the_flow_has_changed() -> None:
    decision = decided(run(ACTIVE), digest="e" * 64)
    assert isinstance(decision, Adopt)
    assert "another spec" in (decision.warning or "")


def test_retry_returns_the_result_of_a_run_that_has_succeeded() -> None:
    assert isinstance(decided(run(SUCCEEDED)), Finished)


def test_result_of_another_spec_is_never_returned() -> None:
    assert decided(run(SUCCEEDED), digest="e" * 64) == Start(1)


def test_failed_run_is_followed_by_as_many_as_may_be_paid_for() -> None:
    assert isinstance(decided(run(FAILED)), Refuse)
    assert decided(run(FAILED), max_runs=2) == Start(1, 2)
    refusal = decided(run(FAILED, run_number="2"), number=1, max_runs=2)
    assert isinstance(refusal, Refuse)
    assert "out of memory" in refusal.reason
    assert "max_runs=2" in refusal.reason


@pytest.mark.parametrize("max_runs", [1, 9])
def test_run_that_a_person_killed_is_not_started_again(max_runs: int) -> None:
    refusal = decided(run(ACTIVE, killed=True), max_runs=max_runs)
    assert isinstance(refusal, Refuse)
    assert "by a person" in refusal.reason


@pytest.mark.parametrize(
    ("stamps", "described"),
    [
        ({"kill_reason": "max_queue_time"}, "was killed because it exceeded max_queue_time"),
        ({"kill_reason": "its lease has expired"}, "was killed: its lease has expired"),
        ({}, "was killed in Vi by a person"),
    ],
)
def test_end_of_a_killed_run_names_the_stamped_reason(stamps: dict[str, str], described: str) -> None:
    refusal = decided(run(KILLED, killed=True, **stamps))
    assert isinstance(refusal, Refuse)
    assert refusal.reason.startswith(f"run run {described}")


def test_run_that_was_killed_with_its_task_is_followed_by_another() -> None:
    assert decided(run(KILLED, killed=True, kill_reason=KILLED_WITH_TASK)) == Start(1)


def test_run_that_exceeded_a_limit_counts_as_one_that_failed() -> None:
    killed = run(KILLED, killed=True, kill_reason="max_duration")
    assert isinstance(decided(killed), Refuse)
    assert decided(killed, max_runs=2) == Start(1, 2)


@pytest.mark.parametrize(
    ("stamps", "start"),
    [
        ({"kill_reason": KILLED_WITH_TASK}, Start(1)),
        ({"kill_reason": "max_duration"}, Start(1, 2)),
        ({"kill_reason": KILLED_WITH_TASK, "generation": "0"}, Start(1)),
        ({"generation": "0"}, Start(1)),
    ],
)
@pytest.mark.parametrize("on_clear", ["restart", "adopt"])
def test_no_run_is_started_beside_one_that_a_kill_has_not_ended_yet(
    stamps: dict[str, str], start: Start, on_clear: str
) -> None:
    dying = run(ACTIVE, killed=True, **stamps)
    assert decided(dying, max_runs=2, on_clear=on_clear) == Restart(dying, start)


def test_later_try_is_later_even_if_max_tries_shrinks() -> None:
    identity = IDENTITY._replace(max_tries=1, try_number=4)
    assert isinstance(decided(run(ACTIVE, owner="5/3", generation="5"), identity=identity), Restart)


@pytest.mark.parametrize("conditions", [SUCCEEDED, FAILED])
def test_cleared_task_trains_again(conditions: list[dict[str, Any]]) -> None:
    assert decided(run(conditions, generation="0"), number=3) == Start(4)


def test_cleared_task_replaces_its_active_run_or_adopts_it() -> None:
    active = run(ACTIVE, generation="0")
    assert decided(active) == Restart(active, Start(1))
    assert isinstance(decided(active, on_clear="adopt"), Adopt)


@pytest.mark.parametrize("owner", ["2/3", "4/3", "1/3"])
@pytest.mark.parametrize("conditions", [ACTIVE, SUCCEEDED, FAILED])
def test_try_that_was_replaced_touches_nothing(owner: str, conditions: list[dict[str, Any]]) -> None:
    latest = run(conditions, owner=owner, generation=owner[0])
    assert decided(latest, on_clear="restart", max_runs=9) == TakenOver(latest)


@pytest.mark.parametrize("task", ["dag/manual/another", "missing"])
@pytest.mark.parametrize("conditions", [ACTIVE, SUCCEEDED, FAILED])
def test_run_of_another_task_is_left_alone(task: str, conditions: list[dict[str, Any]]) -> None:
    assert isinstance(decided(run(conditions, task=task), on_clear="adopt", max_runs=9), Refuse)


@pytest.mark.parametrize(("conditions", "generation"), [(ACTIVE, "2"), (ACTIVE, "0"), (SUCCEEDED, "2"), (FAILED, "2")])
def test_run_of_another_deployment_is_left_alone(conditions: list[dict[str, Any]], generation: str) -> None:
    decision = decided(run(conditions, generation=generation, dag_run_start="2025-01-01T00:00:00+00:00"))
    assert isinstance(decision, Refuse)
    assert "namespace" in decision.reason


def test_namespace_replaces_the_comparison_of_starts() -> None:
    identity = IDENTITY._replace(namespace="prod")
    assert isinstance(decided(run(ACTIVE, dag_run_start="2025-01-01T00:00:00+00:00"), identity=identity), Adopt)


@pytest.mark.parametrize("conditions", [SUCCEEDED, FAILED, KILLED])
@pytest.mark.parametrize("owner", ["2/1", "9/9"])
def test_result_of_a_deleted_dag_run_is_not_returned(conditions: list[dict[str, Any]], owner: str) -> None:
    identity = IDENTITY._replace(namespace="prod")
    old = run(conditions, dag_run_start="2025-01-01T00:00:00+00:00", owner=owner)
    assert decided(old, identity=identity) == Start(1)
    late = identity._replace(dag_run_start="2024-01-01T00:00:00+00:00")
    assert not isinstance(decided(old, identity=late), Start)  # a try of the DAG run that was deleted


# --- ids -----------------------------------------------------------------------------------------------------------


def test_ids_are_derived_from_the_task_instance_and_the_number_alone() -> None:
    later = IDENTITY._replace(try_number=9, max_tries=7, dag_run_start="")
    assert later.id_of(0) == IDENTITY.id_of(0)
    others = [IDENTITY._replace(**change) for change in ({"namespace": "x"}, {"map_index": 0}, {"task_id": "y"})]
    ids = {IDENTITY.id_of(0), IDENTITY.id_of(1), *(other.id_of(0) for other in others)}
    assert len(ids) == 5
    assert all(text[14] == "4" and text[19] in "89ab" for text in ids)  # the form that the vendor's SDK makes


def test_parts_of_an_identity_do_not_run_together() -> None:
    one, other = IDENTITY._replace(dag_id="a", run_id="b/c"), IDENTITY._replace(dag_id="a/b", run_id="c")
    assert one.id_of(0) != other.id_of(0)
