"""The asset scheme ``vi://``, as each version of Airflow finds and uses it."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import Asset

from vi_airflow_provider import get_provider_info
from vi_airflow_provider.assets import convert_asset_to_openlineage, create_asset, flow_uri, is_of_models, sanitize_uri

AIRFLOW_3: Final = not airflow_version.startswith("2.")
ALL: Final = "vi://acme-vision/flows"
ONE: Final = "vi://acme-vision/flows/flow_abc123"


@pytest.mark.parametrize(("flow_id", "uri"), [(None, ALL), ("flow_abc123", ONE)])
def test_flows_have_a_uri(flow_id: str | None, uri: str) -> None:
    assert flow_uri("acme-vision", flow_id) == uri
    assert create_asset(organization_id="acme-vision", flow_id=flow_id).uri == uri


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (ALL, ALL),
        (ALL + "/", ALL),
        (ONE, ONE),
        (ONE + "/", ONE),
        (ONE + "/models/", ONE + "/models"),
        ("vi://acme-vision/flows/models", "vi://acme-vision/flows/models"),
        ("vi://Acme_Vision/flows/A-b_C", "vi://Acme_Vision/flows/A-b_C"),
        ("vi://5b1d7c1e-2f64-4a0b-9a55-0c6f2f1f7a10/flows", "vi://5b1d7c1e-2f64-4a0b-9a55-0c6f2f1f7a10/flows"),
    ],
)
def test_a_uri_has_one_form(given: str, kept: str) -> None:
    assert sanitize_uri(urlsplit(given)).geturl() == kept
    assert Asset(uri=given).uri == kept  # through Airflow


WRONG: Final = [
    "vi://acme-vision",
    "vi://acme-vision/",
    "vi://acme-vision/runs",
    "vi://acme-vision/flows/a/b",
    "vi://acme-vision/flows/a/models/b",
    "vi://acme-vision/flows//models",
    "vi://acme-vision/flows/a b",
    "vi://acme-vision/flows/..",
    "vi://acme-vision/Flows",
    "vi:///flows",
    "vi://-acme/flows",
    "vi://acme.vision/flows",
    "vi://acme-vision:443/flows",
    "vi://user:secret@acme-vision/flows",
    "vi://acme-vision/flows?name=x",
    "vi://acme-vision/flows#a",
    f"vi://{'a' * 256}/flows",
]


@pytest.mark.parametrize("uri", WRONG)
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="must be vi://<organization id>/flows"):
        sanitize_uri(urlsplit(uri))


def test_a_secret_in_a_uri_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        sanitize_uri(urlsplit("vi://user:secret@acme-vision/flows"))
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 only logs the error of a sanitizer")
@pytest.mark.parametrize("uri", WRONG[:3])
def test_airflow_refuses_an_asset_with_another_uri(uri: str) -> None:
    with pytest.raises(ValueError, match="must be vi://"):
        Asset(uri=uri)


def test_airflow_creates_an_asset_from_reported_lineage() -> None:
    kwargs: dict[str, Any] = {"organization_id": "acme-vision", "flow_id": "flow_abc123"}
    extra: dict[str, Any] = {"team": "x"}
    collector: Any
    try:
        lineage = importlib.import_module("airflow.sdk.lineage")
    except ImportError:  # before 3.1
        lineage = importlib.import_module("airflow.lineage.hook")
    collector = lineage.HookLineageCollector()
    if AIRFLOW_3:
        asset = collector.create_asset(scheme="vi", asset_kwargs=kwargs, asset_extra=extra)
    else:
        asset = collector.create_dataset("vi", None, kwargs, extra)
    assert (asset.uri, asset.extra) == (ONE, extra)


def test_both_airflow_majors_get_the_same_description_of_the_scheme() -> None:
    info = get_provider_info()
    assert info["asset-uris"] == info["dataset-uris"]
    (described,) = info["asset-uris"]
    functions = {
        "handler": sanitize_uri,
        "factory": create_asset,
        "to_openlineage_converter": convert_asset_to_openlineage,
    }
    paths = {key: f"{function.__module__}.{function.__name__}" for key, function in functions.items()}
    assert described == {"schemes": ["vi"], **paths}


@pytest.mark.parametrize(("uri", "name"), [(ALL, "flows"), (ONE, "flows/flow_abc123")])
def test_lineage_identifies_a_flow_by_organization_and_id(uri: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facet = SimpleNamespace(Dataset=lambda namespace, name: (namespace, name))
    monkeypatch.setitem(sys.modules, "airflow.providers.common.compat.openlineage.facet", facet)
    dataset: Any = convert_asset_to_openlineage(Asset(uri=uri), None)
    assert dataset == ("vi://acme-vision", name)


def test_models_of_a_flow_have_a_uri() -> None:
    assert create_asset(organization_id="acme-vision", flow_id="flow_abc123", models=True).uri == f"{ONE}/models"
    with pytest.raises(ValueError, match="flow_id"):
        create_asset(organization_id="acme-vision", models=True)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [(f"{ONE}/models", True), (ONE, False), ("vi://acme-vision/flows/models", False), ("s3://bucket/a/models", False)],
)
def test_assets_of_models_are_told_from_others(uri: str, expected: bool) -> None:
    assert is_of_models(SimpleNamespace(uri=uri)) is expected
    assert not is_of_models(object())
