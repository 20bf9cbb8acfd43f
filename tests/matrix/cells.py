"""The cells of the matrix: a version of Airflow with its pins, and a version of Python.

Each file of pins is a row, so supporting a new Airflow only requires a new `requirements/airflow-*.in`.
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
#: The row with the lowest versions that pyproject.toml allows, on the lowest Python.
LOWEST: Final = "lowest"


@dataclass(frozen=True)
class Cell:
    """One run of the suite: `pins` identifies the file of pins, `airflow` is the version in it."""

    pins: str
    airflow: str
    python: str

    @property
    def name(self) -> str:
        """Name on the command line: `3.0.6-3.12`, `lowest-3.11`."""
        return f"{LOWEST if self.pins == LOWEST else self.airflow}-{self.python}"

    @property
    def environment(self) -> Path:
        """Folder of its virtual environment, which the Makefile creates."""
        return Path(".venv", f"airflow-{self.pins}-{self.python}")

    @property
    def suite(self) -> list[str]:
        """Test folders; the contract tests need the vendor's client."""
        contract = ["tests/contract"] if "\nvi-sdk==" in pins_of(self.pins) else []
        return ["tests/unit", "tests/dags", *contract]

    @property
    def impossible(self) -> str:
        """Why this combination cannot run; empty if it can."""
        if self.airflow.startswith("2.") and self.python == "3.13":
            return "Airflow 2 does not run on Python 3.13"
        return ""


def all_cells() -> list[Cell]:
    """Return all cells, impossible ones included, ordered by version with the lowest versions first."""
    rows = {file.stem.removeprefix("airflow-") for file in (ROOT / "requirements").glob("airflow-*.txt")}
    versions = sorted(rows - {LOWEST}, key=lambda version: [int(part) for part in version.split(".")])
    return [
        *(Cell(LOWEST, airflow_in(LOWEST), python) for python in PYTHONS[:1]),
        *(Cell(pins, airflow_in(pins), python) for pins in versions for python in PYTHONS),
    ]


def pins_of(name: str) -> str:
    """Return the text of a file of pins."""
    return (ROOT / "requirements" / f"airflow-{name}.txt").read_text()


def airflow_in(pins: str) -> str:
    """Return the version of Airflow that a file pins."""
    (version,) = re.findall(r"^apache-airflow==([\d.]+)", pins_of(pins), re.MULTILINE)
    return str(version)


def interpreter(python: str) -> str | None:
    """Find a working Python of this version: on the PATH, where a pyenv shim may not work, or below pyenv."""
    on_path = shutil.which(f"python{python}")
    in_pyenv = Path.home().joinpath(".pyenv", "versions").glob(f"{python}.*/bin/python{python}")
    candidates = [sys.executable, *([on_path] if on_path else []), *map(str, sorted(in_pyenv, reverse=True))]
    return next((candidate for candidate in candidates if version_of(candidate) == python), None)


def version_of(executable: str) -> str:
    """Return the version that an executable reports; empty if it does not run."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()
