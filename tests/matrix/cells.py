"""The cells of the matrix: an Airflow with its pins, and a Python.

A file of pins is a row, so a new `requirements/airflow-*.in` is all that a new Airflow takes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PYTHONS: Final = ("3.11", "3.12", "3.13")
#: The row with the lowest versions that pyproject.toml allows; the lowest Python goes with them.
LOWEST: Final = "lowest"


@dataclass(frozen=True)
class Cell:
    """One run of the suite: `pins` names the file of pins, `airflow` is the version in it."""

    pins: str
    airflow: str
    python: str

    @property
    def name(self) -> str:
        """What people type: `3.0.6-3.12`, `lowest-3.11`."""
        return f"{LOWEST if self.pins == LOWEST else self.airflow}-{self.python}"

    @property
    def environment(self) -> Path:
        """The folder of its virtual environment, which the Makefile knows how to fill."""
        return Path(".venv", f"airflow-{self.pins}-{self.python}")

    @property
    def suite(self) -> list[str]:
        """The folders of tests; the contract is tested where the vendor's own client is installed."""
        contract = ["tests/contract"] if "\nvi-sdk==" in pins_of(self.pins) else []
        return ["tests/unit", "tests/dags", *contract]

    @property
    def impossible(self) -> str:
        """Why nobody can run this cell; empty where one can."""
        if self.airflow.startswith("2.") and self.python == "3.13":
            return "Airflow 2 does not run on Python 3.13"
        return ""


def all_cells() -> list[Cell]:
    """Every cell, the possible and the impossible ones, by version and the lowest versions first."""
    rows = {file.stem.removeprefix("airflow-") for file in (ROOT / "requirements").glob("airflow-*.txt")}
    versions = sorted(rows - {LOWEST}, key=lambda version: [int(part) for part in version.split(".")])
    return [
        *(Cell(LOWEST, airflow_in(LOWEST), python) for python in PYTHONS[:1]),
        *(Cell(pins, airflow_in(pins), python) for pins in versions for python in PYTHONS),
    ]


def pins_of(name: str) -> str:
    """The text of a file of pins."""
    return (ROOT / "requirements" / f"airflow-{name}.txt").read_text()


def airflow_in(pins: str) -> str:
    """The version of Airflow that a file pins."""
    (version,) = re.findall(r"^apache-airflow==([\d.]+)", pins_of(pins), re.MULTILINE)
    return str(version)


def interpreter(python: str) -> str | None:
    """A Python of this version that runs: from the PATH, or from pyenv, whose shims may be on the PATH and not run."""
    on_path = shutil.which(f"python{python}")
    in_pyenv = Path.home().joinpath(".pyenv", "versions").glob(f"{python}.*/bin/python{python}")
    candidates = [sys.executable, *([on_path] if on_path else []), *map(str, sorted(in_pyenv, reverse=True))]
    return next((candidate for candidate in candidates if version_of(candidate) == python), None)


def version_of(executable: str) -> str:
    """The version that an executable says it is; empty when it does not run."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip()
