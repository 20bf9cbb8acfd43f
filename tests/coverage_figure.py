"""Write the measured coverage into the README: ``python -m tests.coverage_figure``, after ``coverage combine``."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Final

from tests.layers import ROOT

README: Final = ROOT / "README.md"
BEGIN: Final = "<!-- make coverage -->\n"
END: Final = "<!-- end of make coverage -->"


def measured() -> float:
    """Return the percentage of covered statements and branches."""
    command = [sys.executable, "-m", "coverage", "json", "-q", "-o", "-"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - 2 below the gate
    return float(json.loads(done.stdout)["totals"]["percent_covered"])


def rendered(percent: float, day: str) -> str:
    """Return the sentence of the README."""
    figure = f"{percent:.1f} % of statements and branches"
    return f"`make coverage` of {day}: {figure}, combined over Airflow 3.3.2 and 2.11.2.\n"


def page_with(sentence: str, page: str) -> str:
    """Return the page with a sentence between the markers.

    :raises ValueError: the page has no markers
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"{README.name} must contain the markers of the coverage exactly once")
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}{sentence}{END}{rest.partition(END)[2]}"


def main() -> int:
    """Write the README."""
    sentence = rendered(measured(), f"{datetime.now(UTC):%Y-%m-%d}")
    README.write_text(page_with(sentence, README.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
