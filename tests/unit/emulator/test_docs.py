"""`docs/emulator.md` says what the code does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from vi_airflow_provider.emulator import Fault
from vi_airflow_provider.emulator.__main__ import _parser
from vi_airflow_provider.emulator.backend import Changes
from vi_airflow_provider.emulator.fault_rules import FaultBook

PAGE = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text(encoding="utf-8")


def test_every_recipe_is_a_rule_that_is_accepted():
    recipes = re.findall(r"^faults\.(add\(.*\)) *(?:#.*)?$", PAGE, re.MULTILINE)
    book = FaultBook()
    for recipe in recipes:
        eval(f"book.{recipe}", {"book": book})  # noqa: S307
    assert len(book.rules()) == len(recipes) > 8


def test_every_field_of_a_rule_and_every_option_has_its_place():
    options = {option for action in _parser()._actions for option in action.option_strings} - {"-h", "--help"}
    names = {field.name for field in dataclasses.fields(Fault)} | options | set(Changes.__annotations__)
    assert {name for name in names if f"`{name}`" not in PAGE} == set()
