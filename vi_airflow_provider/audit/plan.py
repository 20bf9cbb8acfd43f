"""What an export is asked to do: its arguments, checked before anything is read or written."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, Self

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.selection.arguments import boolean, choice, optional_count, optional_text
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.selection.run_filter import RunFilter
from vi_airflow_provider.storage.urls import refuse_folder, resolve_destination, resolve_file

FORMATS: Final = ("jsonl", "csv", "parquet")
#: The format that a suffix of the destination implies, if none is given.
_IMPLIED: Final = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}


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
            optional_count("page_size", page_size),
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
    ) -> Self:
        """Check the arguments of an export, which may come from templates.

        :raises ViValidationError: an argument is unusable; the message names it
        """
        target = resolve_file("destination", destination)
        plan = cls(
            target=target,
            format=_format(format, target.name),
            compare_to=optional_text("compare_to", compare_to),
            fail_on_drift=boolean("fail_on_drift", fail_on_drift),
            html_report=boolean("html_report", html_report),
            csv_bom=boolean("csv_bom", csv_bom),
            selection=selection,
        )
        plan._check_format()
        plan._check_comparison()
        refuse_folder("destination", target)  # the manifest would be written, and then the file could not be
        return plan

    def _check_format(self) -> None:
        if self.format != "parquet":
            return
        if importlib.util.find_spec("pyarrow") is None:
            raise ViValidationError("format: parquet needs pyarrow: install vi-airflow-provider[parquet]")
        if self.compressed:
            raise ViValidationError("destination: a parquet file is compressed internally, so remove .gz")

    def _check_comparison(self) -> None:
        if self.compare_to not in (None, "previous"):
            resolve_destination("compare_to", self.compare_to)
        if self.compare_to is not None and self.format != "jsonl":
            raise ViValidationError('compare_to: only exports with format="jsonl" can be compared')
        if self.fail_on_drift and self.compare_to is None:
            raise ViValidationError("fail_on_drift: give compare_to, too; there is no drift without a comparison")


def _format(given: Any, name: str) -> str:
    """Return the format that is given, or that the name of the file implies."""
    suffix = PurePosixPath(name.lower().removesuffix(".gz")).suffix
    implied = _IMPLIED.get(suffix)
    if given is None:
        return implied or "jsonl"
    chosen = choice("format", given, FORMATS)
    if implied not in (None, chosen):
        raise ViValidationError(
            f"format: {chosen!r} contradicts {suffix} at the end of destination; change one of them"
        )
    return chosen
