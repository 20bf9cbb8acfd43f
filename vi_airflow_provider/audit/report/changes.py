"""The changes in the page: which documents were added or removed, and which values of the others differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from vi_airflow_provider.audit.diff import ABSENT
from vi_airflow_provider.audit.report.markup import text

if TYPE_CHECKING:
    from vi_airflow_provider.audit.diff import Change, Changed, Diff, Ref

#: A longer value is folded; the fold shows about this much of it, around the first difference.
LONG_VALUE: Final = 120
#: Up to this number, changed documents are shown unfolded.
OPEN_CHANGES: Final = 20
#: A group of changes with more documents than this scrolls in a box.
MOST_AT_ONCE: Final = 50
_ARROW: Final = '<span class="arrow" aria-hidden="true">→</span>'


def changes(compared_to: str | None, diff: Diff | None) -> Iterator[str]:
    """Yield the section of the changes."""
    if diff is None:
        yield '<p class="quiet">This export was not compared with an earlier one.</p>\n'
        return
    if compared_to is not None:
        yield f'<p class="quiet">Since <code>{text(compared_to)}</code></p>\n'
    if not diff:
        yield "<p>Nothing was added, removed or changed.</p>\n"
    for title, flows in (("Added", diff.added), ("Removed", diff.removed)):
        if flows:
            items: Iterable[str] = (f"<li>{_flow_name(flow, linked=flows is diff.added)}</li>\n" for flow in flows)
            yield from _group(title, len(flows), chain(['<ul class="flows">\n'], items, ["</ul>\n"]))
    if diff.changed:
        opened = " open" if len(diff.changed) <= OPEN_CHANGES else ""
        changed = chain.from_iterable(_changed_flow(flow, opened) for flow in diff.changed)
        yield from _group("Changed", len(diff.changed), changed)


def _group(title: str, count: int, items: Iterable[str]) -> Iterator[str]:
    """Yield the documents of one kind under their heading; many of them scroll, so that the rest stays near."""
    yield _heading(title, count)
    if count > MOST_AT_ONCE:
        yield f'<div class="many" role="region" aria-labelledby="{title.lower()}" tabindex="0">\n'
    yield from items
    if count > MOST_AT_ONCE:
        yield "</div>\n"


def _heading(title: str, count: int) -> str:
    return f'<h3 id="{title.lower()}" class="{title.lower()}">{title} <span class="count">{count:,}</span></h3>\n'


def _flow_name(flow: Ref, *, linked: bool) -> str:
    name = f'<bdi class="name">{text(flow.name)}</bdi>'
    if linked:
        name = f'<a href="#expand={quote(flow.id, safe="", errors="replace")}">{name}</a>'
    return f'{name} <code class="id">{text(flow.id)}</code>'


def _changed_flow(flow: Changed, opened: str) -> Iterator[str]:
    values = "1 value" if len(flow.changes) == 1 else f"{len(flow.changes):,} values"
    yield (
        f'<details class="changed-flow"{opened}><summary>{_flow_name(flow, linked=True)} '
        f'<span class="count">{values}</span></summary>\n<ul class="values">\n'
    )
    for change in flow.changes:
        old, new = _old_and_new(change)
        yield f'<li><code class="path">{text(change.path)}</code><div class="value">{old}{_ARROW}{new}</div></li>\n'
    yield "</ul></details>\n"


def _old_and_new(change: Change) -> tuple[str, str]:
    old, new = change.old, change.new
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    return (
        f'<del><span class="aloud">was </span>{_value(old, start, len(old) - end)}</del>',
        f'<ins><span class="aloud">now </span>{_value(new, start, len(new) - end)}</ins>',
    )


def _common(one: str, other: str) -> int:
    """Return the length of the common prefix of two texts."""
    differ = (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def _value(value: str, start: int, end: int) -> str:
    """Return one side of a change; ``value[start:end]`` is what differs, and a folded value shows its beginning."""
    if value == ABSENT:
        return "<em>absent</em>"
    if len(value) <= LONG_VALUE:
        return f"<code>{text(value)}</code>"
    first = max(0, min(start - LONG_VALUE // 3, len(value) - LONG_VALUE))
    last = first + LONG_VALUE
    excerpt = f"{'…' if first else ''}{_marked(value, start, end, first, last)}{'…' if last < len(value) else ''}"
    return (
        f'<details><summary><code>{excerpt}</code> <span class="count">{len(value):,} characters</span></summary>'
        f"<code>{_marked(value, start, end, 0, len(value))}</code></details>"
    )


def _marked(value: str, start: int, end: int, first: int, last: int) -> str:
    """Return ``value[first:last]`` with the difference in bold."""
    start, end = max(first, min(start, last)), max(first, min(end, last))
    differs = f"<b>{text(value[start:end])}</b>" if start < end else ""
    return text(value[first:start]) + differs + text(value[end:last])
