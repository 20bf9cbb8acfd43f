"""Prepare a release: ``make release`` does everything but the upload.

``check`` refuses to begin while something is not ready. ``collect`` puts into one folder what was built and checked:
the wheel, the source archive, the bill of materials (CycloneDX) of the wheel with its dependencies, and checksums.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.layers import ROOT
from tests.package.metadata import sha256
from vi_airflow_provider import __version__

CHANGELOG: Final = ROOT / "CHANGELOG.md"


def obstacles(version: str, changelog: str, tags: set[str], changed_files: str) -> Iterator[str]:
    """Yield what has to be done before the release."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        yield f"the version {version} is not of the form 1.2.3"
    if not re.search(rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
        yield f"CHANGELOG.md has no section '## {version} - YYYY-MM-DD'"
    if re.search(r"^## Unreleased\n+[^#\s]", changelog, re.MULTILINE):
        yield "CHANGELOG.md has unreleased changes"
    if f"v{version}" in tags:
        yield f"the tag v{version} exists"
    if changed_files.strip():
        yield "the work tree has changes"


def check() -> int:
    """Print what has to be done before the release; return the exit code."""
    found = list(obstacles(__version__, CHANGELOG.read_text(), set(_git("tag").split()), _git("status", "--short")))
    for obstacle in found:
        print(f"Not ready: {obstacle}.", file=sys.stderr)
    return 1 if found else 0


def collect(built: Path, tools: Path, target: Path) -> None:
    """Copy what was built, and add the bill of materials and the checksums."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for file in [*built.glob("*.whl"), *built.glob("*.tar.gz")]:
        shutil.copy2(file, target)
    bill = target / f"vi_airflow_provider-{__version__}.cdx.json"
    options = ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "-o", str(bill)]
    program = str(tools / "bin" / "cyclonedx-py")
    subprocess.run([program, "environment", *options, str(built / "environment")], check=True)  # noqa: S603
    sums = [f"{sha256(file)}  {file.name}\n" for file in sorted(target.iterdir())]
    (target / "SHA256SUMS").write_text("".join(sums))
    print("".join(sums), end="")
    print(f"Next: git tag v{__version__}, and upload with: twine upload {target.name}/*.whl {target.name}/*.tar.gz")
    if ".example" in (ROOT / "pyproject.toml").read_text():
        print("Before the first upload: replace the reserved mail address of the authors in pyproject.toml.")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603


if __name__ == "__main__":
    if sys.argv[1] == "check":
        sys.exit(check())
    collect(*(Path(argument).absolute() for argument in sys.argv[2:]))
