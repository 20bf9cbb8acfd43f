"""`docs/emulator.md` agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from vi_airflow_provider.emulator.colleague import Colleague
from vi_airflow_provider.emulator.fault_rules import FaultBook, FaultFields
from vi_airflow_provider.emulator.habits import Action, HabitFields
from vi_airflow_provider.emulator.options import OPTIONS
from vi_airflow_provider.emulator.settings import Choices
from vi_airflow_provider.emulator.store.lifecycle import ConditionOrder, Scenario, Vocabulary
from vi_airflow_provider.emulator.store.plans import PlanBook
from vi_airflow_provider.emulator.store.store import Store

PAGE = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text(encoding="utf-8")


def test_every_documented_recipe_is_a_valid_rule() -> None:
    recipes = re.findall(r"^faults\.(add\(.*\)) *(?:#.*)?$", PAGE, re.MULTILINE)
    book = FaultBook()
    for recipe in recipes:
        eval(f"book.{recipe}", {"book": book})  # noqa: S307
    assert len(book.rules()) == len(recipes) > 8


def test_every_documented_habit_is_valid(store: Store) -> None:
    recipes = re.findall(
        r"^colleague\.((?:edit|create|delete|restore|change_now)\(.*\)) *(?:#.*)?$", PAGE, re.MULTILINE
    )
    colleague = Colleague(store)
    for recipe in recipes:
        eval(f"colleague.{recipe}", {"colleague": colleague})  # noqa: S307
    assert len(recipes) > 5


def test_every_documented_plan_is_valid() -> None:
    recipes = re.findall(r"^plans\.(add\(.*\)) *(?:#.*)?$", PAGE, re.MULTILINE)
    plans = PlanBook()
    for recipe in recipes:
        eval(f"plans.{recipe}", {"plans": plans})  # noqa: S307
    assert len(recipes) > 2


def test_every_word_of_a_plan_or_habit_is_documented() -> None:
    words = {word for choices in (Scenario, Vocabulary, ConditionOrder, Action) for word in get_args(choices)}
    assert {word for word in words if f"`{word}`" not in PAGE} == set()


def test_every_rule_field_and_option_is_documented() -> None:
    options = {flag for flags, _ in OPTIONS for flag in flags}
    names = set(FaultFields.__annotations__) | options | set(HabitFields.__annotations__) | set(Choices.__annotations__)
    assert {name for name in names if f"`{name}`" not in PAGE} == set()
