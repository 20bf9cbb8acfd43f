"""Protections fail closed: what is meant to be spared is spared, and a rule that matches nothing is reported."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import wire_flow
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.cleanup.policy import RetentionPolicy, plan_retention
from vi_airflow_provider.cleanup.protection import Protections

NOW: Final = datetime(2026, 10, 1, tzinfo=UTC)
OLD_MS: Final = 1_750_000_000_000
#: Characters that mean something in a glob, or have more than one Unicode form.
TEXTS: Final = st.text(st.sampled_from("ab[]!-*?\\üǺ "), min_size=1, max_size=8)
RENDERED: Final = ("None", "True", "False")


def flow(flow_id: str = "a", name: str = "name", attributes: dict[str, str] | None = None, **changes: Any) -> Flow:
    fields = {
        "flowId": flow_id,
        "spec__name": name,
        "metadata__attributes": attributes or {},
        "metadata__timeCreated": OLD_MS,
        "metadata__lastUpdated": OLD_MS,
    }
    return Flow.model_validate(wire_flow(**{**fields, **changes}))


def protects(found: Flow, **rules: Any) -> bool:
    return Protections.build(**rules).protection(found) is not None


@given(TEXTS, st.sampled_from(["NFC", "NFD"]), st.sampled_from(["NFC", "NFD"]))
def test_exact_name_protects_in_every_unicode_form(name: str, written: Any, stored: Any) -> None:
    assert protects(flow(name=normalize(stored, name)), protect_names=[normalize(written, name)])


@given(TEXTS, TEXTS, st.sampled_from(["NFC", "NFD"]), st.sampled_from(["NFC", "NFD"]))
def test_attribute_protects_in_every_unicode_form(key: str, value: str, written: Any, stored: Any) -> None:
    attributes = {normalize(stored, key): normalize(stored, value), "other": "x"}
    assert protects(
        flow(attributes=attributes), protect_attributes={normalize(written, key): normalize(written, value)}
    )


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("[prod] *", "[prod] weld"), ("[prod] *", "p weld"), ("*[1]", "weld[1]"), ("*[1]", "weld1"), ("[!]x*", "[!]xy")],
)
def test_brackets_protect_in_both_readings(pattern: str, name: str) -> None:
    """As a set of characters, and as they are: when in doubt, a flow is protected."""
    assert protects(flow(name=name), protect_names=[pattern])


@pytest.mark.parametrize(
    ("pattern", "name"), [("Prod-*", "prod-1"), ("prod", "prod-1"), ("?", "ab"), ("[prod]", "prod")]
)
def test_name_that_does_not_match_is_not_protected(pattern: str, name: str) -> None:
    assert not protects(flow(name=name), protect_names=[pattern])


@pytest.mark.parametrize("text", RENDERED)
@pytest.mark.parametrize(
    "rules",
    [
        lambda text: {"protect_ids": [text]},
        lambda text: {"protect_names": ["prod-*", text]},
        lambda text: {"protect_attributes": {text: "x"}},
        lambda text: {"protect_attributes": {"keep": text}},
    ],
    ids=["id", "name", "attribute", "value"],
)
def test_rendered_value_that_is_not_a_text_is_refused(text: str, rules: Any) -> None:
    with pytest.raises(ViValidationError, match="template"):
        Protections.build(**rules(text))


def test_value_of_an_attribute_may_be_empty() -> None:
    assert protects(flow(attributes={"keep": ""}), protect_attributes={"keep": ""})


# --- rules that match nothing --------------------------------------------------------------------------------------


def unmatched(flows: list[Flow], **rules: Any) -> list[str]:
    policy = RetentionPolicy.build(older_than="P90D", **rules)
    return list(plan_retention(flows, policy, NOW).unmatched)


@pytest.mark.parametrize(
    ("rules", "labels"),
    [
        ({}, []),
        ({"protect_ids": ["a", "typo"]}, ["protect_ids: typo"]),
        ({"protect_names": ["nam?", "Name"]}, ["protect_names: Name"]),
        ({"protect_attributes": {"keep": "yes", "team": "a"}}, ["protect_attributes: keep=yes"]),
        ({"protect_ids": [], "protect_names": []}, ["protect_ids: empty", "protect_names: empty"]),
        ({"name_pattern": "tmp-*"}, ["name_pattern: tmp-*"]),
        ({"training_project": "none"}, ["training_project: none"]),
        ({"attributes": {"team": "a", "stage": "old"}}, ["attributes: stage=old"]),
    ],
    ids=str,
)
def test_rule_that_matches_no_flow_is_reported(rules: dict[str, Any], labels: list[str]) -> None:
    assert unmatched([flow(attributes={"team": "a"}), flow("b", "other")], **rules) == labels


def test_rule_that_matches_a_young_flow_or_one_out_of_scope_is_spelled_right() -> None:
    young = flow("y", "prod-1", metadata__lastUpdated=int(NOW.timestamp() * 1000))
    assert unmatched([flow(), young], protect_names=["prod-*"]) == []
    assert unmatched([flow(), flow("o", "prod-1")], name_pattern="nam*", protect_names=["prod-*"]) == []


def test_no_rule_is_reported_where_there_are_no_flows() -> None:
    assert unmatched([], protect_ids=["a"], protect_names=["x"], name_pattern="y") == []
