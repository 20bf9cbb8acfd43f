"""What changed between two exports of flows: canonical form, digest and diff, as pure functions.

What counts is what a flow trains and how it is labelled: its canonical spec and its attributes. Layout, times,
generations and etags do not count. ``python -m vi_airflow_provider.audit`` checks and compares exports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from vi_airflow_provider.api.canonical import canonical_json, comparable
from vi_airflow_provider.api.errors import one_line

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Flow

#: How a flow of one export relates to the other.
Kind = Literal["added", "removed", "changed"]
#: Stands for a value that one of the two sides does not have; JSON has no such value.
ABSENT: Final = "(absent)"
#: A key that a path can show as it is; any other is quoted, so that a path means one place.
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
    """Which flow is meant."""

    flow_id: str
    name: str


@dataclass(frozen=True)
class ChangedFlow(FlowRef):
    """A flow that is in both exports, and not the same."""

    changes: list[Change]


@dataclass(frozen=True)
class Diff:
    """What changed from an old export to a new one; each collection is sorted by flow id."""

    added: Collection[FlowRef] = field(default_factory=list)
    removed: Collection[FlowRef] = field(default_factory=list)
    changed: Collection[ChangedFlow] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def as_json(self) -> dict[str, Any]:
        """Return the diff as JSON data."""
        return {kind: [asdict(flow) for flow in getattr(self, kind)] for kind in get_args(Kind)}

    def lines(self) -> Iterator[str]:
        """Yield the diff for a person to read, without control characters, whatever a flow is called."""
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
    """Yield what changed, in the order of the flow ids; what ``changed`` is a :class:`ChangedFlow`.

    The exports are read side by side, so neither is held in memory.

    :raises ValueError: one of them is not sorted by flow id, or names a flow twice
    """
    olds, news = _sorted(old), _sorted(new)
    before, after = next(olds, None), next(news, None)
    while before is not None or after is not None:
        if after is None or (before is not None and before.flow_id < after.flow_id):
            assert before is not None  # noqa: S101 - the loop's condition
            yield "removed", FlowRef(before.flow_id, before.spec.name)
            before = next(olds, None)
        elif before is None or after.flow_id < before.flow_id:
            yield "added", FlowRef(after.flow_id, after.spec.name)
            after = next(news, None)
        else:
            if changes := list(diff_values(comparable(before.to_wire()), comparable(after.to_wire()))):
                yield "changed", ChangedFlow(after.flow_id, after.spec.name, changes)
            before, after = next(olds, None), next(news, None)


def diff_values(old: Any, new: Any, path: str = "") -> Iterator[Change]:
    """Yield what differs between two JSON values, with the path of each difference, in a stable order.

    Lists are compared place by place. ``1`` and ``1.0`` are the same number; ``1`` and ``true`` are not the same.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _diff_member(old, new, key, _below(path, key))
    elif isinstance(old, list) and isinstance(new, list):
        olds, news = dict(enumerate(old)), dict(enumerate(new))
        for index in range(max(len(old), len(new))):
            yield from _diff_member(olds, news, index, f"{path}[{index}]")
    elif isinstance(old, bool) != isinstance(new, bool) or (old != new and _text(old) != _text(new)):
        # NaN is not equal to itself, and yet nothing has changed.
        yield Change(path, _text(old), _text(new))


def _diff_member(old: Mapping[Any, Any], new: Mapping[Any, Any], key: Any, path: str) -> Iterator[Change]:
    if key not in old:
        yield Change(path, ABSENT, _text(new[key]))
    elif key not in new:
        yield Change(path, _text(old[key]), ABSENT)
    else:
        yield from diff_values(old[key], new[key], path)


def _below(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else key


def _text(value: Any) -> str:
    return canonical_json(value).decode("utf-8", "replace")


def _sorted(flows: Iterable[Flow]) -> Iterator[Flow]:
    last = None
    for flow in flows:
        if last is not None and flow.flow_id <= last:
            raise ValueError(f"the export is not sorted by flow id: {flow.flow_id!r:.80} follows {last!r:.80}")
        last = flow.flow_id
        yield flow
