"""Whatever is not refused comes out of an XCom as it went in, by the serialization of the installed Airflow."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import FLOW_ID, wire_flow
from tests.versions import AIRFLOW
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.selection.xcom import refuse_reserved_keys, xcom_value

#: All keys by which Airflow marks serialized objects, in any of its formats.
MARKERS: Final = [
    *("__classname__", "__version__", "__data__", "__id__", "__cache__"),
    *("__type", "__var", "__source", "__dag__"),
]


def through_an_xcom(value: Any) -> Any:
    """Push a value and pull it again."""
    if AIRFLOW < (3, 0):
        from airflow.utils.json import XComDecoder, XComEncoder

        return json.loads(json.dumps(value, cls=XComEncoder), cls=XComDecoder)
    if AIRFLOW < (3, 2):
        from airflow.serialization.serde import deserialize, serialize  # type: ignore[import-not-found]
    else:
        from airflow.sdk.serde import deserialize, serialize
    return deserialize(json.loads(json.dumps(serialize(value))))


def is_refused(value: Any) -> bool:
    try:
        refuse_reserved_keys(value)
    except ViValidationError:
        return True
    return False


SCALARS: Final = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["builtins.tuple", "dict", "a", ""])
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*MARKERS, "a"]), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*MARKERS, "settings"]), VALUES, max_size=4))
def test_a_value_is_refused_or_carried_unchanged(value: dict[str, Any]) -> None:
    if not is_refused({"spec": value}):
        assert through_an_xcom({"spec": value}) == {"spec": value}
        assert through_an_xcom([value]) == [value]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"__id__": 1}, "__id__"),
        ({"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1]}, "__classname__"),
        ({"__type": "dict", "__var": {"seed": 7}, "lost": 1}, "__type"),
    ],
)
@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("spec__settings", "spec.settings"),
        ("spec__blocks__1__settings__deep", "spec.blocks[1].settings.deep"),
        ("spec__blocks__0__style", "spec.blocks[0].style"),
        ("spec__unknown", "spec.unknown"),
    ],
)
def test_the_error_names_flow_and_path(place: str, path: str, settings: dict[str, Any], key: str) -> None:
    found = Flow.model_validate(wire_flow(**{place: settings}))
    with pytest.raises(ViValidationError) as caught:
        xcom_value(found)
    assert str(caught.value).startswith(f"flow {FLOW_ID}: {path}.{key}: Airflow reserves this key")
    assert " with do_xcom_push=False" in str(caught.value)


def test_attributes_are_searched_as_well() -> None:
    with pytest.raises(ViValidationError, match=r"metadata\.attributes\.__id__"):
        xcom_value(Flow.model_validate(wire_flow(metadata__attributes={"__id__": "a"})))


def test_a_flow_without_reserved_keys_is_its_xcom_form() -> None:
    found = Flow.model_validate(wire_flow(spec__settings={"__version__": 1, "__data__": {}, "__type": "a"}))
    assert xcom_value(found) == found.model_dump(mode="json")
    assert Flow.model_validate(through_an_xcom(xcom_value(found))) == found


def test_deep_nesting_is_searched_without_recursion() -> None:
    value: Any = {"__id__": 1}
    for _ in range(5000):
        value = {"a": [value]}
    with pytest.raises(ViValidationError, match=r"^a"):
        refuse_reserved_keys(value)
