"""The changes in the page: which documents were added or removed, and which values of the others differ."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from vi_airflow_provider.audit.diff import ABSENT
from vi_airflow_provider.audit.report.markup import text
from vi_airflow_provider.audit.report.shared_changes import SharedChanges

if TYPE_CHECKING:
    from vi_airflow_provider.audit.diff import Change, Changed, Diff, Ref, Removed

#: A longer value is folded; the fold shows about this much of it, around the first difference.
LONG_VALUE: Final = 120
#: Up to this number, changed documents are shown unfolded.
OPEN_CHANGES: Final = 20
#: Of more documents of a kind, the rest is folded.
MOST_AT_ONCE: Final = 20
_ARROW: Final = '<span class="arrow" aria-hidden="true">→</span>'


def verdict(noun: str, since: str, diff: Diff | None) -> str:
    """Return the result of the comparison in one sentence.

    :param since: when the other export was made, as HTML; may be empty
    """
    if diff is None:
        return f'<p class="verdict">Not compared with an earlier export: this is what the {noun}s are.</p>\n'
    if not diff:
        return f'<p class="verdict same">No {noun} has changed{since}.</p>\n'
    counts = [f"<b>{count:,}</b> {kind}" for kind, count in diff.counts().items() if count]
    listed = counts[0] if len(counts) == 1 else f"{', '.join(counts[:-1])} and {counts[-1]}"
    total = sum(diff.counts().values())
    return f'<p class="verdict differs">{listed} {noun}{"s" if total > 1 else ""}{since}.</p>\n'


def changes(baseline: str | None, diff: Diff | None) -> Iterator[str]:
    """Yield the section of the changes.

    :param baseline: what the export was compared with, as HTML
    """
    if diff is None:
        yield '<p class="quiet">This export was not compared with an earlier one.</p>\n'
        return
    if baseline is not None:
        yield f'<p class="quiet">Since {baseline}</p>\n'
    if not diff:
        yield "<p>Nothing was added, removed or changed.</p>\n"
    if diff.added:
        items = (f"<li>{_name(each, linked=True)}</li>\n" for each in diff.added)
        yield _heading("Added", len(diff.added))
        yield from _folded(items, len(diff.added), "ul", "flows")
    if diff.removed:
        yield _heading("Removed", len(diff.removed))
        yield from _folded(map(_removed, diff.removed), len(diff.removed), "div", "gone")
    if diff.changed:
        yield _heading("Changed", len(diff.changed))
        with SharedChanges(diff.changed) as shared:
            yield from _groups(shared, diff.noun)
            yield from _changed(shared, diff.changed)


def _folded(items: Iterable[str], count: int, tag: str, kind: str) -> Iterator[str]:
    """Yield a list of which many items are folded, so that the rest of the page stays near. Nothing scrolls by itself.

    :param tag: the element of the list, and its class
    """
    items = iter(items)
    yield f'<{tag} class="{kind}">\n'
    yield from islice(items, MOST_AT_ONCE)
    yield f"</{tag}>\n"
    if count > MOST_AT_ONCE:
        yield f'<details class="rest"><summary>{count - MOST_AT_ONCE:,} more</summary>\n<{tag} class="{kind}">\n'
        yield from items
        yield f"</{tag}></details>\n"


def _removed(each: Removed) -> str:
    # A document is JSON data, in which a number may be one that JSON cannot represent.
    last = json.dumps(each.last, indent=2, sort_keys=True, ensure_ascii=False)
    return (
        f'<details class="changed-flow removed-flow"><summary>{_name(each, linked=False)} '
        f'<span class="count">last version</span></summary><pre>{text(last)}</pre></details>\n'
    )


def _groups(shared: SharedChanges, noun: str) -> Iterator[str]:
    for group in shared.groups():
        yield (
            f'<details class="changed-flow shared"><summary><code class="path">{text(group.change.path)}</code> '
            f'<span class="count">the same in {group.size:,} {noun}s</span>{_values(group.change)}</summary>\n'
        )
        items = (f"<li>{_name(each, linked=True)}</li>\n" for each in shared.members(group))
        yield from _folded(items, group.size, "ul", "flows")
        yield "</details>\n"


def _changed(shared: SharedChanges, changed: Collection[Changed]) -> Iterator[str]:
    remaining = ((each, shared.own(each)) for each in changed)
    alone = ((each, own) for each, own in remaining if own)
    opened = " open" if len(changed) <= OPEN_CHANGES else ""
    for each, own in islice(alone, MOST_AT_ONCE):
        yield from _changed_flow(each, own, opened)
    if first := next(alone, None):
        yield '<details class="rest"><summary>More</summary>\n'
        for each, own in chain([first], alone):
            yield from _changed_flow(each, own, opened)
        yield "</details>\n"


def _heading(title: str, count: int) -> str:
    return f'<h3 id="{title.lower()}" class="{title.lower()}">{title} <span class="count">{count:,}</span></h3>\n'


def _name(flow: Ref, *, linked: bool) -> str:
    name = f'<bdi class="name">{text(flow.name)}</bdi>'
    if linked:
        name = f'<a href="#expand={quote(flow.id, safe="", errors="replace")}">{name}</a>'
    return f'{name} <code class="id">{text(flow.id)}</code>'


def _changed_flow(flow: Changed, own: Sequence[Change], opened: str) -> Iterator[str]:
    values = "1 value" if len(own) == 1 else f"{len(own):,} values"
    others = len(flow.changes) - len(own)
    also = f", and {others:,} above" if others else ""
    yield (
        f'<details class="changed-flow"{opened}><summary>{_name(flow, linked=True)} '
        f'<span class="count">{values}{also}</span></summary>\n<ul class="values">\n'
    )
    for change in own:
        yield f'<li><code class="path">{text(change.path)}</code>{_values(change)}</li>\n'
    yield "</ul></details>\n"


def _values(change: Change) -> str:
    old, new = _old_and_new(change)
    return f'<div class="value">{old}{_ARROW}{new}</div>'


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
