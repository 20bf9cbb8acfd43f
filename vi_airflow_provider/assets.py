"""Flows as Airflow assets: ``vi://<organization id>/flows/<flow id>``, or ``…/flows`` for a whole organization."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import Asset

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.providers.common.compat.openlineage.facet import Dataset

_ORGANIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
_PATH = re.compile(r"/flows(/[A-Za-z0-9_-]{1,255})?")


def flow_uri(organization_id: str, flow_id: str | None = None) -> str:
    """Return the URI of a flow, or of all flows of an organization."""
    return f"vi://{organization_id}/flows" + (f"/{flow_id}" if flow_id else "")


def create_asset(*, organization_id: str, flow_id: str | None = None, extra: dict[str, Any] | None = None) -> Asset:
    """Create the asset of a flow, or of all flows of an organization (factory of the scheme ``vi``)."""
    return Asset(uri=flow_uri(organization_id, flow_id), extra=extra)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the URI without trailing slashes.

    :raises ValueError: the URI does not have the form of this scheme
    """
    path = uri.path.rstrip("/")
    if not _ORGANIZATION.fullmatch(uri.netloc) or not _PATH.fullmatch(path) or uri.query or uri.fragment:
        raise ValueError("URI format vi:// must be vi://<organization id>/flows or …/flows/<flow id>")
    return uri._replace(path=path)


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """Return the OpenLineage dataset of an asset: the organization is its namespace."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=f"vi://{uri.netloc}", name=uri.path.lstrip("/"))
