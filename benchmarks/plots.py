"""Draw the plots: bars on a transparent background, in colours that are readable on white and on black."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.report import measured
from benchmarks.tables import number

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.panels import Panel
    from benchmarks.results import Results

_INK: Final = "#7d8590"
_OURS: Final = "#2f81f7"
_OTHERS: Final = "#9a8f80"

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "vi",  # the same results give the same file
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "text.color": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
)


def write(results: Results, folder: Path) -> None:
    """Draw the plot of each suite into a folder."""
    folder.mkdir(exist_ok=True)
    for suite in measured(results):
        panels = suite.panels(results)
        height = 0.6 + max(len(panel.bars) for panel in panels) * 0.34
        figure = Figure(figsize=(9, height), layout="constrained")
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _bars(axes, panel)
        about = {"Date": None, "Creator": None, "Title": suite.TITLE, "Description": f"results {results.digest}"}
        figure.savefig(folder / f"{suite.NAME}.svg", transparent=True, metadata=about)


def _bars(axes: Axes, panel: Panel) -> None:
    places = range(len(panel.bars))
    values = [bar.value.median for bar in panel.bars]
    reach = [
        [bar.value.median - bar.value.low for bar in panel.bars],
        [bar.value.high - bar.value.median for bar in panel.bars],
    ]
    colours = [_OURS if bar.ours else _OTHERS for bar in panel.bars]
    axes.barh(places, values, xerr=reach, color=colours, ecolor=_INK, height=0.65)
    for place, bar in zip(places, panel.bars, strict=True):
        axes.text(bar.value.high, place, f"  {number(bar.value.median)}", va="center")
    if panel.target is not None:
        axes.axvline(panel.target, color=_INK, linestyle="--", linewidth=1)
    axes.set_yticks(places, [bar.label for bar in panel.bars])
    axes.invert_yaxis()
    axes.set_xlabel(panel.axis)
    axes.margins(x=0.18)
    axes.spines[["top", "right"]].set_visible(False)
