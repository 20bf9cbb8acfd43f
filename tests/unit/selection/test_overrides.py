"""The form of overrides: what can be refused without the flow."""

from __future__ import annotations

from typing import Any

import pytest

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.selection.overrides import checked_overrides


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"settings": {"seed": 7}, "name": "x", "schema": "y", "tolerations": {}},
        {"blocks": {}},
        {"blocks": {"trainer": {"settings": {"epochs": 2}, "style": {}}, "reader": {}}},
    ],
    ids=repr,
)
def test_overrides_of_known_fields_are_returned_as_a_copy(overrides: dict[str, Any]) -> None:
    checked = checked_overrides("overrides", overrides)
    assert checked == overrides
    assert checked is not overrides


def test_no_overrides_are_none() -> None:
    assert checked_overrides("overrides", None) is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("epochs=2", "o: an object expected, str given: 'epochs=2'"),
        ([], "o: an object expected, list given: []"),
        ({"seed": 7, "colour": 1}, "o: unknown 'colour'; choose from name, schema, settings, tolerations, blocks"),
        ({3: 1}, "o: unknown '3'; choose from name, schema, settings, tolerations, blocks"),
        (
            {"blocks": [{"block": "trainer"}]},
            "o.blocks: [{'block': 'trainer'}]: name the blocks by their type, like "
            '{"trainer": {"settings": {…}}}',
        ),
        ({"blocks": {"trainer": 2}}, "o.blocks.trainer: an object expected, int given: 2"),
        ({"blocks": {"trainer": {"epochs": 2}}}, "o.blocks.trainer: unknown 'epochs'; choose from settings, style"),
    ],
    ids=lambda value: repr(value)[:50],
)  # fmt: skip
def test_another_form_is_refused_with_its_path(overrides: Any, message: str) -> None:
    with pytest.raises(ViValidationError) as caught:
        checked_overrides("o", overrides)
    assert caught.value.args[0] == message
