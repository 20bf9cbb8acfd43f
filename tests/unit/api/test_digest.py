"""The digest of a spec, and the canonical JSON from which it is computed."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import ABSENT, wire_flow, wire_spec
from tests.strategies import JSON, OBJECT
from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.models import Flow


def digest(**changes: Any) -> str:
    return Flow.model_validate(wire_flow(**changes)).digest


@pytest.mark.parametrize(
    "changes",
    [
        {"spec__blocks__0__style": {"x": -1}},
        {"spec__blocks__0__style": {}},
        {"etag": "other"},
        {"flowId": "other"},
        {"workspaceId": "other"},
        {"kind": ABSENT},
        {"metadata__lastUpdated": 1},
        {"metadata__timeCreated": 1},
        {"metadata__generation": 99},
        {"metadata__attributes": {}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_digest_ignores_what_does_not_change_the_training(changes: dict[str, Any]) -> None:
    assert digest(**changes) == digest()


def test_the_digest_ignores_the_order_of_keys() -> None:
    settings = {"b": {"y": 1, "x": 2}, "a": 3}
    other_order = {"a": 3, "b": {"x": 2, "y": 1}}
    assert list(settings) != list(other_order)
    assert digest(spec__settings=settings) == digest(spec__settings=other_order)


def test_the_digest_equates_absent_and_null_training_project() -> None:
    assert digest(spec__trainingProject=None) == digest(spec__trainingProject=ABSENT)


@pytest.mark.parametrize(
    "changes",
    [
        {"spec__name": "other"},
        {"spec__schema": "v2"},
        {"spec__settings": {"seed": 8}},
        {"spec__settings": {"seed": "7"}},
        {"spec__tolerations": {}},
        {"spec__trainingProject": None},
        {"spec__blocks__0__settings": {}},
        {"spec__blocks__0__block": "other"},
        {"spec__blocks": []},
        {"spec__blocks": wire_spec()["blocks"][::-1]},
        {"spec__newField": 1},
        {"spec__blocks__0__newField": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_digest_depends_on_what_changes_the_training(changes: dict[str, Any]) -> None:
    assert digest(**changes) != digest()


def test_the_digest_is_the_same_in_every_version() -> None:
    # Users store digests, so a new release must not change them.
    block = {"block": "model", "settings": {"b": 1.5, "a": None}, "style": {"x": 1}}
    spec: dict[str, Any] = {
        "name": "größe",
        "schema": "v1",
        "tolerations": {},
        "settings": {},
        "blocks": [block],
        "trainingProject": None,
    }
    canonical = (
        '{"blocks":[{"block":"model","settings":{"a":null,"b":1.5}}],"name":"größe","schema":"v1","settings":{},'
        '"tolerations":{}}'
    )
    assert Flow.model_validate(wire_flow(spec=spec)).digest == hashlib.sha256(canonical.encode()).hexdigest()


def test_the_digest_of_an_xcom_is_that_of_the_flow() -> None:
    flow = Flow.model_validate(wire_flow())
    assert Flow.model_validate(flow.model_dump(mode="json")).digest == flow.digest


@given(OBJECT, st.randoms(use_true_random=False))
def test_canonical_json_ignores_the_order_of_keys(value: dict[str, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(value)
    assert json.loads(canonical_json(value)) == value


@given(JSON)
def test_canonical_json_differs_from_json_only_in_numbers(value: Any) -> None:
    ours, theirs = canonical_json(value), json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert json.loads(ours) == value
    assert _without_numbers(ours.decode()) == _without_numbers(theirs)


def _without_numbers(text: str) -> str:
    return re.sub(r'("(?:[^"\\]|\\.)*")|-?[0-9][-+.0-9eE]*', lambda found: found[1] or "0", text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": None, "b": float("inf")}, '{"a":null,"b":Infinity}'),
        ([float("nan"), None], "[NaN,null]"),
        ({"learningRate": 1e-05, "big": 1e22}, '{"big":1e22,"learningRate":0.00001}'),
        (2**70, "1180591620717411303424"),
        ("null", '"null"'),
    ],
)
def test_canonical_json_never_makes_null_of_a_number(value: Any, text: str) -> None:
    assert canonical_json(value).decode() == text


def test_canonical_json_accepts_a_lone_surrogate() -> None:
    assert canonical_json({"a": "\ud800"}) == b'{"a":"\xed\xa0\x80"}'
