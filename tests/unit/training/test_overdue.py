"""Runs whose lease has expired: which they are, and what ``KillOverdueRunsOperator`` does about them."""

from __future__ import annotations

import time
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import wire_run
from tests.tasks import TaskInstance, plain
from tests.tries import Try, begun, execute
from vi_airflow_provider.api.models import Run
from vi_airflow_provider.api.transport.loop_thread import StoppedError
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.runs import KillOverdueRunsOperator
from vi_airflow_provider.training.overdue import KILLED_AS_OVERDUE, LeasePolicy, OverdueError, lease_end

NOW: Final = 1_783_300_000_000
HOUR: Final = 3_600_000
DEADLINE: Final = "vi_airflow.deadline"
STARTED: Final = "vi_airflow.started_by_clock"
NAMESPACE: Final = "vi_airflow.namespace"
CREATED: Final = NOW - 2 * HOUR


def leased(attributes: dict[str, str], **changes: Any) -> Run:
    """An active run with these attributes, created two hours ago."""
    fields = {"metadata__attributes": attributes, "metadata__timeCreated": CREATED, **changes}
    return Run.model_validate(wire_run(**fields))


# --- the decision --------------------------------------------------------------------------------------------------

ENDED: Final = [{"condition": "Finished", "status": "Reached", "lastTransitionTime": NOW}]


@pytest.mark.parametrize(
    ("attributes", "end"),
    [
        ({}, None),
        ({DEADLINE: ""}, None),
        ({DEADLINE: "soon"}, None),
        ({DEADLINE: "-1"}, None),
        ({DEADLINE: "1783299999"}, None),  # in seconds
        ({DEADLINE: "9" * 30}, None),
        ({DEADLINE: str(NOW)}, NOW),
        ({DEADLINE: str(NOW), STARTED: str(NOW - HOUR)}, NOW),
        # The server's clock was an hour behind or ahead when the run was started: the later end counts.
        ({DEADLINE: str(CREATED + 2 * HOUR), STARTED: str(CREATED + HOUR)}, CREATED + 2 * HOUR),
        ({DEADLINE: str(CREATED), STARTED: str(CREATED - HOUR)}, CREATED + HOUR),
        ({DEADLINE: str(NOW), STARTED: str(NOW + 1)}, None),
    ],
    ids=str,
)
def test_lease_is_read_from_the_stamps(attributes: dict[str, str], end: int | None) -> None:
    assert lease_end(leased(attributes)) == end


@pytest.mark.parametrize(
    ("run", "leases", "by"),
    [
        (leased({DEADLINE: str(NOW - 5)}), LeasePolicy("", 0), 5),
        (leased({DEADLINE: str(NOW)}), LeasePolicy("", 0), 0),
        (leased({DEADLINE: str(NOW + 1)}), LeasePolicy("", 0), None),
        (leased({DEADLINE: str(NOW - 5)}), LeasePolicy("", 5), 5),
        (leased({DEADLINE: str(NOW - 5)}), LeasePolicy("", 6), None),
        (leased({DEADLINE: str(NOW - 5), NAMESPACE: "prod"}), LeasePolicy("", 0), None),
        (leased({DEADLINE: str(NOW - 5), NAMESPACE: "prod"}), LeasePolicy("prod", 0), 5),
        (leased({DEADLINE: str(NOW - 5)}), LeasePolicy("prod", 0), None),
        (leased({DEADLINE: str(NOW - 5)}, spec__killedAt=NOW - 1), LeasePolicy("", 0), None),
        (leased({DEADLINE: str(NOW - 5)}, status__conditions=ENDED), LeasePolicy("", 0), None),
    ],
    ids=str,
)
def test_only_active_runs_whose_lease_has_expired_are_overdue(run: Run, leases: LeasePolicy, by: int | None) -> None:
    assert leases.overdue_by(run, NOW) == by


@given(st.dictionaries(st.sampled_from([DEADLINE, STARTED, NAMESPACE, "x"]), st.text(max_size=20)), st.integers(0, 10))
def test_run_is_overdue_only_by_a_stamp_in_the_past(attributes: dict[str, str], grace: int) -> None:
    run = leased(attributes)
    if LeasePolicy("", grace).overdue_by(run, NOW) is not None:
        assert int(attributes[DEADLINE]) + grace <= NOW
        assert attributes.get(NAMESPACE, "") == ""


# --- the operator --------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.vi_emulator(flows=3, run_seconds=0.02, runs=0)


def reap(ti: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
    operator = KillOverdueRunsOperator(task_id="reap", **{"dry_run": False, "grace": 0, **arguments})
    result: dict[str, Any] = plain(operator.execute({"ti": ti or TaskInstance()}))  # type: ignore[typeddict-item]
    return result


@pytest.fixture
def orphan(vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a run that goes on, whose task has died, and whose lease has expired."""
    vi_emulator.plans.add(run_seconds=3600)
    run_id = begun(flow_id, monkeypatch, timeout=0.001)
    time.sleep(0.002)
    return run_id


def patches(emulator: Emulator) -> int:
    return sum(request.method == "PATCH" for request in emulator.requests)


def test_orphan_is_killed_and_stamped(vi_emulator: Emulator, orphan: str) -> None:
    report = reap()
    (outcome,) = report["outcomes"]
    assert (outcome["run_id"], outcome["outcome"]) == (orphan, "killed")
    assert outcome["task"].startswith("dag/manual__2026-07-01/")
    assert (report["active"], report["selected"], report["killed"], report["without_lease"]) == (1, 1, 1, 0)
    run = vi_emulator.store.get_run(orphan)
    assert run["metadata"]["attributes"]["vi_airflow.kill_reason"] == KILLED_AS_OVERDUE
    assert reap()["selected"] == 0
    assert patches(vi_emulator) == 1


def test_nothing_is_killed_by_default(vi_emulator: Emulator, orphan: str) -> None:
    report = reap(dry_run=True)
    assert [outcome["outcome"] for outcome in report["outcomes"]] == ["would_kill"]
    assert patches(vi_emulator) == 0
    assert KillOverdueRunsOperator(task_id="reap").dry_run_requested is True


def test_run_within_its_lease_or_without_one_is_left_alone(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    execute(flow_id, Try(task_id="unlimited"), wait_for_completion=False)
    execute(flow_id, Try(task_id="queue"), wait_for_completion=False, max_queue_time=0.001)
    execute(flow_id, Try(task_id="young"), wait_for_completion=False, timeout=3600)
    time.sleep(0.002)
    report = reap()
    assert (report["active"], report["selected"], report["without_lease"]) == (3, 0, 2)
    assert patches(vi_emulator) == 0


def test_grace_delays_the_kill(vi_emulator: Emulator, orphan: str) -> None:
    assert reap(grace="PT1H")["selected"] == 0
    assert KillOverdueRunsOperator(task_id="reap").grace == 900


def test_other_namespace_is_left_alone(vi_emulator: Emulator, orphan: str) -> None:
    assert reap(namespace="prod")["selected"] == 0
    vi_emulator.store.patch_run(orphan, {"metadata": {"attributes": {NAMESPACE: "prod"}}})
    assert reap()["selected"] == 0
    assert reap(namespace="prod")["killed"] == 1


def test_lease_that_is_extended_meanwhile_spares_the_run(vi_emulator: Emulator, orphan: str) -> None:
    later = {DEADLINE: str(int(time.time() * 1000) + HOUR)}
    vi_emulator.colleague.edit_run(orphan, attributes=later, method="GET", path=f"/runs/{orphan}$", times=1)
    assert reap()["changed"] == 1
    assert patches(vi_emulator) == 0


@pytest.mark.parametrize(("act", "outcome"), [("kill_run", "already_ended"), ("delete_run", "already_absent")])
def test_run_that_ends_meanwhile_is_reported(vi_emulator: Emulator, orphan: str, act: str, outcome: str) -> None:
    at_its_read: Any = {"method": "GET", "path": f"/runs/{orphan}$", "times": 1}
    vi_emulator.colleague.kill_run(orphan, **at_its_read)
    if act == "delete_run":
        vi_emulator.colleague.delete_run(orphan, **at_its_read)
    assert reap()[outcome] == 1
    assert patches(vi_emulator) == 0


def test_lost_response_to_a_kill_counts_as_killed(vi_emulator: Emulator, orphan: str) -> None:
    vi_emulator.faults.add(method="PATCH", status=503, when="after", times=1)
    assert reap()["killed"] == 1
    assert patches(vi_emulator) == 1


def test_more_overdue_runs_than_allowed_stop_the_task(vi_emulator: Emulator, orphan: str) -> None:
    with pytest.raises(AirflowFailException, match=r"1 runs are overdue, more than max_kill \(0\)\. None was killed"):
        reap(max_kill=0)
    assert patches(vi_emulator) == 0
    assert "more than max_kill (0)" in reap(max_kill=0, dry_run=True)["guard"]


def test_failed_kill_is_reported_and_the_others_are_made(
    vi_emulator: Emulator, orphan: str, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = begun(flow_id, monkeypatch, Try(task_id="other"), timeout=0.001)
    time.sleep(0.002)
    vi_emulator.faults.add(method="PATCH", path=f"/runs/{orphan}$", status=400)
    ti = TaskInstance()
    with pytest.raises(OverdueError, match=f"1 overdue runs could not be killed: {orphan}: ViValidationError"):
        reap(ti)
    results = {outcome["run_id"]: outcome["outcome"] for outcome in ti.pushed["report"]["outcomes"]}
    assert results == {orphan: "failed", other: "killed"}


@pytest.mark.parametrize(
    "bad",
    [{"grace": None}, {"grace": -1}, {"grace": "soon"}, {"namespace": ""}, {"max_kill": -1}, {"dry_run": "maybe"}],
)
def test_unusable_value_is_refused_before_a_request(vi_emulator: Emulator, bad: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match=next(iter(bad))):
        reap(**bad)
    assert vi_emulator.requests == []


def test_killed_task_kills_nothing_further(vi_emulator: Emulator, orphan: str) -> None:
    operator = KillOverdueRunsOperator(task_id="reap", dry_run=False, grace=0)
    operator.on_kill()
    with pytest.raises(StoppedError):
        operator.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]
    assert patches(vi_emulator) == 0


def test_task_of_a_reaped_run_does_not_take_it_for_a_person(vi_emulator: Emulator, flow_id: str, orphan: str) -> None:
    reap()
    vi_emulator.plans.clear()
    assert execute(flow_id, Try(try_number=2), max_runs=2)["run_number"] == 2
