"""What package indexes and auditors see: the metadata, and a wheel that anyone can rebuild."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tests.layers import ROOT
from tests.package.contents import source_files

#: Rating of pyroma, of 10.
MIN_RATING: Final = 9


def check_metadata(tools: Path, wheel: Path, archive: Path) -> None:
    """Run the checkers of the packaging tools.

    :param tools: the folder with their executables
    :raises subprocess.CalledProcessError: one of them is not satisfied
    """
    _run([tools / "twine", "check", "--strict", wheel, archive])
    _run([tools / "check-wheel-contents", wheel])
    _run([tools / "pyroma", "-n", str(MIN_RATING), archive])


def check_reproducible(uv: Path, wheel: Path) -> None:
    """Build the wheel again from a copy of the sources in another folder, with other times; compare byte by byte.

    :raises AssertionError: the wheels differ
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        for name in source_files():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
        _run([uv, "build", "-q", "--wheel", "--out-dir", f"{folder}/dist", copy])
        (again,) = Path(folder, "dist").glob("*.whl")
        assert again.name == wheel.name
        assert sha256(again) == sha256(wheel), "building the wheel twice gives different files"
    print(f"{wheel.name}: reproducible, sha256 {sha256(wheel)}")


def sha256(file: Path) -> str:
    """Return the checksum of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout[-4000:]
    print(f"{Path(command[0]).name}: passed")
