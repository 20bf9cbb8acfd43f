"""Check the built package: ``python -m tests.package FOLDER``, where the folder has a wheel and a source archive.

The arguments after the folder are the environment with the packaging tools, the executable of uv, and the interpreter
for the clean environment.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.layers import ROOT
from tests.package.contents import check_source_archive, check_wheel
from tests.package.installed import check_installed
from tests.package.metadata import check_metadata, check_reproducible


def main() -> int:
    """Run all checks; the first that fails raises."""
    folder, tools, uv = (Path(argument).absolute() for argument in sys.argv[1:4])
    (archive,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    check_wheel(wheel)
    check_metadata(tools / "bin", wheel, archive)
    check_reproducible(uv, wheel)
    check_installed(uv, sys.argv[4], wheel, ROOT / "requirements" / "airflow-3.3.txt", folder / "environment")
    check_source_archive(archive)
    return 0


if __name__ == "__main__":
    sys.exit(main())
