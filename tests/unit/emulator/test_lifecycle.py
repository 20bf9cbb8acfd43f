"""How runs go: every scenario, in every vocabulary and order, by the clock alone."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from vi_airflow_provider.emulator.rule_checks import RuleError
from vi_airflow_provider.emulator.store.lifecycle import ConditionOrder, Life, Plan, Scenario, Vocabulary

BEGAN = 1_000_000
TOTAL = 100_000
START = BEGAN + TOTAL // 10
END = BEGAN + TOTAL
MIDDLE = (START + END) // 2


def life(scenario: Scenario = "succeed", *, killed: int | None = None, **plan: Any) -> Life:
    return Life(Plan(scenario=scenario, **plan), BEGAN, TOTAL, TOTAL // 10, killed)


def stages(of: Life, now: int = END + TOTAL) -> list[tuple[str, int]]:
    return [(event.stage, event.at) for event in of.happened(now)]


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("succeed", [("queued", BEGAN), ("running", START), ("succeeded", END)]),
        ("stuck_queued", [("queued", BEGAN)]),
        ("fail_at_start", [("queued", BEGAN), ("failed", START)]),
        ("fail_at_end", [("queued", BEGAN), ("running", START), ("failed", END)]),
        ("restart", [("queued", BEGAN), ("stumbled", START), ("running", START + 9_000), ("succeeded", END)]),
        ("killed_by_person", [("queued", BEGAN), ("running", START), ("killed", MIDDLE)]),
        ("nan_metrics", [("queued", BEGAN), ("running", START), ("succeeded", END)]),
        ("no_model", [("queued", BEGAN), ("running", START), ("succeeded", END)]),
    ],
)
def test_scenario_has_its_events(scenario: Scenario, expected: list[tuple[str, int]]) -> None:
    assert stages(life(scenario)) == expected


@pytest.mark.parametrize(
    ("scenario", "killed", "last"),
    [
        ("succeed", MIDDLE, ("killed", MIDDLE)),
        ("succeed", END + 1, ("succeeded", END)),
        ("stuck_queued", MIDDLE, ("killed", MIDDLE)),
        ("slow_kill", START, ("killed", START + TOTAL // 2)),
        ("slow_kill", END - 1, ("succeeded", END)),
        ("kill_races_finish", MIDDLE, ("succeeded", MIDDLE)),
    ],
)
def test_kill_takes_effect_by_scenario(scenario: Scenario, killed: int, last: tuple[str, int]) -> None:
    assert stages(life(scenario, killed=killed))[-1] == last


def test_slow_kill_stays_active_until_it_takes_effect() -> None:
    dying = life("slow_kill", killed=START)
    assert dying.is_active(START + 1)
    assert not dying.is_active(START + TOTAL // 2)


@pytest.mark.parametrize("order", get_args(ConditionOrder))
@pytest.mark.parametrize("vocabulary", get_args(Vocabulary))
@pytest.mark.parametrize("scenario", get_args(Scenario))
def test_every_condition_is_well_formed(scenario: Scenario, vocabulary: Vocabulary, order: ConditionOrder) -> None:
    for now in (BEGAN, START, MIDDLE, END):
        conditions = life(scenario, vocabulary=vocabulary, order=order).conditions(now)
        assert conditions
        known = {condition["status"] for condition in conditions} <= {"Waiting", "Reached", "FailedReach"}
        assert known or scenario == "unknown_status"
        assert all(condition["lastTransitionTime"] <= now for condition in conditions)


@pytest.mark.parametrize(
    ("vocabulary", "words"),
    [
        ("milestones", ["Queued", "Started", "Finished"]),
        ("product", ["Queued", "Running", "Completed"]),
        ("sdk_page", ["Pending", "Running", "Succeeded"]),
        ("docstrings", ["pending", "running", "completed"]),
    ],
)
def test_order_reverses_the_conditions(vocabulary: Vocabulary, words: list[str]) -> None:
    def names(order: ConditionOrder) -> list[str]:
        return [item["condition"] for item in life(vocabulary=vocabulary, order=order).conditions(END)]

    assert names("oldest_first") == words
    assert names("newest_first") == words[::-1]


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("fail_at_start", {"Queued": "Reached", "Started": "FailedReach", "Finished": "Waiting"}),
        ("fail_at_end", {"Queued": "Reached", "Started": "Reached", "Finished": "FailedReach"}),
        ("killed_by_person", {"Queued": "Reached", "Started": "Reached", "Finished": "FailedReach"}),
        ("stuck_queued", {"Queued": "Reached", "Started": "Waiting", "Finished": "Waiting"}),
    ],
)
def test_milestones_show_what_was_not_reached(scenario: Scenario, expected: dict[str, str]) -> None:
    conditions = life(scenario).conditions(END)
    assert {condition["condition"]: condition["status"] for condition in conditions} == expected


def test_unknown_status_shows_only_while_active() -> None:
    odd = life("unknown_status", vocabulary="product")
    assert "InProgress" in {condition["status"] for condition in odd.conditions(MIDDLE)}
    assert {condition["status"] for condition in odd.conditions(END)} == {"Reached"}


@pytest.mark.parametrize(
    ("scenario", "now", "ms"),
    [
        ("succeed", START, 0),
        ("succeed", MIDDLE, TOTAL * 45 // 100),
        ("succeed", END + TOTAL, TOTAL * 9 // 10),
        ("fail_at_start", END, 0),
        ("stuck_queued", END, 0),
        ("restart", END, TOTAL * 81 // 100),
        ("killed_by_person", END, TOTAL * 45 // 100),
    ],
)
def test_only_running_time_is_billed(scenario: Scenario, now: int, ms: int) -> None:
    assert life(scenario).running_ms(now) == ms


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"scenario": "explode"}, "scenario must be one of succeed, stuck_queued"),
        ({"vocabulary": "latin"}, "vocabulary must be one of milestones"),
        ({"order": 1}, "order must be one of newest_first"),
        ({"run_seconds": -1}, "run_seconds must be zero or more"),
        ({"checkpoints": -1}, "checkpoints must be zero or more"),
        ({"log_lines": 1.5}, "log_lines must be an integer"),
        ({"speed": 2}, "unknown plan field 'speed'"),
    ],
)
def test_invalid_plan_is_refused(plan: dict[str, Any], message: str) -> None:
    with pytest.raises(RuleError, match=message):
        Plan.from_json(plan)


def test_plan_round_trips() -> None:
    plan = Plan(scenario="restart", vocabulary="product", checkpoints=12)
    assert Plan.from_json(plan.to_json()) == plan
