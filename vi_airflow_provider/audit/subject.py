"""What an export is of: flows or runs. All that differs between the two is here; no other module distinguishes them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from vi_airflow_provider.api.canonical import canonical_json, comparable
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.api.models.document import Document
from vi_airflow_provider.api.protocol.whole_flow import parse_stored_flow
from vi_airflow_provider.audit.manifest import EXPORT, RUN_EXPORT
from vi_airflow_provider.audit.run_record import RunRecord, comparable_run
from vi_airflow_provider.audit.run_table import RUN_TABLE
from vi_airflow_provider.audit.tabular import FLOW_TABLE, Table
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.selection.run_filter import RunFilter

if TYPE_CHECKING:
    from vi_airflow_provider.storage.manifest import ManifestKind

D = TypeVar("D", bound=Document)


class Forms(Protocol):
    """What an export stores of a document."""

    def text(self) -> bytes:
        """Return the document as canonical JSON."""
        ...

    def fingerprint(self) -> str:
        """Return the hexadecimal sha256 of what counts in a comparison."""
        ...


@dataclass(frozen=True)
class Subject(Generic[D]):
    """A kind of document that can be exported.

    :param id_of: returns the id of a document
    :param parse: reads a line of an export
    :param name_of: returns the name by which a person knows a document
    :param forms: returns what computes the canonical text and the fingerprint of a document
    :param comparable: returns what counts in a comparison, from the wire form
    """

    noun: str
    id_of: Callable[[D], str]
    manifest: ManifestKind
    parse: Callable[[bytes], D]
    filter: type[FlowFilter] | type[RunFilter]
    table: Table[D]
    name_of: Callable[[D], str]
    forms: Callable[[D], Forms]
    comparable: Callable[[dict[str, Any]], dict[str, Any]]


class _RunForms:
    def __init__(self, run: RunRecord) -> None:
        self._wire = run.to_wire()

    def text(self) -> bytes:
        return canonical_json(self._wire)

    def fingerprint(self) -> str:
        return hashlib.sha256(canonical_json(comparable_run(self._wire))).hexdigest()


FLOWS: Final[Subject[Flow]] = Subject(
    "flow",
    attrgetter("flow_id"),
    EXPORT,
    parse_stored_flow,
    FlowFilter,
    FLOW_TABLE,
    lambda flow: flow.spec.name,
    Flow.canonical_forms,
    comparable,
)
RUNS: Final[Subject[RunRecord]] = Subject(
    "run",
    attrgetter("run_id"),
    RUN_EXPORT,
    RunRecord.model_validate_json,
    RunFilter,
    RUN_TABLE,
    lambda run: run.spec.flow.name,
    _RunForms,
    comparable_run,
)
