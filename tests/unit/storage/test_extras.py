"""The extras of the package name what their URLs need, and a message without the driver names the extra."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

import pytest

from tests.layers import ROOT
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.storage import urls
from vi_airflow_provider.storage.url_secrets import WITHOUT_FOLDERS

PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL: Final[dict[str, list[str]]] = PROJECT["optional-dependencies"]
#: The provider of Airflow that registers the driver of an extra. That of Amazon brings the driver with an extra only.
PROVIDERS: Final = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "gcs": "apache-airflow-providers-google",
    "azure": "apache-airflow-providers-microsoft-azure",
}


def test_each_extra_of_a_scheme_installs_the_provider_that_registers_its_driver() -> None:
    assert set(urls.EXTRAS.values()) == PROVIDERS.keys()
    for extra, provider in PROVIDERS.items():
        (requirement,) = OPTIONAL[extra]
        assert re.fullmatch(rf"{re.escape(provider)}>=[\d.]+", requirement)


def test_each_object_store_has_an_extra() -> None:
    assert urls.EXTRAS.keys() == WITHOUT_FOLDERS | {"gcs"}


def test_extra_all_contains_the_others() -> None:
    (requirement,) = OPTIONAL["all"]
    named = re.fullmatch(r"vi-airflow-provider\[(.*)\]", requirement)
    assert named
    assert set(named[1].split(",")) == OPTIONAL.keys() - {"all"}


class WithoutDriver:
    """Stands for Airflow's class when a driver is missing or fails."""

    error: Exception

    def __init__(self, _: str) -> None:
        raise self.error


@pytest.mark.parametrize(("scheme", "extra"), urls.EXTRAS.items())
def test_missing_driver_names_the_extra(scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "ObjectStoragePath", WithoutDriver)
    for error in (ValueError(f"No filesystem registered for scheme {scheme}"), ImportError("No module named 'x'")):
        monkeypatch.setattr(WithoutDriver, "error", error, raising=False)
        with pytest.raises(ViValidationError, match=rf"; install vi-airflow-provider\[{extra}\]"):
            urls.resolve_destination("archive_to", f"{scheme}://bucket/x")


def test_installed_driver_without_credentials_names_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "ObjectStoragePath", WithoutDriver)
    error = ValueError("Must provide either a connection_string or account_name with credentials")
    monkeypatch.setattr(WithoutDriver, "error", error, raising=False)
    with pytest.raises(ViValidationError, match="account_name with credentials") as raised:
        urls.resolve_destination("archive_to", "abfs://container/x")
    assert "install" not in str(raised.value)


class WithoutContainer:
    """Stands for Airflow's class with the driver of Azure, which drops the container of ``adl://``."""

    fs = None

    def __init__(self, url: str) -> None:
        self.path = "/" + url.partition("://")[2].partition("/")[2]


@pytest.mark.parametrize("scheme", urls.EXTRAS)
def test_object_store_that_drops_the_bucket_is_refused(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "ObjectStoragePath", WithoutContainer)
    with pytest.raises(ViValidationError, match=r"would be read as '/x'"):
        urls.resolve_destination("archive_to", f"{scheme}://bucket/x")
