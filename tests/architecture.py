"""Draw the rooms of the package and their imports: ``python -m tests.architecture`` writes docs/architecture.svg.

Each layer is a row. An arrow leads from a room to one that it imports; arrows implied by others are left out
(transitive reduction). An arrow across several rows gets a waypoint in each of them, so that it does not run under a
box, and each row is ordered by the neighbours above and below (the layered layout of Sugiyama). The result depends
on the imports alone.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from itertools import combinations, pairwise
from pathlib import Path
from typing import Final

from tests.layers import (
    BESIDE,
    EVERYWHERE,
    LAYERS,
    NAME,
    ROOT,
    STORAGE_ONLY,
    WITHOUT_AIRFLOW,
    files_of,
    module_of,
    room_of,
    rooms_used_by,
)

PICTURE: Final = ROOT / "docs" / "architecture.svg"

_WIDTH: Final = 900
_BOX: Final = 124
_BOX_HEIGHT: Final = 38
_ROW: Final = 82
_GAP: Final = 40
_WAYPOINT: Final = 16
_SWEEPS: Final = 12

Edge = tuple[str, str]


@dataclass(frozen=True)
class Waypoint:
    """The place of an arrow in a row that it crosses."""

    edge: Edge
    row: int


Node = str | Waypoint


def imported_rooms() -> dict[str, set[str]]:
    """Return the rooms that each room imports, without itself, what everything may import, and the one beside."""
    used: defaultdict[str, set[str]] = defaultdict(set)
    for file in files_of(NAME):
        room = room_of(module_of(file))
        if room not in EVERYWHERE:
            used[room] |= rooms_used_by(file) - EVERYWHERE - {room, BESIDE}
    return dict(used)


def reduced(used: Mapping[str, set[str]]) -> list[Edge]:
    """Return the imports that no chain of other imports implies."""

    def reachable(room: str) -> set[str]:
        return used[room].union(*(reachable(other) for other in used[room]))

    return sorted(
        (room, other)
        for room in used
        for other in used[room]
        if not any(other in reachable(between) for between in used[room] - {other})
    )


def rows_of(edges: list[Edge], rooms: set[str]) -> list[list[Node]]:
    """Return the nodes of each row from top to bottom, ordered so that few arrows cross."""
    rows: list[list[Node]] = [[*sorted(layer & rooms)] for layer in reversed(LAYERS) if layer & rooms]
    place = {room: number for number, row in enumerate(rows) for room in row}
    chains = [chain_of(edge, place) for edge in edges]
    for chain in chains:
        for number, waypoint in enumerate(chain[1:-1], place[chain[0]] + 1):
            rows[number].append(waypoint)
    steps = [step for chain in chains for step in pairwise(chain)]
    return min(_sweeps(rows, steps), key=lambda rows: _crossings(rows, steps))


def _sweeps(rows: list[list[Node]], steps: list[tuple[Node, Node]]) -> Iterator[list[list[Node]]]:
    """Order each row by the mean position of its neighbours, alternately up and down, and yield each state."""
    neighbours: defaultdict[Node, list[Node]] = defaultdict(list)
    for above, below in steps:
        neighbours[above].append(below)
        neighbours[below].append(above)
    for sweep in range(_SWEEPS):
        for number in range(len(rows)) if sweep % 2 else reversed(range(len(rows))):
            centres = positions(rows)
            means = {node: _mean([centres[each] for each in neighbours[node]]) for node in rows[number]}
            rows[number].sort(key=means.__getitem__)
        yield [[*row] for row in rows]


def _crossings(rows: list[list[Node]], steps: list[tuple[Node, Node]]) -> int:
    order = {node: (number, index) for number, row in enumerate(rows) for index, node in enumerate(row)}
    ends = [(*order[above], order[below][1]) for above, below in steps]
    return sum(
        row == other_row and (above - other_above) * (below - other_below) < 0
        for (row, above, below), (other_row, other_above, other_below) in combinations(ends, 2)
    )


def chain_of(edge: Edge, place: Mapping[Node, int]) -> list[Node]:
    """Return the nodes along an arrow."""
    above, below = edge
    return [above, *(Waypoint(edge, row) for row in range(place[above] + 1, place[below])), below]


def positions(rows: list[list[Node]]) -> dict[Node, float]:
    """Return the horizontal centre of each node; each row is centred."""
    centres: dict[Node, float] = {}
    for row in rows:
        widths = [_BOX if isinstance(node, str) else _WAYPOINT for node in row]
        left = (_WIDTH - sum(widths) - _GAP * (len(row) - 1)) / 2
        for node, width in zip(row, widths, strict=True):
            centres[node] = left + width / 2
            left += width + _GAP
    return centres


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else _WIDTH / 2


def render() -> str:
    """Return the picture as SVG."""
    used = imported_rooms()
    beside = used.pop(BESIDE, None)
    edges = reduced(used)
    rows = rows_of(edges, set(used))
    centres = positions(rows)
    place: dict[Node, int] = {node: number for number, row in enumerate(rows) for node in row}
    arrows = [_arrow(chain_of(edge, place), centres, place) for edge in edges]
    boxes = [_box(node, centres[node], place[node]) for row in rows for node in row if isinstance(node, str)]
    if beside is not None:
        boxes.append(_box(BESIDE, _WIDTH - _BOX / 2 - 2, len(rows) - 1))
    height = len(rows) * _ROW + 40
    return _FRAME.format(width=_WIDTH, height=height, body="\n".join([*arrows, *boxes, *_legend(height - 24)]))


def _top(row: int) -> int:
    return 10 + row * _ROW


def _arrow(chain: list[Node], centres: Mapping[Node, float], place: Mapping[Node, int]) -> str:
    x, y = centres[chain[0]], _top(place[chain[0]]) + _BOX_HEIGHT
    path = [f"M{x:.0f} {y}"]
    for node in chain[1:]:
        end = _top(place[node]) - (5 if isinstance(node, str) else 0)
        half = (y + end) / 2
        path.append(f"C{x:.0f} {half:.0f} {centres[node]:.0f} {half:.0f} {centres[node]:.0f} {end}")
        x, y = centres[node], end
        if isinstance(node, Waypoint):
            y += _BOX_HEIGHT
            path.append(f"L{x:.0f} {y}")
    return f'<path class="arrow" d="{" ".join(path)}" marker-end="url(#head)"/>'


def _box(room: str, x: float, row: int) -> str:
    left, top = x - _BOX / 2, _top(row)
    return (
        f'<g class="{_kind(room)}"><rect x="{left:.0f}" y="{top}" width="{_BOX}" height="{_BOX_HEIGHT}" rx="6"/>'
        f'<text x="{x:.0f}" y="{top + 24}">{escape(room)}</text></g>'
    )


def _kind(room: str) -> str:
    if room in WITHOUT_AIRFLOW:
        return "plain"
    return "storage" if room in STORAGE_ONLY else "airflow"


def _legend(top: int) -> list[str]:
    entries = [
        ("plain", "imports no Airflow"),
        ("storage", "imports only ObjectStoragePath"),
        ("airflow", "imports Airflow"),
    ]
    return [
        f'<g class="{kind}"><rect x="{20 + 220 * number}" y="{top - 12}" width="24" height="14" rx="3"/></g>'
        f'<text class="key" x="{52 + 220 * number}" y="{top}">{text}</text>'
        for number, (kind, text) in enumerate(entries)
    ]


_FRAME: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<title>The rooms of vi_airflow_provider and their imports</title>
<style>
text {{ font: 14px sans-serif; text-anchor: middle; fill: #1f2328; }}
text.key {{ font-size: 12px; text-anchor: start; fill: #7d8590; }}
rect {{ stroke-width: 1.5; }}
.plain rect {{ fill: #ddf4ff; stroke: #2f81f7; }}
.storage rect {{ fill: #dafbe1; stroke: #2da44e; }}
.airflow rect {{ fill: #f6f8fa; stroke: #7d8590; }}
.arrow {{ fill: none; stroke: #7d8590; stroke-width: 1.2; }}
#head path {{ fill: #7d8590; }}
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 L8 4 L0 8 z"/></marker></defs>
{body}
</svg>
"""


def main(path: Path = PICTURE) -> int:
    """Write the picture."""
    path.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
