"""Flows and their models as Airflow assets.

``vi://<organization id>/flows/<flow id>`` is a flow, ``…/flows`` all flows of an organization, and
``…/flows/<flow id>/models`` the models that are trained of a flow.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import Asset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from urllib.parse import SplitResult

    from airflow.providers.common.compat.openlineage.facet import Dataset

_NAME_REFERENCE: tuple[type, ...] = ()
with suppress(ImportError):  # Airflow 2 has no references
    from airflow.sdk.definitions.asset import AssetNameRef

    _NAME_REFERENCE = (AssetNameRef,)

_ORGANIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
_PATH = re.compile(r"/flows(/[A-Za-z0-9_-]{1,255}(/models)?)?")


def flow_uri(organization_id: str, flow_id: str | None = None) -> str:
    """Return the URI of a flow, or of all flows of an organization."""
    return f"vi://{organization_id}/flows" + (f"/{flow_id}" if flow_id else "")


def models_uri(organization_id: str, flow_id: str) -> str:
    """Return the URI of the models of a flow."""
    return f"{flow_uri(organization_id, flow_id)}/models"


def create_asset(
    *, organization_id: str, flow_id: str | None = None, models: bool = False, extra: dict[str, Any] | None = None
) -> Asset:
    """Create the asset of a flow, of its models, or of all flows of an organization (factory of the scheme ``vi``).

    :raises ValueError: models of no flow
    """
    if not models:
        return Asset(uri=flow_uri(organization_id, flow_id), extra=extra)
    if not flow_id:
        raise ValueError("models: give the flow_id of the flow that is trained")
    return Asset(uri=models_uri(organization_id, flow_id), extra=extra)


def is_of_models(asset: object) -> bool:
    """Return whether an outlet is the asset of the models of a flow."""
    uri = urlsplit(str(getattr(asset, "uri", "")))
    return uri.scheme == "vi" and uri.path.rstrip("/").endswith("/models") and uri.path.count("/") > 2


def may_be_of_models(outlet: object) -> bool:
    """Return whether an outlet is the asset of the models of a flow, or a name, which can mean any asset."""
    return is_of_models(outlet) or isinstance(outlet, _NAME_REFERENCE)


def events_of(outlets: Iterable[Any], context: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the event of each outlet that is an asset or a reference to one; an alias has none of its own.

    :param context: the context of the task, with ``outlet_events`` where Airflow has them
    """
    events: Any = context.get("outlet_events")
    for outlet in outlets if events is not None else ():
        if hasattr(outlet, "uri") or isinstance(outlet, _NAME_REFERENCE):
            yield events[outlet]


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the URI without trailing slashes.

    :raises ValueError: the URI does not have the form of this scheme
    """
    path = uri.path.rstrip("/")
    if not _ORGANIZATION.fullmatch(uri.netloc) or not _PATH.fullmatch(path) or uri.query or uri.fragment:
        raise ValueError("URI format vi:// must be vi://<organization id>/flows, …/flows/<flow id> or …/models")
    return uri._replace(path=path)


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """Return the OpenLineage dataset of an asset: the organization is its namespace."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=f"vi://{uri.netloc}", name=uri.path.lstrip("/"))
