"""Which runs a policy selects and why: invariants of a plan, and the reasons of its decisions."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import wire_run
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Run, RunState
from vi_airflow_provider.cleanup.outcome import may_be_deleted
from vi_airflow_provider.cleanup.policy import UNKNOWN_AGE, YOUNG, Measured, Plan, plan_retention
from vi_airflow_provider.cleanup.run_policy import UNREADABLE, RunRetentionPolicy
from vi_airflow_provider.cleanup.subject import ACTIVE, KILLED_ONLY, RESTARTED, flow_of, obstacle

NOW: Final = datetime(2026, 10, 1, tzinfo=UTC)
NOW_MS: Final = int(NOW.timestamp() * 1000)
DAY_MS: Final = 86_400_000
UNKNOWN: Final = Measured(None, readable=False)


def condition(name: str, at: int, status: str = "Reached") -> dict[str, Any]:
    return {"condition": name, "status": status, "lastTransitionTime": at}


#: The conditions of a run by what has become of it, with the time of its last one.
LIVES: Final[Mapping[str, Any]] = {
    "queued": lambda at: [condition("Queued", at), condition("Finished", at, "Waiting")],
    "running": lambda at: [condition("Running", at)],
    "odd": lambda at: [condition("Preparing", at, "InProgress")],
    "restarted": lambda at: [condition("Started", at - 1, "FailedReach"), condition("Running", at)],
    "succeeded": lambda at: [condition("Finished", at), condition("Started", at - 1)],
    "failed": lambda at: [condition("Started", at - 1), condition("Finished", at, "FailedReach")],
    "killed": lambda at: [condition("Cancelled", at)],
}
ENDED: Final = ("succeeded", "failed", "killed")


def run(run_id: str = "a", days: float = 100, life: str = "succeeded", flow: str = "f", **changes: Any) -> Run:
    """A run last updated this number of days ago, and created a day earlier."""
    updated = NOW_MS - round(days * DAY_MS)
    fields: dict[str, Any] = {
        "runId": run_id,
        "spec__flow__name": f"name of {flow}",
        "status__conditions": LIVES[life](updated),
        "metadata__lastUpdated": updated,
        "metadata__timeCreated": updated - DAY_MS,
        "metadata__attributes": {"vi_airflow.flow_id": flow},
    }
    return Run.model_validate(wire_run(**{**fields, **changes}))


class Metrics:
    """The metrics of runs, and which of them were read."""

    def __init__(self, **values: Any) -> None:
        self.values = values
        self.read: list[str] = []

    def __call__(self, ids: Collection[str]) -> Mapping[str, Measured]:
        self.read += ids
        known = {run_id: self.values.get(run_id) for run_id in ids}
        return {run_id: v if isinstance(v, Measured) else Measured(v) for run_id, v in known.items()}


def plan(runs: list[Run], metrics: Metrics | None = None, **rules: Any) -> Plan:
    return plan_retention(runs, RunRetentionPolicy.build(**rules), NOW, metrics or Metrics())


def selected(runs: list[Run], metrics: Metrics | None = None, **rules: Any) -> set[str]:
    return {decision.document_id for decision in plan(runs, metrics, **rules).selected}


# --- promises ------------------------------------------------------------------------------------------------------

IDS: Final = [f"run-{number}" for number in range(12)]
DAYS: Final = st.integers(0, 6)
VALUES: Final = st.dictionaries(
    st.sampled_from(IDS), st.one_of(st.none(), st.integers(0, 3).map(float), st.just(UNKNOWN))
).map(lambda values: Metrics(**values))


@st.composite
def collections(draw: st.DrawFn) -> list[Run]:
    ids = draw(st.lists(st.sampled_from(IDS), unique=True))
    return [
        run(
            run_id,
            draw(DAYS),
            draw(st.sampled_from([*LIVES, "succeeded", "failed"])),
            draw(st.sampled_from(("f", "g"))),
            spec__killedAt=draw(st.sampled_from((None, None, None, 1))),
            metadata__timeCreated=NOW_MS - draw(st.integers(0, 12)) * DAY_MS,
        )
        for run_id in ids
    ]


POLICIES: Final = st.fixed_dictionaries(
    {"older_than": DAYS.map(lambda days: timedelta(days=days))},
    optional={
        "states": st.lists(st.sampled_from(ENDED), min_size=1),
        "keep_last": st.integers(0, 3),
        "keep_succeeded": st.integers(0, 3),
        "protect_ids": st.lists(st.sampled_from(IDS)),
    },
)
BEST: Final = st.fixed_dictionaries({"keep_best": st.integers(0, 3), "best_metric": st.just(("f1", "max"))})


@given(collections(), POLICIES, BEST, VALUES)
def test_run_that_has_not_ended_is_never_selected(
    runs: list[Run], rules: dict[str, Any], best: dict[str, Any], metrics: Metrics
) -> None:
    chosen = selected(runs, metrics, **rules, **best)
    for candidate in runs:
        if candidate.run_id in chosen:
            assert candidate.has_stopped
            assert obstacle(candidate) is None
            assert candidate.state in rules.get("states", ENDED)
            assert candidate.run_id not in rules.get("protect_ids", ())


@given(collections(), POLICIES, VALUES, st.integers(1, 3))
def test_best_runs_of_each_flow_are_kept(runs: list[Run], rules: dict[str, Any], metrics: Metrics, keep: int) -> None:
    rules = {**rules, "keep_best": keep, "best_metric": ("f1", "max")}
    chosen = selected(runs, metrics, **rules)
    flows = defaultdict(list)
    for candidate in runs:
        if in_scope(candidate, rules):
            flows[flow_of(candidate)].append(candidate.run_id)
    for ids in flows.values():
        values = {run_id: metrics.values.get(run_id) for run_id in ids}
        deleted = [run_id for run_id in ids if run_id in chosen]
        for run_id in deleted:
            value = values[run_id]
            assert not isinstance(value, Measured)
            if value is not None:
                kept = [v for other, v in values.items() if other not in chosen and isinstance(v, float) and v >= value]
                assert len(kept) >= keep


def in_scope(candidate: Run, rules: dict[str, Any]) -> bool:
    """Whether a run takes a place: it has ended in one of the states, and its age is known."""
    known = candidate.metadata.time_created <= candidate.metadata.last_updated
    return known and obstacle(candidate) is None and candidate.state in rules.get("states", ENDED)


@given(collections(), POLICIES, st.integers(1, 3))
def test_last_succeeded_runs_of_each_flow_are_kept(runs: list[Run], rules: dict[str, Any], keep: int) -> None:
    rules = {**rules, "keep_succeeded": keep}
    chosen = selected(runs, **rules)
    flows = defaultdict(list)
    for candidate in runs:
        if in_scope(candidate, rules) and candidate.state is RunState.SUCCEEDED:
            flows[flow_of(candidate)].append((candidate.metadata.last_updated, candidate.run_id))
    for succeeded in flows.values():
        assert not {run_id for _, run_id in sorted(succeeded)[-keep:]} & chosen


@given(collections(), POLICIES, BEST, VALUES, st.randoms(use_true_random=False))
def test_plan_is_independent_of_the_order_of_the_listing(
    runs: list[Run], rules: dict[str, Any], best: dict[str, Any], metrics: Metrics, rng: random.Random
) -> None:
    shuffled = rng.sample(runs, len(runs))
    assert plan(shuffled, metrics, **rules, **best) == plan(runs, metrics, **rules, **best)


@given(collections(), POLICIES, BEST, VALUES)
def test_keeping_the_best_never_selects_more(
    runs: list[Run], rules: dict[str, Any], best: dict[str, Any], metrics: Metrics
) -> None:
    assert selected(runs, metrics, **rules, **best) <= selected(runs, metrics, **rules)


# --- reasons -------------------------------------------------------------------------------------------------------

OLD: Final[dict[str, Any]] = {"older_than": "P90D"}
F1: Final = ("f1", "max")


@pytest.mark.parametrize(
    ("rules", "candidate", "reason"),
    [
        (OLD, run(), None),
        (OLD, run(days=89), YOUNG),
        (OLD, run(life="running"), ACTIVE),
        (OLD, run(life="queued"), ACTIVE),
        (OLD, run(life="odd"), ACTIVE),
        (OLD, run(life="restarted"), RESTARTED),
        (OLD, run(life="running", spec__killedAt=NOW_MS), KILLED_ONLY),
        (OLD, run(life="killed", spec__killedAt=NOW_MS), None),
        (OLD, run(life="failed", spec__killedAt=NOW_MS), None),
        (OLD, run(metadata__lastUpdated=0), UNKNOWN_AGE),
        ({**OLD, "protect_ids": ["a"]}, run(), "protected by id"),
        ({**OLD, "protect_names": ["name of f"]}, run(), "protected by name (name of f)"),
        ({**OLD, "keep_last": 1}, run(), "kept by keep_last=1 per flow"),
        ({**OLD, "keep_succeeded": 1}, run(), "kept by keep_succeeded=1 per flow"),
        ({**OLD, "keep_succeeded": 1}, run(life="failed"), None),
        ({**OLD, "keep_best": 1, "best_metric": F1}, run(), "kept by keep_best=1 per flow, by f1"),
    ],
)
def test_each_decision_has_its_reason(rules: dict[str, Any], candidate: Run, reason: str | None) -> None:
    (decision,) = plan([candidate], Metrics(a=0.5), **rules).decisions
    assert decision.selected is (reason is None)
    assert decision.reason == (reason or "last_updated at least 90 days ago")


@pytest.mark.parametrize("state", ENDED)
def test_only_runs_in_the_given_states_are_in_scope(state: str) -> None:
    runs = [run(life, life=life) for life in ENDED]
    made = plan(runs, **OLD, states=state)
    assert [decision.document_id for decision in made.decisions] == [state]
    assert made.total == len(ENDED)


def test_runs_without_a_stamp_belong_together_by_the_name_of_their_flow() -> None:
    unstamped: dict[str, Any] = {"metadata__attributes": {}}
    runs = [run("a1", 3), run("a2", 2), run("b1", 3, **unstamped), run("b2", 2, **unstamped)]
    assert selected(runs, keep_last=1) == {"a1", "b1"}


def test_active_run_takes_no_place() -> None:
    runs = [run("old", 5), run("new", 4), run("active", 1, "running")]
    assert selected(runs, keep_last=1) == {"old"}


@pytest.mark.parametrize(("goal", "worse"), [("max", "low"), ("min", "high")])
def test_goal_of_the_metric_decides_which_run_is_better(goal: str, worse: str) -> None:
    runs = [run("low"), run("high")]
    assert selected(runs, Metrics(low=0.1, high=0.9), **OLD, keep_best=1, best_metric=("loss", goal)) == {worse}


def test_of_equal_runs_the_later_one_is_kept() -> None:
    runs = [run("earlier", 101), run("later", 100)]
    assert selected(runs, Metrics(earlier=0.5, later=0.5), **OLD, keep_best=1, best_metric=F1) == {"earlier"}


def test_run_without_the_metric_is_not_among_the_best() -> None:
    runs = [run("with"), run("without")]
    metrics = Metrics(**{"with": 0.1})
    assert selected(runs, metrics, **OLD, keep_best=2, best_metric=F1) == {"without"}


def test_unreadable_metric_spares_the_runs_of_its_flow() -> None:
    runs = [run("a"), run("unreadable"), run("other", flow="g")]
    made = plan(runs, Metrics(a=0.5, unreadable=UNKNOWN), **OLD, keep_best=1, best_metric=F1)
    assert {d.document_id for d in made.selected} == {"other"}
    assert {d.reason for d in made.spared} == {UNREADABLE}


def test_run_that_goes_on_is_not_deleted_although_its_version_is_the_same() -> None:
    """A server that does not change the etag when it restarts a run must not cause its delete."""
    ended = run()
    (decision,) = plan([ended], **OLD).selected
    version: dict[str, Any] = {"etag": ended.etag, "metadata__lastUpdated": ended.metadata.last_updated}
    assert may_be_deleted(decision, run(**version))
    for life in ("running", "queued", "restarted"):
        assert not may_be_deleted(decision, run(life=life, **version))


# --- which metrics are read ----------------------------------------------------------------------------------------


def test_metrics_are_read_only_where_they_decide() -> None:
    quiet = [run(f"quiet-{number}", 1, flow="young runs only") for number in range(3)]
    few = [run("few-old"), run("few-young", 1)]
    many = [run(f"many-{number}", 100 - 50 * number, flow="many") for number in range(3)]
    metrics = Metrics()
    plan([*quiet, *few, *many], metrics, **OLD, keep_best=2, best_metric=F1)
    assert sorted(metrics.read) == ["few-old", "many-0", "many-1", "many-2"]


@pytest.mark.parametrize("rules", [{}, {"keep_best": 0, "best_metric": F1}], ids=str)
def test_no_metric_is_read_without_keep_best(rules: dict[str, Any]) -> None:
    metrics = Metrics()
    assert selected([run()], metrics, **OLD, **rules) == {"a"}
    assert metrics.read == []


def test_metric_that_no_run_has_is_reported() -> None:
    runs = [run("a"), run("b")]
    assert plan(runs, **OLD, keep_best=1, best_metric=("f2", "max")).unmatched == ["best_metric: f2"]
    assert plan(runs, Metrics(a=1.0), **OLD, keep_best=1, best_metric=F1).unmatched == []
    assert plan(runs, Metrics(a=UNKNOWN), **OLD, keep_best=1, best_metric=F1).unmatched == []


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, "give older_than, keep_last, keep_succeeded, keep_best or some of them: without them every run would be"),
        ({"keep_succeeded": 0}, "give older_than"),
        ({**OLD, "keep_best": 1}, "keep_best, best_metric: give both"),
        ({**OLD, "best_metric": F1}, "keep_best, best_metric: give both"),
        ({**OLD, "keep_best": 1, "best_metric": "f1"}, "best_metric"),
        ({**OLD, "keep_best": -1, "best_metric": F1}, "keep_best"),
        ({**OLD, "states": ["running"]}, "states: some of 'succeeded', 'failed', 'killed' expected"),
        ({**OLD, "states": []}, "states"),
        ({**OLD, "states": "won"}, "states"),
        ({**OLD, "states": 1}, "states"),
        ({**OLD, "older_than": 90}, "older_than"),
    ],
    ids=str,
)
def test_policy_that_is_unusable_or_limits_nothing_is_refused(rules: dict[str, Any], words: str) -> None:
    with pytest.raises(ViValidationError, match=words):
        RunRetentionPolicy.build(**rules)
