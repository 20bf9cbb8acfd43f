"""What counts as a change, which path it has, and how two exports are read side by side."""

from __future__ import annotations

import copy
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.audit.support import flow
from vi_airflow_provider.api.canonical import canonical_json, comparable
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.audit.diff import Changed, Diff, Ref, diff_exports, diff_values

SCALARS: Final = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
#: Few keys and values, so that two of them often meet.
ALIKE: Final = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, -0.0, float("nan"), "", "1", "a.b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "a.b", "[0]", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)


def changes(old: Any, new: Any) -> list[str]:
    return [str(change) for change in diff_values(old, new)]


def without_number_kinds(value: Any) -> Any:
    """Return JSON data in a form that is equal exactly if nothing but the spelling of a number differs."""
    if isinstance(value, dict):
        return {key: without_number_kinds(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_number_kinds(inner) for inner in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return type(value).__name__, value
    return "number", "nan" if value != value else value


# --- values --------------------------------------------------------------------------------------------------------


@given(JSON)
def test_value_does_not_differ_from_itself(value: Any) -> None:
    assert changes(value, copy.deepcopy(value)) == []


@given(ALIKE, ALIKE)
def test_spelling_of_a_number_is_not_a_difference(old: Any, new: Any) -> None:
    assert (changes(old, new) == []) == (without_number_kinds(old) == without_number_kinds(new))


@given(ALIKE, ALIKE)
def test_reversed_comparison_swaps_old_and_new(old: Any, new: Any) -> None:
    forward = [(change.path, change.old, change.new) for change in diff_values(old, new)]
    backward = [(change.path, change.new, change.old) for change in diff_values(new, old)]
    assert forward == backward


@given(ALIKE, ALIKE)
def test_paths_are_unambiguous(old: Any, new: Any) -> None:
    paths = [change.path for change in diff_values(old, new)]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 2}, ["a: 1 → 2"]),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, ["a: 1 → true"]),
        ({"a": 0}, {"a": False}, ["a: 0 → false"]),
        ({"a": 0.1}, {"a": "0.1"}, ['a: 0.1 → "0.1"']),
        ({"a": float("nan")}, {"a": float("nan")}, []),
        ({"a": None}, {}, ["a: null → (absent)"]),
        ({}, {"a": []}, ["a: (absent) → []"]),
        ({"a": {}}, {"a": []}, ["a: {} → []"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a[1]: 2 → (absent)"]),
        ({"a": [{"b": [0, {"c": 1}]}]}, {"a": [{"b": [0, {"c": 2}]}]}, ["a[0].b[1].c: 1 → 2"]),
        ({"b": 1, "a": 1}, {"a": 2, "b": 2}, ["a: 1 → 2", "b: 1 → 2"]),
        ({"a": {"vi_airflow.flow_id": "x"}}, {"a": {}}, ['a["vi_airflow.flow_id"]: "x" → (absent)']),
        ({"": 1}, {"": 2}, ['[""]: 1 → 2']),
        ({"größe": "ä"}, {"größe": "ö"}, ['["gr\\u00f6\\u00dfe"]: "ä" → "ö"']),
        (1, 2, [": 1 → 2"]),
    ],
)
def test_change_has_path_old_and_new_value(old: Any, new: Any, expected: list[str]) -> None:
    assert changes(old, new) == expected


# --- what counts of a flow -----------------------------------------------------------------------------------------

SETTING: Final = "spec__blocks__1__settings__evaluation__temperature"


@pytest.mark.parametrize(
    "unimportant",
    [
        {"spec__blocks__0__style": {}},
        {"spec__blocks__1__style": {"x": -1, "y": 2, "color": "red"}},
        {"spec__trainingProject": None},
        {"metadata__lastUpdated": 1},
        {"metadata__timeCreated": 1},
        {"metadata__generation": 99},
        {"etag": "another"},
        {"selfLink": "/elsewhere"},
    ],
    ids=str,
)
def test_layout_and_bookkeeping_are_not_changes(unimportant: dict[str, Any]) -> None:
    before, after = flow(spec__trainingProject=None), flow(**{"spec__trainingProject": None, **unimportant})
    assert not diff_exports([before], [after])
    assert before.fingerprint == after.fingerprint


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({SETTING: 0.5}, "spec.blocks[1].settings.evaluation.temperature: 0.7 → 0.5"),
        ({"spec__name": "x"}, 'spec.name: "Weld seam defects - Qwen3-VL 4B" → "x"'),
        ({"spec__tolerations": {"gpu": ["T4"]}}, 'spec.tolerations.gpu[1]: "A100" → (absent)'),
        ({"spec__trainingProject": None}, 'spec.trainingProject: "weld-inspection" → (absent)'),
        ({"spec__blocks__1__block": "model"}, 'spec.blocks[1].block: "vlm-model" → "model"'),
        ({"spec__futureField": [1]}, "spec.futureField: (absent) → [1]"),
        ({"metadata__attributes": {"team": "line-4"}}, 'metadata.attributes.team: "line-3" → "line-4"'),
    ],
)
def test_spec_and_attributes_are_changes(change: dict[str, Any], expected: str) -> None:
    before, after = flow(), flow(**change)
    (changed,) = diff_exports([before], [after]).changed
    assert [str(each) for each in changed.changes] == [expected]
    assert before.fingerprint != after.fingerprint


@given(ALIKE, ALIKE)
def test_flows_with_equal_fingerprints_do_not_differ(old: Any, new: Any) -> None:
    before, after = flow(spec__settings={"x": old}), flow(spec__settings={"x": new})
    if before.fingerprint == after.fingerprint:
        assert not diff_exports([before], [after])
    else:
        assert canonical_json(comparable(before.to_wire())) != canonical_json(comparable(after.to_wire()))


# --- two exports ---------------------------------------------------------------------------------------------------

EXPORTS: Final = st.dictionaries(st.text("abAB-_1", min_size=1, max_size=2), st.integers(0, 2), max_size=8)


def exported(seeds: dict[str, int]) -> list[Flow]:
    return [
        flow(flow_id, spec__settings={"seed": seed}, spec__name=f"flow {flow_id}")
        for flow_id, seed in sorted(seeds.items())
    ]


@given(EXPORTS, EXPORTS)
def test_exports_differ_as_dictionaries_do(old: dict[str, int], new: dict[str, int]) -> None:
    diff = diff_exports(iter(exported(old)), iter(exported(new)))
    assert diff.added == [Ref(key, f"flow {key}") for key in sorted(new.keys() - old.keys())]
    removed = [(each.id, each.name, each.last["flowId"]) for each in diff.removed]
    assert removed == [(key, f"flow {key}", key) for key in sorted(old.keys() - new.keys())]
    assert [(each.id, [str(change) for change in each.changes]) for each in diff.changed] == [
        (key, [f"spec.settings.seed: {old[key]} → {new[key]}"])
        for key in sorted(old.keys() & new.keys())
        if old[key] != new[key]
    ]
    assert bool(diff) == (old != new)


@pytest.mark.parametrize("ids", ["ba", "aa", "abb", "acb"])
@pytest.mark.parametrize("side", ["old", "new"])
def test_unsorted_export_is_refused(ids: str, side: str) -> None:
    exports = {"old": [], "new": [], side: [flow(flow_id) for flow_id in ids]}
    with pytest.raises(ValueError, match=f"not sorted by id: '{ids[-1]}' follows '{ids[-2]}'"):
        diff_exports(**exports)


def test_diff_reads_like_a_diff() -> None:
    old = [flow("gone", spec__name="Old one"), flow("kept"), flow("same")]
    new = [flow("fresh", spec__name="New one"), flow("kept", spec__settings={"seed": 8}, spec__name="K"), flow("same")]
    assert list(diff_exports(old, new).lines()) == [
        "+ fresh  New one",
        "- gone  Old one",
        "~ kept  K",
        '    spec.name: "Weld seam defects - Qwen3-VL 4B" → "K"',
        "    spec.settings.seed: 7 → 8",
    ]


@pytest.mark.parametrize("trick", ["a\nb", "a\r+ forged  b", "\x1b[2Ja", "a\x9b31mb", "a\x85b"], ids=ascii)
def test_flow_name_cannot_forge_a_line_or_control_a_terminal(trick: str) -> None:
    old = [flow("a", spec__name="before"), flow("b", spec__name=trick)]
    new = [flow("a", spec__name=trick), flow("c", spec__name=trick)]
    lines = list(diff_exports(old, new).lines())
    assert len(lines) == 4
    assert all(line.replace("→", "").isprintable() for line in lines)


def test_diff_is_available_as_json() -> None:
    diff = diff_exports([flow("a")], [flow("a", spec__name="x"), flow("b", spec__name="y")])
    assert [type(each) for each in diff.changed] == [Changed]
    assert diff.as_json() == {
        "added": [{"flow_id": "b", "name": "y"}],
        "removed": [],
        "changed": [
            {
                "flow_id": "a",
                "name": "x",
                "changes": [{"path": "spec.name", "old": '"Weld seam defects - Qwen3-VL 4B"', "new": '"x"'}],
            }
        ],
    }
    assert Diff().as_json() == {"added": [], "removed": [], "changed": []}
