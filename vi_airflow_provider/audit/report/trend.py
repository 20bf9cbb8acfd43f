"""The trend of a series of exports: their counts as a curve, and below it the changes as bars."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final, get_args

from vi_airflow_provider.audit.diff import Kind

if TYPE_CHECKING:
    from vi_airflow_provider.audit.index import Entry, Series

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: Exports up to which each has a point on the curve.
_POINTS: Final = 60
#: Heights in pixels; what is horizontal is in percent, so that text is not scaled on a phone.
_CURVE: Final = 80
_BARS: Final = 46
_TOP: Final = 22
_GAP: Final = 26
_BASE: Final = _TOP + _CURVE + _GAP + _BARS


def trend(series: Series, number: int) -> Iterator[str]:
    """Yield a figure; nothing for a single export.

    :param number: of the series in its page, for ids
    """
    entries = series.entries[::-1]
    if len(entries) < 2:
        return
    noun, places = series.newest.subject.noun, _places(entries)
    counts = [entry.described.count for entry in entries]
    most = max((sum(entry.changes.values()) for entry in entries if entry.changes), default=0)
    summary = (
        f"{min(counts):,} to {max(counts):,} {noun}s in {len(entries):,} exports, at most {most:,} changes at a time"
    )
    yield '<figure class="trend">\n'
    yield (
        f'<svg role="img" aria-labelledby="trend-{number}" width="100%" height="{_BASE + 22}">\n'
        f'<title id="trend-{number}">{summary}</title>\n'
    )
    yield from _curve(places, counts)
    yield from _bars(places, entries, most)
    first, last = (f"{entry.created_at:%Y-%m-%d}" for entry in (entries[0], entries[-1]))
    yield (
        f'<line class="axis" x1="0" x2="100%" y1="{_BASE}.5" y2="{_BASE}.5"/>\n'
        f'<text x="0" y="{_BASE + 17}">{first}</text>\n'
        f'<text class="end" x="100%" y="{_BASE + 17}">{last}</text>\n</svg>\n'
    )
    keys = "".join(f'<span class="key {kind}">{kind}</span>' for kind in KINDS)
    yield f"<figcaption>{noun.title()}s, and changes since the export before:{keys}</figcaption>\n</figure>\n"


def _places(entries: list[Entry]) -> list[float]:
    """Return where exports are on the axis of time, in percent."""
    first = entries[0].created_at
    whole = (entries[-1].created_at - first).total_seconds() or 1.0
    return [1 + 98 * (entry.created_at - first).total_seconds() / whole for entry in entries]


def _curve(places: list[float], counts: list[int]) -> Iterator[str]:
    least, greatest = min(counts), max(counts)
    heights = [_TOP + _CURVE * (1 - (count - least) / (greatest - least or 1)) for count in counts]
    points = list(zip(places, heights, strict=True))
    for (x1, y1), (x2, y2) in pairwise(points):
        yield f'<line class="line" x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}"/>\n'
    if len(points) <= _POINTS:
        for (x, y), count in zip(points, counts, strict=True):
            yield f'<circle class="point" cx="{x:.2f}%" cy="{y:.1f}" r="3"><title>{count:,}</title></circle>\n'
    for index in sorted({counts.index(least), counts.index(greatest)}):
        x, y = points[index]
        side = "end" if x > 50 else "start"
        yield f'<text class="{side}" x="{x:.2f}%" y="{y - 8:.1f}">{counts[index]:,}</text>\n'


def _bars(places: list[float], entries: list[Entry], most: int) -> Iterator[str]:
    nearest = min(after - before for before, after in pairwise(places))
    width = min(max(0.6 * nearest, 0.2), 2.0)
    for place, entry in zip(places, entries, strict=True):
        top = float(_BASE)
        for kind in KINDS:
            count = (entry.changes or {}).get(kind, 0)
            if count:
                height = max(_BARS * count / most, 2.0)
                top -= height
                yield (
                    f'<rect class="{kind}" x="{place - width / 2:.2f}%" y="{top:.1f}" width="{width:.2f}%" '
                    f'height="{height:.1f}"><title>{entry.created_at:%Y-%m-%d}: {count:,} {kind}</title></rect>\n'
                )
