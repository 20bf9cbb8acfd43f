"""How old the documents are: a histogram of the days since the last update."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from vi_airflow_provider.audit.report.markup import text

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Flow, Run

_DAY_MS: Final = timedelta(days=1) // timedelta(milliseconds=1)
#: First day of each bar of the histogram but the first, and the label of each bar.
_AGE_LIMITS: Final = (1, 8, 31, 91, 181, 366)
_AGE_LABELS: Final = ("< 1", "1–7", "8–30", "31–90", "91–180", "181–365", "> 365")  # noqa: RUF001 - ranges


class Ages:
    """Counts documents by the days since their last update, and draws the counts."""

    HEIGHT: Final = 120
    TOP: Final = 22

    def __init__(self, now: datetime, noun: str) -> None:
        self._now_ms = (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        self._noun = noun
        self.counts = [0] * len(_AGE_LABELS)

    def add(self, document: Flow | Run) -> None:
        """Count a document."""
        days = (self._now_ms - document.metadata.last_updated) // _DAY_MS
        self.counts[bisect_right(_AGE_LIMITS, days)] += 1

    def histogram(self) -> Iterator[str]:
        """Yield the SVG. It is laid out in percent and never scaled, so its text stays readable on a phone."""
        counts = "; ".join(f"{label} days: {count:,}" for label, count in zip(_AGE_LABELS, self.counts, strict=True))
        base = self.TOP + self.HEIGHT
        yield (
            f'<svg class="ages" role="img" aria-labelledby="ages-title ages-desc" width="100%" height="{base + 24}">\n'
            f'<title id="ages-title">{self._noun.title()}s by days since the last update</title>\n'
            f'<desc id="ages-desc">{text(counts)}</desc>\n'
        )
        step, most = 100 / len(self.counts), max(*self.counts, 1)
        for index, (label, count) in enumerate(zip(_AGE_LABELS, self.counts, strict=True)):
            height = max(round(self.HEIGHT * count / most), 2 if count else 0)
            left, middle = f"{step * (index + 0.12):.2f}%", f"{step * (index + 0.5):.2f}%"
            yield (
                f'<rect x="{left}" y="{base - height}" width="{step * 0.76:.2f}%" height="{height}" rx="2"/>'
                f'<text class="bar" x="{middle}" y="{base - height - 7}">{count:,}</text>'
                f'<text x="{middle}" y="{base + 17}">{text(label)}</text>\n'
            )
        yield f'<line x1="0" x2="100%" y1="{base}.5" y2="{base}.5"/>\n</svg>'
