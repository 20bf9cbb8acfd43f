"""What changed between two exports, as pure functions.

Of a flow, what it trains and how it is labeled counts: its canonical spec and its attributes. Of a run, its state and
its checkpoints count, too. Layout, times, generations and etags do not count.
``python -m vi_airflow_provider.audit`` verifies and compares exports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.audit.merge import merge_by_id
from vi_airflow_provider.audit.subject import FLOWS, D, Subject

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Flow

#: How a document of one export relates to the other export.
Kind = Literal["added", "removed", "changed"]
#: Stands for a value that one of the two sides lacks; JSON has no such value.
ABSENT: Final = "(absent)"
#: A key that a path can show unquoted. Any other key is quoted, so that a path is unambiguous.
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)


@dataclass(frozen=True)
class Change:
    """One value that differs. ``old`` and ``new`` are JSON text, or ``(absent)``."""

    path: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}: {self.old} → {self.new}"


@dataclass(frozen=True)
class Ref:
    """The id of a document, and the name by which a person knows it: of a run, that of its flow."""

    id: str
    name: str

    def as_json(self, noun: str) -> dict[str, Any]:
        """Return it as JSON data."""
        return {f"{noun}_id": self.id, "name": self.name}


@dataclass(frozen=True)
class Removed(Ref):
    """A document that only the old export has, as it was there, in its wire form."""

    last: dict[str, Any]


@dataclass(frozen=True)
class Changed(Ref):
    """A document that both exports have, with different content."""

    changes: list[Change]

    def as_json(self, noun: str) -> dict[str, Any]:
        """Return it as JSON data."""
        return {**super().as_json(noun), "changes": [vars(change) for change in self.changes]}


@dataclass(frozen=True)
class Diff:
    """What changed from an old export to a new one; each collection is sorted by id."""

    added: Collection[Ref] = field(default_factory=list)
    removed: Collection[Removed] = field(default_factory=list)
    changed: Collection[Changed] = field(default_factory=list)
    #: What the exports are of, in the singular.
    noun: str = "flow"

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def counts(self) -> dict[Kind, int]:
        """Return the number of documents of each kind."""
        return {kind: len(getattr(self, kind)) for kind in get_args(Kind)}

    def as_json(self) -> dict[str, Any]:
        """Return the diff as JSON data."""
        return {kind: [each.as_json(self.noun) for each in getattr(self, kind)] for kind in get_args(Kind)}

    def lines(self) -> Iterator[str]:
        """Yield the diff as text for a person, without control characters, whatever a name contains."""
        for sign, documents in (("+", self.added), ("-", self.removed)):
            for each in documents:
                yield one_line(f"{sign} {each.id}  {each.name}")
        for changed in self.changed:
            yield one_line(f"~ {changed.id}  {changed.name}")
            for change in changed.changes:
                yield f"    {one_line(str(change))}"


def diff_exports(old: Iterable[Flow], new: Iterable[Flow]) -> Diff:
    """Compare two exports of flows, each sorted by id, and collect what :func:`compare` yields."""
    found: dict[Kind, list[Any]] = {kind: [] for kind in get_args(Kind)}
    for kind, document in compare(old, new, FLOWS):
        found[kind].append(document)
    return Diff(found["added"], found["removed"], found["changed"])


def compare(old: Iterable[D], new: Iterable[D], subject: Subject[D]) -> Iterator[tuple[Kind, Ref]]:
    """Yield what changed, in the order of the ids: a :class:`Ref`, a :class:`Removed` or a :class:`Changed`.

    The exports are read side by side, so neither is held in memory. A part of the documents that only one of the
    exports has, such as the checkpoints of runs, is not compared.

    :raises ValueError: one of them is not sorted by id, or has a document twice
    """

    def by_id(documents: Iterable[D]) -> Iterator[tuple[str, D]]:
        return ((subject.id_of(document), document) for document in documents)

    for document_id, before, after in merge_by_id(by_id(old), by_id(new)):
        if before is None:
            assert after is not None  # noqa: S101 - an id comes from at least one side
            yield "added", Ref(document_id, subject.name_of(after))
        elif after is None:
            yield "removed", Removed(document_id, subject.name_of(before), before.to_wire())
        elif subject.forms(before).fingerprint() != subject.forms(after).fingerprint():  # most have not changed
            olds, news = (subject.comparable(document.to_wire()) for document in (before, after))
            shared = olds.keys() & news.keys()
            olds, news = ({key: each[key] for key in shared} for each in (olds, news))
            changes = list(diff_values(olds, news))
            if changes:
                yield "changed", Changed(document_id, subject.name_of(after), changes)


def diff_values(old: Any, new: Any, path: str = "") -> Iterator[Change]:
    """Yield the differences between two JSON values, each with its path, in a stable order.

    Lists are compared by position. ``1`` and ``1.0`` are the same number; ``1`` and ``true`` are different values.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _diff_member(old, new, key, _child_path(path, key))
    elif isinstance(old, list) and isinstance(new, list):
        olds, news = dict(enumerate(old)), dict(enumerate(new))
        for index in range(max(len(old), len(new))):
            yield from _diff_member(olds, news, index, f"{path}[{index}]")
    elif isinstance(old, bool) != isinstance(new, bool) or (old != new and _text(old) != _text(new)):
        # NaN does not equal itself, so texts are compared, too.
        yield Change(path, _text(old), _text(new))


def _diff_member(old: Mapping[Any, Any], new: Mapping[Any, Any], key: Any, path: str) -> Iterator[Change]:
    if key not in old:
        yield Change(path, ABSENT, _text(new[key]))
    elif key not in new:
        yield Change(path, _text(old[key]), ABSENT)
    else:
        yield from diff_values(old[key], new[key], path)


def _child_path(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else key


def _text(value: Any) -> str:
    return canonical_json(value).decode("utf-8", "replace")
