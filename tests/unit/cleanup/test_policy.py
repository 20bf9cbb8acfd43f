"""Which flows a policy selects and why: invariants of a plan, and the reasons of its decisions."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import wire_flow
from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.cleanup.given_plan import GivenPlan
from vi_airflow_provider.cleanup.policy import UNKNOWN_AGE, Measured, Plan, RetentionPolicy, plan_retention, unmeasured

NOW: Final = datetime(2026, 10, 1, tzinfo=UTC)
NOW_MS: Final = int(NOW.timestamp() * 1000)
DAY_MS: Final = 86_400_000


def flow(flow_id: str = "a", days: float = 100, project: str | None = "p", **changes: Any) -> Flow:
    """A flow last updated this number of days ago, and created a day earlier."""
    updated = NOW_MS - round(days * DAY_MS)
    fields: dict[str, Any] = {
        "flowId": flow_id,
        "spec__name": flow_id,
        "spec__trainingProject": project,
        "metadata__lastUpdated": updated,
        "metadata__timeCreated": updated - DAY_MS,
        "metadata__attributes": {},
    }
    return Flow.model_validate(wire_flow(**{**fields, **changes}))


def plan(flows: list[Flow], **rules: Any) -> Plan:
    return plan_retention(flows, RetentionPolicy.build(**rules), NOW)


def selected(flows: list[Flow], **rules: Any) -> set[str]:
    return {decision.document_id for decision in plan(flows, **rules).selected}


# --- promises ------------------------------------------------------------------------------------------------------

IDS: Final = [f"flow-{number}" for number in range(12)]
NAMES: Final = ("tmp-1", "tmp-2", "Weld", "weld")
ATTRIBUTES: Final = st.dictionaries(st.sampled_from(("keep", "team")), st.sampled_from(("true", "a")), max_size=2)
#: Whole days, so that ages are often equal.
DAYS: Final = st.integers(0, 6)


@st.composite
def collections(draw: st.DrawFn) -> list[Flow]:
    ids = draw(st.lists(st.sampled_from(IDS), unique=True))
    return [
        flow(
            flow_id,
            draw(DAYS),
            draw(st.sampled_from(("p", "q", None))),
            spec__name=draw(st.sampled_from(NAMES)),
            metadata__attributes=draw(ATTRIBUTES),
            metadata__timeCreated=NOW_MS - draw(st.integers(0, 12)) * DAY_MS,
        )
        for flow_id in ids
    ]


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    rules = draw(
        st.fixed_dictionaries(
            {"older_than": DAYS.map(lambda days: timedelta(days=days))},
            optional={
                "age_of": st.sampled_from(("last_updated", "time_created")),
                "name_pattern": st.sampled_from(("*", "tmp-*", "Weld")),
                "training_project": st.sampled_from(("p", "q")),
                "attributes": ATTRIBUTES,
                "keep_last": st.integers(0, 4),
                "protect_ids": st.lists(st.sampled_from(IDS)),
                "protect_names": st.lists(st.sampled_from((*NAMES, "t*"))),
                "protect_attributes": ATTRIBUTES,
            },
        )
    )
    if rules.get("keep_last") and draw(st.booleans()):
        del rules["older_than"]
    return rules


@given(collections(), policies())
def test_protected_flow_is_never_selected(flows: list[Flow], rules: dict[str, Any]) -> None:
    chosen = selected(flows, **rules)
    for candidate in flows:
        if candidate.flow_id in chosen:
            assert candidate.flow_id not in rules.get("protect_ids", ())
            assert candidate.spec.name not in rules.get("protect_names", ())
            assert not (candidate.spec.name.startswith("t") and "t*" in rules.get("protect_names", ()))
            for key, value in rules.get("protect_attributes", {}).items():
                assert candidate.metadata.attributes.get(key) != value


@given(collections(), policies(), st.integers(1, 4))
def test_most_recent_flows_of_each_training_project_are_kept(
    flows: list[Flow], rules: dict[str, Any], keep: int
) -> None:
    made = plan(flows, **{**rules, "keep_last": keep})
    by_id = {candidate.flow_id: candidate for candidate in flows}
    scopes = defaultdict(list)
    for decision in made.decisions:  # oldest first
        scopes[by_id[decision.document_id].spec.training_project].append(decision)
    for decisions in scopes.values():
        assert not any(decision.selected for decision in decisions[-keep:])


@given(collections(), policies(), st.randoms(use_true_random=False))
def test_plan_is_independent_of_the_order_of_the_listing(
    flows: list[Flow], rules: dict[str, Any], rng: random.Random
) -> None:
    shuffled = rng.sample(flows, len(flows))
    assert plan(shuffled, **rules) == plan(flows, **rules)


@given(collections(), policies(), DAYS, DAYS)
def test_longer_older_than_never_selects_more(flows: list[Flow], rules: dict[str, Any], one: int, more: int) -> None:
    shorter, longer = timedelta(days=one), timedelta(days=one + more)
    assert selected(flows, **{**rules, "older_than": longer}) <= selected(flows, **{**rules, "older_than": shorter})


@given(collections(), policies(), DAYS)
def test_young_flow_is_never_selected(flows: list[Flow], rules: dict[str, Any], days: int) -> None:
    chosen = selected(flows, **{**rules, "older_than": timedelta(days=days)})
    field = rules.get("age_of", "last_updated")
    for candidate in flows:
        if candidate.flow_id in chosen:
            assert getattr(candidate.metadata, field) <= NOW_MS - days * DAY_MS
            assert candidate.metadata.time_created <= candidate.metadata.last_updated


def test_samples_have_known_and_unknown_ages() -> None:
    known = Counter[bool]()

    @given(collections())
    def count(flows: list[Flow]) -> None:
        known.update(flow.metadata.time_created <= flow.metadata.last_updated for flow in flows)

    count()
    assert min(known.values()) > 20


@given(collections(), policies())
def test_every_flow_in_scope_gets_one_decision_with_a_reason(flows: list[Flow], rules: dict[str, Any]) -> None:
    made = plan(flows, **rules)
    assert made.total == len(flows)
    assert len({decision.document_id for decision in made.decisions}) == len(made.decisions)
    for decision in made.decisions:
        assert decision.reason
        assert bool(decision.document) == decision.selected


@given(collections(), policies(), st.data())
def test_flow_that_is_listed_twice_counts_once(flows: list[Flow], rules: dict[str, Any], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(flows))) if flows else []
    assert plan(data.draw(st.permutations([*flows, *again])), **rules) == plan(flows, **rules)


def test_listing_is_read_on_after_a_flow_that_is_listed_twice() -> None:
    assert selected([flow("a"), flow("a"), flow("b")], older_than="P90D") == {"a", "b"}


def test_keep_last_spares_that_number_of_each_project() -> None:
    flows = [flow(f"{project}{days}", days, project) for project in ("p", "q") for days in (1, 2, 3, 4)]
    assert selected(flows, keep_last=2) == {"p3", "p4", "q3", "q4"}
    assert selected(flows, keep_last=3) == {"p4", "q4"}


def test_spared_flow_needs_no_document_for_an_archive() -> None:
    (decision,) = plan([flow()], older_than="P90D").selected
    assert decision.spared("why") == decision._replace(selected=False, reason="why", document=b"")


def test_metric_of_no_run_can_be_read_without_outputs() -> None:
    assert unmeasured(["a", "b"]) == dict.fromkeys(("a", "b"), Measured(None, readable=False))


# --- reasons -------------------------------------------------------------------------------------------------------

OLD: Final = {"older_than": "P90D"}


@pytest.mark.parametrize(
    ("rules", "candidate", "chosen", "reason"),
    [
        (OLD, flow(days=91), True, "last_updated at least 90 days ago"),
        (OLD, flow(days=90), True, "last_updated at least 90 days ago"),
        (OLD, flow(metadata__lastUpdated=NOW_MS - 90 * DAY_MS + 1), False, "not old enough"),
        (OLD, flow(metadata__lastUpdated=NOW_MS + DAY_MS), False, "not old enough"),
        ({**OLD, "age_of": "time_created"}, flow(days=89.5), True, "time_created at least 90 days ago"),
        ({**OLD, "protect_ids": ["b", "a"]}, flow(), False, "protected by id"),
        ({**OLD, "protect_names": ["x", "a*"]}, flow(), False, "protected by name (a*)"),
        ({**OLD, "protect_names": ["A*"]}, flow(), True, "last_updated at least 90 days ago"),
        (
            {**OLD, "protect_attributes": {"keep": "true"}},
            flow(metadata__attributes={"keep": "true"}),
            False,
            "protected by attribute keep=true",
        ),
        (
            {**OLD, "protect_attributes": {"keep": "true"}},
            flow(metadata__attributes={"keep": "false"}),
            True,
            "last_updated at least 90 days ago",
        ),
        ({"keep_last": 1}, flow(), False, "kept by keep_last=1 per training project"),
        ({**OLD, "keep_last": 1}, flow(days=1), False, "not old enough"),
        ({**OLD, "keep_last": 1, "protect_ids": ["a"]}, flow(), False, "protected by id"),
    ],
)
def test_each_decision_has_its_reason(rules: dict[str, Any], candidate: Flow, chosen: bool, reason: str) -> None:
    (decision,) = plan([candidate], **rules).decisions
    assert (decision.selected, decision.reason) == (chosen, reason)


def test_reason_without_an_age_is_keep_last() -> None:
    made = plan([flow("old", 3), flow("new", 2)], keep_last=1)
    assert [(d.document_id, d.selected, d.reason) for d in made.decisions] == [
        ("old", True, "beyond keep_last"),
        ("new", False, "kept by keep_last=1 per training project"),
    ]


@pytest.mark.parametrize(
    "rules", [{"name_pattern": "tmp-*"}, {"training_project": "p"}, {"attributes": {"team": "a"}}], ids=str
)
def test_flow_out_of_scope_is_counted_without_a_decision(rules: dict[str, Any]) -> None:
    inside = flow("in", 100, "p", spec__name="tmp-1", metadata__attributes={"team": "a"})
    outside = flow("out", 100, "q", spec__name="Tmp-1", metadata__attributes={"team": "b"})
    made = plan([inside, outside], **OLD, **rules)
    assert [decision.document_id for decision in made.decisions] == ["in"]
    assert made.total == 2


def test_flows_without_a_training_project_are_one_group_of_keep_last() -> None:
    flows = [flow(f"{project}{days}", days, project) for project in ("p", None) for days in (1, 2, 3)]
    assert selected(flows, keep_last=1) == {"p2", "p3", "None2", "None3"}


def test_later_version_of_a_flow_counts() -> None:
    """It was edited between two pages of the listing, and was listed again."""
    old, touched = flow(days=100), flow(days=1)
    for flows in ([old, touched], [touched, old]):
        (decision,) = plan(flows, **OLD).decisions
        assert (decision.selected, decision.reason) == (False, "not old enough")


def test_young_flows_are_not_counted_as_spared() -> None:
    made = plan([flow("kept", 100), flow("young", 1), flow("old", 100)], **OLD, protect_ids=["kept"])
    assert [decision.document_id for decision in made.spared] == ["kept"]
    assert [decision.document_id for decision in made.selected] == ["old"]


def test_decision_contains_the_document() -> None:
    candidate = flow(spec__settings={"ünknown": [1, 2.5, None]}, etag='"7-x"')
    (decision,) = plan([candidate], **OLD).selected
    assert decision.document == canonical_json(candidate.to_wire())
    assert (decision.etag, decision.last_updated) == ('"7-x"', candidate.metadata.last_updated)


UNKNOWN: Final = {
    "last updated never": {"metadata__lastUpdated": 0},
    "created never": {"metadata__timeCreated": 0},
    "never": {"metadata__lastUpdated": 0, "metadata__timeCreated": 0},
    "a placeholder below zero": {"metadata__lastUpdated": -62_135_596_800_000},
    "minus one": {"metadata__lastUpdated": -1},
    "seconds": {"metadata__lastUpdated": NOW_MS // 1000, "metadata__timeCreated": NOW_MS // 1000 - 5},
    "updated before it was created": {"metadata__lastUpdated": NOW_MS - 200 * DAY_MS},
    "in the far future": {"metadata__lastUpdated": 32_503_680_000_000},
}


@pytest.mark.parametrize("age_of", ["last_updated", "time_created"])
@pytest.mark.parametrize("times", UNKNOWN.values(), ids=UNKNOWN)
def test_flow_of_unknown_age_is_spared_counted_and_reported(times: dict[str, int], age_of: str) -> None:
    changes: dict[str, Any] = {"metadata__timeCreated": NOW_MS - 100 * DAY_MS, **times}
    strange = flow("strange", **changes)
    made = plan([strange, flow("old")], **OLD, age_of=age_of)
    assert [decision.document_id for decision in made.selected] == ["old"]
    assert [(decision.document_id, decision.reason) for decision in made.spared] == [("strange", UNKNOWN_AGE)]
    assert made.total == 2


def test_flow_of_unknown_age_takes_no_place_of_keep_last() -> None:
    strange = flow("strange", metadata__lastUpdated=32_503_680_000_000)
    made = plan([strange, flow("old", 3), flow("new", 2)], keep_last=1)
    assert [decision.document_id for decision in made.selected] == ["old"]


def test_ages_beyond_the_calendar_select_nothing() -> None:
    assert selected([flow(days=1000)], older_than=timedelta.max) == set()


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, "give older_than, keep_last or both"),
        ({"name_pattern": "tmp-*"}, "give older_than, keep_last or both"),
        ({"keep_last": 0}, "give older_than, keep_last or both"),
        ({"older_than": 90}, "older_than"),
        ({"older_than": "90"}, "older_than"),
        ({"older_than": "-P1D"}, "older_than"),
        ({"older_than": ""}, "older_than"),
        ({**OLD, "keep_last": -1}, "keep_last"),
        ({**OLD, "age_of": "birth"}, "age_of"),
        ({**OLD, "name_pattern": ""}, "name_pattern"),
        ({**OLD, "training_project": ""}, "training_project"),
        ({**OLD, "protect_ids": "abc"}, "protect_ids"),
        ({**OLD, "protect_ids": [""]}, "protect_ids"),
        ({**OLD, "protect_names": "keep-*"}, "protect_names"),
        ({**OLD, "protect_attributes": "keep"}, "protect_attributes"),
        ({**OLD, "protect_attributes": {"keep": True}}, "protect_attributes"),
        ({**OLD, "protected": ["a"]}, "protected"),
    ],
    ids=str,
)
def test_policy_that_is_unusable_or_limits_nothing_is_refused(rules: dict[str, Any], words: str) -> None:
    with pytest.raises(ViValidationError, match=words):
        RetentionPolicy.build(**rules)


# --- a plan that was made before -----------------------------------------------------------------------------------

OUTCOME: Final = {"flow_id": "a", "name": "A", "etag": '"1"', "last_updated": 7, "reason": "old", "outcome": "x"}


@pytest.mark.parametrize(
    "given_plan", [[OUTCOME], {"outcomes": [OUTCOME], "outcomes_omitted": 0}, {"outcomes": [OUTCOME]}]
)
def test_plan_is_read_from_a_report_or_some_of_its_outcomes(given_plan: Any) -> None:
    (decision,) = GivenPlan.read(given_plan, {}).decisions
    assert decision[:4] == ("a", "A", '"1"', 7)
    assert (decision.selected, decision.reason) == (True, "old")


@pytest.mark.parametrize(
    ("given_plan", "words"),
    [
        ({"outcomes": [OUTCOME], "outcomes_omitted": 3}, "does not list 3 of its flows"),
        ({}, "plan"),
        ("{{ plan }}", "plan"),
        (["a"], "plan"),
        ([{**OUTCOME, "flow_id": ""}], "flow_id"),
        ([{**OUTCOME, "flow_id": "../a"}], "not a valid flow id"),
        ([{**OUTCOME, "last_updated": "7"}], "last_updated"),
        ([{"flow_id": "a"}], "etag"),
    ],
)
def test_incomplete_plan_is_refused(given_plan: Any, words: str) -> None:
    with pytest.raises(ViValidationError, match=words):
        GivenPlan.read(given_plan, {})


def test_samples_cover_both_decisions() -> None:
    """The properties above would hold for a planner that selects nothing."""
    verdicts: Counter[bool] = Counter()

    @given(collections(), policies())
    def count(flows: list[Flow], rules: dict[str, Any]) -> None:
        verdicts.update(decision.selected for decision in plan(flows, **rules).decisions)

    count()
    assert min(verdicts[True], verdicts[False]) > 20
