"""The HTML report of an export: one file that people open from the bucket, offline and without a server.

``template.html`` is the page, with a ``{{slot}}`` for each part that is written here. The summary, the changes and the
histogram are HTML; the flows are JSON that ``report.js`` reads, because a browser lays out 5,000 rows slowly and
parses them quickly. All data of a flow is text: it is escaped in HTML and in JSON, and the page's
Content-Security-Policy allows only its one style and its one script, by their hashes. What draws flows is in modules
of its own, which the page in Airflow imports and :mod:`~vi_airflow_provider.audit.report.resources` joins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

from vi_airflow_provider.audit.report import resources
from vi_airflow_provider.audit.report.ages import Ages
from vi_airflow_provider.audit.report.changes import MOST_AT_ONCE, OPEN_CHANGES, changes, verdict
from vi_airflow_provider.audit.report.entries import ENTRIES
from vi_airflow_provider.audit.report.markup import content_security_policy, embedded_json, show_time, text

if TYPE_CHECKING:
    from vi_airflow_provider.audit.diff import Changed, Diff

__all__ = ["MOST_AT_ONCE", "OPEN_CHANGES", "ReportFacts", "embedded_json", "write_report"]


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
    #: Which documents of the organization the export covers; empty for all of them.
    selection: str = ""
    #: What a reader of the comparison must know, in sentences.
    caveats: Sequence[str] = ()
    #: What the export is of, in the singular.
    noun: str = "flow"
    #: When the export that this one is compared with was made, and its checksum.
    compared_at: datetime | None = None
    compared_sha256: str | None = None

    @property
    def baseline(self) -> str | None:
        """The other export, as HTML."""
        if self.compared_to is None:
            return None
        date = f"{show_time(self.compared_at)}, " if self.compared_at else ""
        checksum = f", sha256 <code>{text(self.compared_sha256)}</code>" if self.compared_sha256 else ""
        return f"{date}<code>{text(self.compared_to)}</code>{checksum}"


def write_report(file: IO[str], facts: ReportFacts, documents: Iterable[Any], diff: Diff | None) -> None:
    """Write the report. The same input gives the same text; documents are read once and written as they arrive.

    :param file: open for text in UTF-8
    :param diff: what changed since ``facts.compared_to``, or ``None`` if nothing was compared
    """
    style, script = resources.style(), resources.script()
    ages = Ages(facts.exported_at, facts.noun)
    # A slot is written when the template reaches it: the histogram follows the documents that it counts.
    slots: dict[str, Callable[[], Iterable[str]]] = {
        "csp": lambda: [content_security_policy(style, script)],
        "style": lambda: [style],
        "script": lambda: [script],
        "noun": lambda: [facts.noun],
        "title": lambda: [facts.noun.title()],
        "organization": lambda: [text(facts.organization_id)],
        "date": lambda: [f"{facts.exported_at.astimezone(UTC):%Y-%m-%d}"],
        "scope": lambda: _scope(facts),
        "verdict": lambda: [verdict(facts.noun, _since(facts), diff)],
        "cards": lambda: _cards(facts, diff),
        "changes": lambda: changes(facts.baseline, diff),
        "documents": lambda: _documents(facts.noun, documents, diff, ages),
        "ages": ages.histogram,
        "provenance": lambda: _provenance(facts),
    }
    literal_then_slot = re.split(r"\{\{(\w+)\}\}", resources.template())
    for position, part in enumerate(literal_then_slot):
        file.writelines(slots[part]() if position % 2 else [part])


def _since(facts: ReportFacts) -> str:
    return f" since {show_time(facts.compared_at)}" if facts.compared_at else ""


def _scope(facts: ReportFacts) -> Iterator[str]:
    """Yield what keeps the numbers below from being read as those of the whole organization."""
    if facts.selection:
        yield (
            '<p class="caveat" role="note"><strong>Not the whole organization.</strong> '
            f"The {facts.noun}s were selected by <code>{text(facts.selection)}</code></p>\n"
        )
    for caveat in facts.caveats:
        yield f'<p class="caveat" role="note"><strong>Compare with care.</strong> {text(caveat)}</p>\n'


def _cards(facts: ReportFacts, diff: Diff | None) -> Iterator[str]:
    yield _card(f"{facts.noun.title()}s", f'<a href="#documents">{facts.count:,}</a>')
    for label in ("Added", "Removed", "Changed"):
        count = None if diff is None else len(getattr(diff, label.lower()))
        if count:
            yield _card(label, f'<a href="#{label.lower()}">{count:,}</a>', label.lower())
        else:
            yield _card(label, "0" if count == 0 else '<span title="Not compared">–</span>')  # noqa: RUF001 - a dash
    yield _card("Organization", f"<bdi>{text(facts.organization_id)}</bdi>", "fact")
    yield _card("Exported", show_time(facts.exported_at), "fact")
    yield _card("SHA-256", f'<code title="{text(facts.sha256)}">{text(facts.sha256[:12])}…</code>', "fact")


def _card(label: str, value: str, kind: str = "") -> str:
    return f'<div class="{f"card {kind}".strip()}"><dt>{label}</dt><dd>{value}</dd></div>\n'


def _documents(noun: str, documents: Iterable[Any], diff: Diff | None, ages: Ages) -> Iterator[str]:
    change: dict[str, str] = {}
    if diff is not None:
        change = {each.id: "added" for each in diff.added} | {each.id: "changed" for each in diff.changed}
    details = _ById(() if diff is None else diff.changed)
    separator = "[\n"
    for document in documents:
        ages.add(document)
        entry = ENTRIES[noun](document)
        entry["change"] = change.get(entry["id"], "")
        if changed := details.find(entry["id"]):
            entry["changes"] = [[each.path, each.old, each.new] for each in changed.changes]
        yield separator + embedded_json(entry)
        separator = ",\n"
    yield "[]" if separator == "[\n" else "\n]"


class _ById:
    """Finds changed documents by increasing ids, without holding all of them."""

    def __init__(self, changed: Iterable[Changed]) -> None:
        self._changed = iter(changed)
        self._next = next(self._changed, None)

    def find(self, document_id: str) -> Changed | None:
        while self._next is not None and self._next.id < document_id:
            self._next = next(self._changed, None)
        return self._next if self._next is not None and self._next.id == document_id else None


def _provenance(facts: ReportFacts) -> Iterator[str]:
    rows = {
        "Export": f"<code>{text(facts.uri)}</code>",
        "SHA-256": f"<code>{text(facts.sha256)}</code>",
        "Exported": show_time(facts.exported_at),
        "Selection": f"<code>{text(facts.selection or f'all {facts.noun}s')}</code>",
        "Compared to": facts.baseline or "nothing",
        "Written by": f"vi-airflow-provider {text(facts.provider_version)}",
    }
    for label, value in rows.items():
        yield f"<div><dt>{label}</dt><dd>{value}</dd></div>\n"
