"""What changed between two exports, as pure functions.

What counts is what a flow trains and how it is labeled: its canonical spec and its attributes. Layout, times,
generations and etags do not count. ``python -m vi_airflow_provider.audit`` verifies and compares exports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from vi_airflow_provider.api.canonical import canonical_json, comparable
from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.audit.merge import merge_by_id

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Flow

#: How a flow of one export relates to the other export.
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
class FlowRef:
    """The id and name of a flow."""

    flow_id: str
    name: str


@dataclass(frozen=True)
class ChangedFlow(FlowRef):
    """A flow that both exports have, with different content."""

    changes: list[Change]


@dataclass(frozen=True)
class Diff:
    """What changed from an old export to a new one; each collection is sorted by flow id."""

    added: Collection[FlowRef] = field(default_factory=list)
    removed: Collection[FlowRef] = field(default_factory=list)
    changed: Collection[ChangedFlow] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def counts(self) -> dict[Kind, int]:
        """Return the number of flows of each kind."""
        return {kind: len(getattr(self, kind)) for kind in get_args(Kind)}

    def as_json(self) -> dict[str, Any]:
        """Return the diff as JSON data."""
        return {kind: [asdict(flow) for flow in getattr(self, kind)] for kind in get_args(Kind)}

    def lines(self) -> Iterator[str]:
        """Yield the diff as text for a person, without control characters, whatever a flow's name contains."""
        for sign, flows in (("+", self.added), ("-", self.removed)):
            for flow in flows:
                yield one_line(f"{sign} {flow.flow_id}  {flow.name}")
        for flow in self.changed:
            yield one_line(f"~ {flow.flow_id}  {flow.name}")
            for change in flow.changes:
                yield f"    {one_line(str(change))}"


def diff_exports(old: Iterable[Flow], new: Iterable[Flow]) -> Diff:
    """Compare two exports, each sorted by flow id, and collect what :func:`compare` yields."""
    found: dict[Kind, list[Any]] = {kind: [] for kind in get_args(Kind)}
    for kind, flow in compare(old, new):
        found[kind].append(flow)
    return Diff(**found)


def compare(old: Iterable[Flow], new: Iterable[Flow]) -> Iterator[tuple[Kind, FlowRef]]:
    """Yield what changed, in the order of the flow ids; a ``changed`` flow is a :class:`ChangedFlow`.

    The exports are read side by side, so neither is held in memory.

    :raises ValueError: one of them is not sorted by flow id, or has a flow twice
    """
    for flow_id, before, after in merge_by_id(_by_id(old), _by_id(new)):
        if before is None:
            assert after is not None  # noqa: S101 - an id comes from at least one side
            yield "added", FlowRef(flow_id, after.spec.name)
        elif after is None:
            yield "removed", FlowRef(flow_id, before.spec.name)
        elif changes := list(diff_values(comparable(before.to_wire()), comparable(after.to_wire()))):
            yield "changed", ChangedFlow(flow_id, after.spec.name, changes)


def _by_id(flows: Iterable[Flow]) -> Iterator[tuple[str, Flow]]:
    return ((flow.flow_id, flow) for flow in flows)


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
