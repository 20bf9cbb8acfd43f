"""``python -m vi_airflow_provider.audit``: verify an export against its manifest, or show what changed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vi_airflow_provider.api.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0: success, 1: the exports differ, 2: an export cannot be trusted or read."""
    parser = argparse.ArgumentParser(prog="python -m vi_airflow_provider.audit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="check an export against its manifest")
    verify.add_argument("uri", type=_absolute, help="path or URL of the export")
    diff = commands.add_parser("diff", help="show what changed between two jsonl exports")
    diff.add_argument("old", type=_absolute, help="path or URL of the older export")
    diff.add_argument("new", type=_absolute, help="path or URL of the newer export")
    chosen = parser.parse_args(arguments)

    from vi_airflow_provider.audit import manifest, reader, stored_diff

    try:
        if chosen.command == "verify":
            found = reader.verify(chosen.uri, every_flow=True)
            print(f"{chosen.uri} is complete: {found.count} flows, sha256 {found.sha256}")
            return 0
        with stored_diff.spooled_diff(reader.read_export(chosen.old), reader.read_export(chosen.new)) as changes:
            for line in changes.lines():
                print(line)
            print(f"{len(changes.added)} added, {len(changes.removed)} removed, {len(changes.changed)} changed")
            return 1 if changes else 0
    except manifest.ExportError as error:  # it may name several flows, each on a line
        print(error, file=sys.stderr)
    except Exception as error:  # whatever a storage's driver raises: an outage must not look like a difference
        print(one_line(f"{type(error).__name__}: {error}"), file=sys.stderr)
    return 2


def _absolute(uri: str) -> str:
    # ObjectStoragePath does not know the working directory in every version of Airflow.
    return uri if "://" in uri else str(Path(uri).absolute())


if __name__ == "__main__":
    sys.exit(main())
