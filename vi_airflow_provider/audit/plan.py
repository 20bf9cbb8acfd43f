"""What an export is to do: its arguments, checked before anything is read or written."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.selection.arguments import boolean, optional_count
from vi_airflow_provider.selection.combinations import comparison, export_format
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.selection.run_filter import RunFilter
from vi_airflow_provider.storage.manifest import ManifestKind, kind_at, kind_beside
from vi_airflow_provider.storage.places import earlier_export
from vi_airflow_provider.storage.urls import refuse_folder, resolve_destination, resolve_file


@dataclass(frozen=True)
class Selection:
    """Which documents an export contains.

    :param criteria: the filter and the limit as JSON data, for the manifest
    """

    wanted: FlowFilter | RunFilter
    limit: int | None
    page_size: int | None
    criteria: Mapping[str, Any]

    @classmethod
    def build(
        cls, criteria: Mapping[str, Any], page_size: Any, filter_type: type[FlowFilter] | type[RunFilter] = FlowFilter
    ) -> Self:
        """Check the arguments.

        :param criteria: the arguments of the filter, and maybe ``limit``
        :raises ViValidationError: an argument is unusable; the message names it
        """
        filters = {name: value for name, value in criteria.items() if name != "limit"}
        return cls(
            filter_type.build(**filters),
            optional_count("limit", criteria.get("limit")),
            optional_count("page_size", page_size, 1),
            json.loads(json.dumps(criteria, default=str)),
        )

    @property
    def wants_all(self) -> bool:
        """Whether there is no filter."""
        return self.wanted == type(self.wanted)()

    def is_that_of(self, criteria: Mapping[str, Any]) -> bool:
        """Return whether the criteria in a manifest select the same documents, however they are spelled."""
        return select_the_same(type(self.wanted), criteria, self.criteria)


def select_the_same(filter_type: type[FlowFilter] | type[RunFilter], *criteria: Mapping[str, Any]) -> bool:
    """Return whether two criteria of manifests select the same documents, however they are spelled."""
    if criteria[0] == criteria[1]:
        return True
    try:
        one, other = (Selection.build(each, None, filter_type) for each in criteria)
    except ViValidationError:
        return False
    return (one.wanted, one.limit) == (other.wanted, other.limit)


def selection_caveat(noun: str, *exports: tuple[str, Mapping[str, Any]]) -> str:
    """Return what to know about a comparison of exports with different criteria, given the names of both."""
    return " ".join(
        (
            f"The exports have different selections: a {noun} that only one of them covers counts as added or removed.",
            *(f"{name}: {describe(criteria) or f'all {noun}s'}." for name, criteria in exports),
        )
    )


def organization_caveat(name: str, organization_id: str) -> str:
    """Return what to know about a comparison with the export of another organization."""
    return f"{name} is an export of another organization, {organization_id!r:.200}."


def describe(criteria: Mapping[str, Any]) -> str:
    """Return a selection as text for a person; empty for all documents."""
    return ", ".join(f"{name}={value!r}" for name, value in sorted(criteria.items()))


@dataclass(frozen=True)
class ExportPlan:
    """A checked export: what is written where, and what it is compared with."""

    target: ObjectStoragePath
    format: str
    compare_to: str | None
    fail_on_drift: bool
    html_report: bool
    csv_bom: bool
    selection: Selection

    @property
    def compressed(self) -> bool:
        """Whether the file is gzipped."""
        return self.target.name.endswith(".gz")

    @classmethod
    def build(
        cls,
        *,
        destination: Any,
        format: Any,  # noqa: A002 - the argument's name
        compare_to: Any,
        fail_on_drift: Any,
        html_report: Any,
        csv_bom: Any,
        selection: Selection,
        kind: ManifestKind,
    ) -> Self:
        """Check the arguments of an export, which may come from templates.

        :param kind: what is exported
        :raises ViValidationError: an argument is unusable; the message names it
        """
        target = resolve_file("destination", destination)
        plan = cls(
            target=target,
            format=export_format(format=format, destination=destination),
            compare_to=earlier_export("compare_to", compare_to),
            fail_on_drift=boolean("fail_on_drift", fail_on_drift),
            html_report=boolean("html_report", html_report),
            csv_bom=boolean("csv_bom", csv_bom),
            selection=selection,
        )
        comparison(compare_to=compare_to, fail_on_drift=fail_on_drift, format=format, destination=destination)
        plan._check_storage()
        refuse_folder("destination", target)  # the manifest would be written, and then the file could not be
        _refuse_other_data("destination", target, kind)
        return plan

    def _check_storage(self) -> None:
        """Check what depends on the packages that a worker has."""
        if self.format == "parquet" and importlib.util.find_spec("pyarrow") is None:
            raise ViValidationError("format: parquet needs pyarrow: install vi-airflow-provider[parquet]")
        if self.compare_to not in (None, "previous"):
            resolve_destination("compare_to", self.compare_to)


def _refuse_other_data(name: str, target: ObjectStoragePath, kind: ManifestKind) -> None:
    """Refuse to replace an archive, a manifest or an export of another kind: it may be the only copy.

    :raises ViValidationError: the target is one
    """
    if kind.is_manifest(target):
        raise ViValidationError(f"{name}: {str(target)!r:.200} is the name of a manifest")
    for other in (kind_beside(target), kind_at(kind.files(str(target)).manifest)):
        if other not in (None, kind.name):
            raise ViValidationError(f"{name}: {str(target)!r:.200} is a {other!r:.80}, which is not replaced")
