"""The asset scheme ``vi://``, as each version of Airflow finds and uses it."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import Asset
from airflow.providers_manager import ProvidersManager

from vi_airflow_provider.assets import convert_asset_to_openlineage, create_asset, flow_uri, sanitize_uri

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
        ("vi://Acme_Vision/flows/A-b_C", "vi://Acme_Vision/flows/A-b_C"),
        ("vi://5b1d7c1e-2f64-4a0b-9a55-0c6f2f1f7a10/flows", "vi://5b1d7c1e-2f64-4a0b-9a55-0c6f2f1f7a10/flows"),
    ],
)
def test_a_uri_has_one_form(given: str, kept: str) -> None:
    assert sanitize_uri(urlsplit(given)).geturl() == kept
    assert Asset(uri=given, name="n").uri == kept


WRONG: Final = [
    "vi://acme-vision",
    "vi://acme-vision/",
    "vi://acme-vision/runs",
    "vi://acme-vision/flows/a/b",
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
def test_no_other_uri_is_accepted(uri: str) -> None:
    with pytest.raises(ValueError, match="must be vi://<organization id>/flows"):
        sanitize_uri(urlsplit(uri))


def test_a_secret_in_a_uri_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        sanitize_uri(urlsplit("vi://user:secret@acme-vision/flows"))
    assert "secret" not in str(caught.value)


def test_airflow_finds_the_scheme() -> None:
    manager: Any = ProvidersManager()
    kind = "asset" if hasattr(manager, "asset_uri_handlers") else "dataset"
    assert getattr(manager, f"{kind}_uri_handlers")["vi"] is sanitize_uri
    assert getattr(manager, f"{kind}_factories")["vi"] is create_asset
    assert getattr(manager, f"{kind}_to_openlineage_converters")["vi"] is convert_asset_to_openlineage


def test_an_asset_carries_what_it_is_given() -> None:
    assert create_asset(organization_id="o", extra={"team": "x"}).extra == {"team": "x"}
    assert create_asset(organization_id="o").extra == {}


@pytest.mark.parametrize(("uri", "name"), [(ALL, "flows"), (ONE, "flows/flow_abc123")])
def test_lineage_knows_a_flow_by_its_organization_and_id(uri: str, name: str) -> None:
    pytest.importorskip("airflow.providers.openlineage")
    dataset = convert_asset_to_openlineage(Asset(uri=uri, name="n"), None)
    assert (dataset.namespace, dataset.name) == ("vi://acme-vision", name)
