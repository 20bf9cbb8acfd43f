"""The HTML report of an export: one file that people open from the bucket, offline and without a server.

``template.html`` is the page, with a ``{{slot}}`` for each part that is written here. The summary, the changes and the
histogram are HTML; the flows are JSON that ``report.js`` reads, because a browser lays out 5,000 rows slowly and
parses them quickly. All data of a flow is text: it is escaped in HTML and in JSON, and the page's
Content-Security-Policy allows only its one style and its one script, by their hashes. What draws flows is in modules
of its own, which the page in Airflow imports and :mod:`~vi_airflow_provider.audit.report.resources` joins.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import quote

from vi_airflow_provider.audit.diff import ABSENT
from vi_airflow_provider.audit.report import resources

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.audit.diff import Change, ChangedFlow, Diff, FlowRef

#: A longer value is folded; the fold shows about this much of it, around the first difference.
LONG_VALUE: Final = 120
#: Up to this number, changed flows are shown unfolded.
OPEN_CHANGES: Final = 20
#: A group of changes with more flows than this scrolls in a box.
MOST_AT_ONCE: Final = 50
#: The largest integer that JavaScript holds exactly.
_MAX_SAFE_INTEGER: Final = 2**53 - 1
_DAY_MS: Final = timedelta(days=1) // timedelta(milliseconds=1)
#: First day of each bar of the histogram but the first, and the label of each bar.
_AGE_LIMITS: Final = (1, 8, 31, 91, 181, 366)
_AGE_LABELS: Final = ("< 1", "1–7", "8–30", "31–90", "91–180", "181–365", "> 365")  # noqa: RUF001 - ranges
_ARROW: Final = '<span class="arrow" aria-hidden="true">→</span>'


@dataclass(frozen=True)
class ReportFacts:
    """What the report shows about the export as a whole."""

    organization_id: str
    exported_at: datetime
    count: int
    sha256: str
    uri: str
    compared_to: str | None
    provider_version: str
    #: Which flows of the organization the export covers.
    selection: str = "all flows"
    #: What a reader of the comparison must know, in sentences.
    caveats: Sequence[str] = ()


def write_report(file: IO[str], facts: ReportFacts, flows: Iterable[Flow], diff: Diff | None) -> None:
    """Write the report. The same input gives the same text; flows are read once and written as they arrive.

    :param file: open for text in UTF-8
    :param diff: what changed since ``facts.compared_to``, or ``None`` if nothing was compared
    """
    style, script = resources.style(), resources.script()
    ages = _Ages(facts.exported_at)
    # A slot is written when the template reaches it: the histogram follows the flows that it counts.
    slots: dict[str, Callable[[], Iterable[str]]] = {
        "csp": lambda: [_content_security_policy(style, script)],
        "style": lambda: [style],
        "script": lambda: [script],
        "organization": lambda: [_text(facts.organization_id)],
        "date": lambda: [f"{facts.exported_at.astimezone(UTC):%Y-%m-%d}"],
        "scope": lambda: _scope(facts),
        "cards": lambda: _cards(facts, diff),
        "changes": lambda: _changes(facts, diff),
        "flows": lambda: _flows(flows, diff, ages),
        "ages": ages.histogram,
        "provenance": lambda: _provenance(facts),
    }
    literal_then_slot = re.split(r"\{\{(\w+)\}\}", resources.template())
    for position, part in enumerate(literal_then_slot):
        file.writelines(slots[part]() if position % 2 else [part])


def embedded_json(value: Any) -> str:
    """Return JSON text that is safe in a ``<script>`` element: ASCII, without ``<``, ``>`` and ``&``."""
    text = json.dumps(_exact_in_javascript(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _exact_in_javascript(value: Any) -> Any:
    """Turn numbers that ``JSON.parse`` would refuse or round into text: a report must not show a different number."""
    if isinstance(value, dict):
        return {key: _exact_in_javascript(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_exact_in_javascript(member) for member in value]
    inexact = (isinstance(value, int) and abs(value) > _MAX_SAFE_INTEGER) or (
        isinstance(value, float) and not math.isfinite(value)
    )
    return str(value) if inexact else value


def _text(text: object) -> str:
    # A lone surrogate has no UTF-8 form, and would end the report midway.
    return html.escape(str(text).encode("utf-8", "replace").decode("utf-8"))


def _content_security_policy(style: str, script: str) -> str:
    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"

    return (
        f"default-src 'none'; style-src {source(style)}; script-src {source(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _time(time: datetime) -> str:
    utc = time.astimezone(UTC)
    return f'<time datetime="{utc:%Y-%m-%dT%H:%M:%SZ}">{utc:%Y-%m-%d %H:%M} UTC</time>'


def _scope(facts: ReportFacts) -> Iterator[str]:
    """Yield what keeps the numbers below from being read as those of the whole organization."""
    if facts.selection != ReportFacts.selection:
        yield (
            '<p class="caveat" role="note"><strong>Not the whole organization.</strong> '
            f"The flows were selected by <code>{_text(facts.selection)}</code></p>\n"
        )
    for caveat in facts.caveats:
        yield f'<p class="caveat" role="note"><strong>Compare with care.</strong> {_text(caveat)}</p>\n'


def _cards(facts: ReportFacts, diff: Diff | None) -> Iterator[str]:
    yield _card("Flows", f'<a href="#flows">{facts.count:,}</a>')
    for label in ("Added", "Removed", "Changed"):
        count = None if diff is None else len(getattr(diff, label.lower()))
        if count:
            yield _card(label, f'<a href="#{label.lower()}">{count:,}</a>', label.lower())
        else:
            yield _card(label, "0" if count == 0 else '<span title="Not compared">–</span>')  # noqa: RUF001 - a dash
    yield _card("Organization", f"<bdi>{_text(facts.organization_id)}</bdi>", "fact")
    yield _card("Exported", _time(facts.exported_at), "fact")
    yield _card("SHA-256", f'<code title="{_text(facts.sha256)}">{_text(facts.sha256[:12])}…</code>', "fact")


def _card(label: str, value: str, kind: str = "") -> str:
    return f'<div class="{f"card {kind}".strip()}"><dt>{label}</dt><dd>{value}</dd></div>\n'


def _changes(facts: ReportFacts, diff: Diff | None) -> Iterator[str]:
    if diff is None:
        yield '<p class="quiet">This export was not compared with an earlier one.</p>\n'
        return
    if facts.compared_to is not None:
        yield f'<p class="quiet">Since <code>{_text(facts.compared_to)}</code></p>\n'
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
    """Yield the flows of one kind under their heading; many of them scroll, so that the rest stays near."""
    yield _heading(title, count)
    if count > MOST_AT_ONCE:
        yield f'<div class="many" role="region" aria-labelledby="{title.lower()}" tabindex="0">\n'
    yield from items
    if count > MOST_AT_ONCE:
        yield "</div>\n"


def _heading(title: str, count: int) -> str:
    return f'<h3 id="{title.lower()}" class="{title.lower()}">{title} <span class="count">{count:,}</span></h3>\n'


def _flow_name(flow: FlowRef, *, linked: bool) -> str:
    name = f'<bdi class="name">{_text(flow.name)}</bdi>'
    if linked:
        name = f'<a href="#expand={quote(flow.flow_id, safe="", errors="replace")}">{name}</a>'
    return f'{name} <code class="id">{_text(flow.flow_id)}</code>'


def _changed_flow(flow: ChangedFlow, opened: str) -> Iterator[str]:
    values = "1 value" if len(flow.changes) == 1 else f"{len(flow.changes):,} values"
    yield (
        f'<details class="changed-flow"{opened}><summary>{_flow_name(flow, linked=True)} '
        f'<span class="count">{values}</span></summary>\n<ul class="values">\n'
    )
    for change in flow.changes:
        old, new = _old_and_new(change)
        yield f'<li><code class="path">{_text(change.path)}</code><div class="value">{old}{_ARROW}{new}</div></li>\n'
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
        return f"<code>{_text(value)}</code>"
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
    differs = f"<b>{_text(value[start:end])}</b>" if start < end else ""
    return _text(value[first:start]) + differs + _text(value[end:last])


def _flows(flows: Iterable[Flow], diff: Diff | None, ages: _Ages) -> Iterator[str]:
    change: dict[str, str] = {}
    if diff is not None:
        change = {flow.flow_id: "added" for flow in diff.added} | {flow.flow_id: "changed" for flow in diff.changed}
    separator = "[\n"
    for flow in flows:
        ages.add(flow)
        yield separator + embedded_json(
            {
                "id": flow.flow_id,
                "created": flow.metadata.time_created,
                "updated": flow.metadata.last_updated,
                "generation": flow.metadata.generation,
                "attributes": flow.metadata.attributes,
                "spec": flow.spec.canonical(),
                "change": change.get(flow.flow_id, ""),
            }
        )
        separator = ",\n"
    yield "[]" if separator == "[\n" else "\n]"


class _Ages:
    """Counts flows by the days since their last update, and draws the counts."""

    HEIGHT: Final = 120
    TOP: Final = 22

    def __init__(self, now: datetime) -> None:
        self._now_ms = (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        self.counts = [0] * len(_AGE_LABELS)

    def add(self, flow: Flow) -> None:
        days = (self._now_ms - flow.metadata.last_updated) // _DAY_MS
        self.counts[bisect_right(_AGE_LIMITS, days)] += 1

    def histogram(self) -> Iterator[str]:
        """Yield the SVG. It is laid out in percent and never scaled, so its text stays readable on a phone."""
        text = "; ".join(f"{label} days: {count:,}" for label, count in zip(_AGE_LABELS, self.counts, strict=True))
        base = self.TOP + self.HEIGHT
        yield (
            f'<svg class="ages" role="img" aria-labelledby="ages-title ages-desc" width="100%" height="{base + 24}">\n'
            f'<title id="ages-title">Flows by days since the last update</title>\n'
            f'<desc id="ages-desc">{_text(text)}</desc>\n'
        )
        step, most = 100 / len(self.counts), max(*self.counts, 1)
        for index, (label, count) in enumerate(zip(_AGE_LABELS, self.counts, strict=True)):
            height = max(round(self.HEIGHT * count / most), 2 if count else 0)
            left, middle = f"{step * (index + 0.12):.2f}%", f"{step * (index + 0.5):.2f}%"
            yield (
                f'<rect x="{left}" y="{base - height}" width="{step * 0.76:.2f}%" height="{height}" rx="2"/>'
                f'<text class="bar" x="{middle}" y="{base - height - 7}">{count:,}</text>'
                f'<text x="{middle}" y="{base + 17}">{_text(label)}</text>\n'
            )
        yield f'<line x1="0" x2="100%" y1="{base}.5" y2="{base}.5"/>\n</svg>'


def _provenance(facts: ReportFacts) -> Iterator[str]:
    rows = {
        "Export": f"<code>{_text(facts.uri)}</code>",
        "SHA-256": f"<code>{_text(facts.sha256)}</code>",
        "Exported": _time(facts.exported_at),
        "Selection": f"<code>{_text(facts.selection)}</code>",
        "Compared to": f"<code>{_text(facts.compared_to)}</code>" if facts.compared_to else "nothing",
        "Written by": f"vi-airflow-provider {_text(facts.provider_version)}",
    }
    for label, value in rows.items():
        yield f"<div><dt>{label}</dt><dd>{value}</dd></div>\n"
