from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from vi_airflow_provider.emulator.store.errors import ApiError, phrase
from vi_airflow_provider.emulator.store.schema import (
    check_id,
    decode_object,
    encode,
    equal,
    flow_to_patch,
    flow_to_put,
    run_to_patch,
    run_to_put,
)

MISSING = object()


def refusal(function: Callable[..., object], *arguments: Any) -> str:
    with pytest.raises(ApiError) as caught:
        function(*arguments)
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["spec"], MISSING, "spec is required"),
        (["spec"], [], "spec must be an object"),
        (["spec", "name"], MISSING, "spec.name is required"),
        (["spec", "name"], 1, "spec.name must be a string"),
        (["spec", "schema"], MISSING, "spec.schema is required"),
        (["spec", "schema"], None, "spec.schema must be a string"),
        (["spec", "tolerations"], MISSING, "spec.tolerations is required"),
        (["spec", "tolerations"], None, "spec.tolerations must be an object"),
        (["spec", "tolerations", "spot"], "x", "spec.tolerations.spot must be an array"),
        (["spec", "tolerations", "spot"], ["x", 1], "spec.tolerations.spot[1] must be a string"),
        (["spec", "settings"], MISSING, "spec.settings is required"),
        (["spec", "settings"], [], "spec.settings must be an object"),
        (["spec", "blocks"], MISSING, "spec.blocks is required"),
        (["spec", "blocks"], {}, "spec.blocks must be an array"),
        (["spec", "blocks", 0], "dataset", "spec.blocks[0] must be an object"),
        (["spec", "blocks", 0, "block"], MISSING, "spec.blocks[0].block is required"),
        (["spec", "blocks", 0, "settings"], None, "spec.blocks[0].settings must be an object"),
        (["spec", "blocks", 0, "style"], MISSING, "spec.blocks[0].style is required"),
        (["spec", "trainingProject"], 5, "spec.trainingProject must be a string or null"),
        (["metadata"], None, "metadata must be an object"),
        (["metadata", "attributes"], None, "metadata.attributes must be an object"),
        (["metadata", "attributes", "team"], None, "metadata.attributes.team must be a string"),
        (["metadata", "attributes", "team"], 3, "metadata.attributes.team must be a string"),
    ],
)
def test_invalid_flow_is_refused_with_its_path(
    spec: dict[str, Any], path: list[str | int], value: Any, message: str
) -> None:
    body: Any = {"spec": copy.deepcopy(spec), "metadata": {"attributes": {"team": "a"}}}
    *parents, last = path
    place = body
    for key in parents:
        place = place[key]
    if value is MISSING:
        del place[last]
    else:
        place[last] = value
    assert refusal(flow_to_put, body) == message


def test_put_reads_only_spec_and_attributes(spec: dict[str, Any]) -> None:
    body = {"kind": "Run", "flowId": 5, "spec": spec, "metadata": {"generation": "x", "attributes": {"a": "b"}}}
    assert flow_to_put(body) == (spec, {"a": "b"})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"kind": "Flow"}, "kind is not a known field"),
        ({"spec": {"training_project": "p"}}, "spec.training_project is not a known field"),
        ({"spec": []}, "spec must be an object"),
        ({"spec": {"name": None}}, "spec.name must be a string"),
        ({"spec": {"blocks": [{}]}}, "spec.blocks[0].block is required"),
        ({"metadata": {"generation": 9}}, "metadata.generation is not a known field"),
        ({"metadata": {"attributes": {"a": 1}}}, "metadata.attributes.a must be a string or null"),
        ({"metadata": {"attributes": None}}, "metadata.attributes must be an object"),
    ],
)
def test_patch_of_a_flow_is_strict(body: Any, message: str) -> None:
    assert refusal(flow_to_patch, body) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"spec": {"killed_at": 1}}, "spec.killed_at is not a known field"),
        ({"spec": {"flow": {}}}, "spec.flow is not a known field"),
        ({"spec": {"killedAt": 1.5}}, "spec.killedAt must be an integer"),
        ({"spec": {"killedAt": True}}, "spec.killedAt must be an integer"),
        ({"runId": "x"}, "runId is not a known field"),
    ],
)
def test_patch_of_a_run_is_strict(body: Any, message: str) -> None:
    assert refusal(run_to_patch, body) == message


@pytest.mark.parametrize(
    ("run_spec", "message"),
    [
        ({}, "spec.flow is required"),
        ({"flow": "flow-id"}, "spec.flow must be an object"),
        ({"flow": {"name": "n"}}, "spec.flow.schema is required"),
    ],
)
def test_a_run_needs_a_whole_flow_spec(run_spec: Any, message: str) -> None:
    assert refusal(run_to_put, {"spec": run_spec}) == message


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"a":NaN}', b'{"a":1e999}', b'{"a":"\\ud800"}', b"\xff", b"[" * 100_000]
)
def test_body_that_is_not_a_json_object_is_refused(body: Any) -> None:
    assert refusal(decode_object, body).startswith("The body")


def test_json_is_compact_and_unescaped() -> None:
    assert encode({"a": [1, "é"]}) == '{"a":[1,"é"]}'.encode()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [(1, 1.0, False), (1, True, False), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True), ([1, 2], [2, 1], False)],
)
def test_equality_follows_json(one: Any, other: Any, same: bool) -> None:
    assert equal(one, other) is same


@pytest.mark.parametrize("id_", ["", "a b", "a\n", "../x", "é", "a" * 256])
def test_ids_outside_the_alphabet_are_refused(id_: str) -> None:
    assert refusal(check_id, id_, "Flow").startswith("Flow id must be")


@pytest.mark.parametrize(("status", "expected"), [(404, "Not Found"), (599, "Status 599")])
def test_every_status_has_a_phrase(status: int, expected: str) -> None:
    assert phrase(status) == expected
