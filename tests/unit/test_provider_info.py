"""The metadata for Airflow is true, and the same in all its forms."""

from __future__ import annotations

import dataclasses
import importlib
import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import airflow
import jsonschema
import pytest
from airflow.providers.common.compat.sdk import BaseHook, BaseOperator
from airflow.triggers.base import BaseTrigger

import vi_airflow_provider
from tests.documents import ORGANIZATION_ID, SECRET_KEY
from vi_airflow_provider import get_provider_info
from vi_airflow_provider.api.settings import EXTRA_FIELDS, ViSettings
from vi_airflow_provider.hooks.vi import ViHook

INFO: Final = get_provider_info()
(CONNECTION,) = INFO["connection-types"]
FORM: Final[dict[str, Any]] = CONNECTION["conn-fields"]
DEFAULTS: Final = ViSettings(organization_id=ORGANIZATION_ID, secret_key=SECRET_KEY)


def test_airflow_accepts_it() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


def test_airflow_finds_it() -> None:
    (entry_point,) = entry_points(group="apache_airflow_provider", name="provider_info").select(
        module="vi_airflow_provider"
    )
    assert entry_point.load()() == INFO
    assert entry_point.dist is not None
    assert INFO["package-name"] == entry_point.dist.name


def test_provider_info_is_a_new_object_each_time() -> None:
    get_provider_info()["connection-types"][0]["conn-fields"].clear()
    assert get_provider_info() == INFO


def named_modules() -> list[str]:
    listed = [entry for key in ("hooks", "operators", "sensors", "triggers") for entry in INFO[key]]
    return [module for entry in listed for module in entry["python-modules"]]


@pytest.mark.parametrize("module", named_modules())
def test_a_module_that_it_names_exists(module: str) -> None:
    assert importlib.import_module(module).__doc__


def public_classes() -> set[type]:
    """The tasks, hooks and triggers that the package defines, except for what they are made of."""
    package = Path(vi_airflow_provider.__file__).parent
    kinds = (BaseOperator, BaseHook, BaseTrigger)
    found = set()
    for folder in ("hooks", "operators", "sensors", "triggers"):
        for file in (package / folder).glob("*.py"):
            module = importlib.import_module(f"{vi_airflow_provider.__name__}.{folder}.{file.stem}")
            own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
            found |= {value for value in own if isinstance(value, type) and issubclass(value, kinds)}
    return {value for value in found if not any(value in other.__bases__ for other in found)}


def test_every_public_class_can_be_imported_from_a_module_that_it_names() -> None:
    named = [vars(importlib.import_module(module)).values() for module in named_modules()]
    assert {value.__name__ for value in public_classes() if not any(value in values for values in named)} == set()


@pytest.mark.parametrize("path", [CONNECTION["hook-class-name"], *INFO["extra-links"]])
def test_a_class_that_it_names_exists(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert isinstance(getattr(importlib.import_module(module), name), type)


def test_every_integration_that_it_uses_is_described() -> None:
    described = {integration["integration-name"] for integration in INFO["integrations"]}
    used = {entry["integration-name"] for key in ("hooks", "operators", "sensors", "triggers") for entry in INFO[key]}
    assert used == described


# --- the form of the connection ------------------------------------------------------------------------------------


def test_the_connection_is_that_of_the_hook() -> None:
    assert CONNECTION["connection-type"] == ViHook.conn_type == "vi"
    assert CONNECTION["hook-name"] == ViHook.hook_name == "Datature Vi"
    assert CONNECTION["hook-class-name"] == f"{ViHook.__module__}.{ViHook.__qualname__}"
    assert (ViHook.conn_name_attr, ViHook.default_conn_name) == ("vi_conn_id", "vi_default")


def test_the_form_has_a_field_for_every_setting_of_the_extra() -> None:
    assert tuple(FORM) == EXTRA_FIELDS


#: As JSON Schema calls the types of the settings.
TYPES: Final = {
    "int": "integer",
    "int | None": "integer",
    "float": "number",
    "bool": "boolean",
    "str | None": "string",
    "str": "string",
}


@pytest.mark.parametrize("name", EXTRA_FIELDS)
def test_a_field_may_be_left_empty_and_has_the_type_of_its_setting(name: str) -> None:
    types = {field.name: field.type for field in dataclasses.fields(ViSettings)}
    expected = TYPES.get(str(types[name]), "string")  # `verify` is a flag or a path, so a text
    assert FORM[name]["schema"]["type"] == [expected, "null"]
    assert "default" not in FORM[name]["schema"], "an empty field follows the provider's default, also a later one"


@pytest.mark.parametrize("name", EXTRA_FIELDS)
def test_a_field_shows_the_default_of_its_setting(name: str) -> None:
    placeholder = CONNECTION["ui-field-behaviour"]["placeholders"].get(name)
    default = getattr(DEFAULTS, name)
    if default in (None, False):
        assert placeholder is None
        assert "Default" not in FORM[name]["description"]
    else:
        read = ViSettings.from_extra({name: placeholder}, organization_id=ORGANIZATION_ID, secret_key=SECRET_KEY)
        assert getattr(read, name) == default
        assert FORM[name]["description"].endswith(f"Default: {placeholder}")


def test_the_default_endpoint_is_shown() -> None:
    assert CONNECTION["ui-field-behaviour"]["placeholders"]["host"] == DEFAULTS.endpoint


def test_a_proxy_is_hidden_because_it_may_hold_a_password() -> None:
    assert {name for name, field in FORM.items() if field["schema"].get("format") == "password"} == {"proxy"}


def test_the_hook_describes_the_standard_fields_alike() -> None:
    behaviour = CONNECTION["ui-field-behaviour"]
    assert ViHook.get_ui_field_behaviour() == {
        "hidden_fields": behaviour["hidden-fields"],
        "relabeling": behaviour["relabeling"],
        "placeholders": behaviour["placeholders"],
    }


def test_a_hidden_field_is_one_that_the_hook_does_not_need() -> None:
    assert set(CONNECTION["ui-field-behaviour"]["hidden-fields"]) == {"port", "schema"}
    assert set(CONNECTION["ui-field-behaviour"]["relabeling"]) == {"host", "login", "password"}


def test_the_hook_describes_the_fields_of_the_extra_alike() -> None:
    pytest.importorskip("flask_appbuilder", reason="Airflow 3 builds the form from provider info alone")
    from wtforms import BooleanField, Form, IntegerField, PasswordField, StringField
    from wtforms.validators import Optional

    kinds = {"boolean": BooleanField, "integer": IntegerField, "number": StringField, "string": StringField}
    widgets = ViHook.get_connection_form_widgets()
    assert list(widgets) == list(FORM)
    form = type("ConnectionForm", (Form,), widgets)()
    for name, described in FORM.items():
        field, schema = form[name], described["schema"]
        assert (field.label.text, field.description) == (described["label"], described["description"])
        assert type(field) is (PasswordField if schema.get("format") == "password" else kinds[schema["type"][0]])
        if type(field) not in (BooleanField, PasswordField):
            assert any(isinstance(validator, Optional) for validator in field.validators), "an empty field is allowed"
    assert form.validate(), form.errors
