"""``python -m vi_airflow_provider.audit``: verify an export against its manifest, or show what changed."""

from __future__ import annotations

import argparse
import io
import os
import sys
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.audit import manifest, plan, reader, stored_diff

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vi_airflow_provider.audit.subject import Subject


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0: success; 1: the exports differ; 2: an export cannot be trusted or read; 3: the output cannot be written.
    """
    chosen = _parser().parse_args(arguments)
    with ExitStack() as resources:
        try:
            if chosen.command == "verify":
                code, lines = _verify(chosen.uri)
            else:
                code, lines = _diff(chosen.old, chosen.new, resources)
        except manifest.ExportError as error:  # it may name several flows, each on a line
            print(error, file=sys.stderr)
            return 2
        except Exception as error:  # whatever a storage's driver raises: an outage must not be reported as a difference
            print(one_line(f"{type(error).__name__}: {error}"), file=sys.stderr)
            return 2
        return _print(lines, code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vi_airflow_provider.audit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="check an export against its manifest")
    verify.add_argument("uri", type=_absolute, help="path or URL of the export")
    diff = commands.add_parser("diff", help="show what changed between two jsonl exports")
    diff.add_argument("old", type=_absolute, help="path or URL of the older export")
    diff.add_argument("new", type=_absolute, help="path or URL of the newer export")
    return parser


def _absolute(uri: str) -> str:
    # ObjectStoragePath does not know the working directory in every version of Airflow.
    return uri if "://" in uri else str(Path(uri).absolute())


def _verify(uri: str) -> tuple[int, Iterable[str]]:
    subject = reader.subject_of(uri)
    found = reader.verify(uri, subject, every_document=True)
    return 0, [f"{uri} is complete: {found.count} {subject.noun}s, sha256 {found.sha256}"]


def _diff(old: str, new: str, resources: ExitStack) -> tuple[int, Iterable[str]]:
    subject = reader.subject_of(new)
    if reader.subject_of(old) is not subject:
        raise manifest.ExportError(f"{new} is an export of {subject.noun}s, but {old} is not")
    before, after = (reader.read_documents(uri, subject) for uri in (old, new))
    changes = resources.enter_context(stored_diff.spooled_diff(before, after, subject))
    if caveat := _caveat(old, new, subject):
        print(caveat, file=sys.stderr)
    counts = ", ".join(f"{count} {kind}" for kind, count in changes.counts().items())
    return int(bool(changes)), chain(changes.lines(), (counts,))


def _caveat(old: str, new: str, subject: Subject[Any]) -> str | None:
    """Return what a reader of the diff must know, if the manifests show it; a diff needs no manifests."""
    try:
        paths = (manifest.files_of(uri).manifest for uri in (old, new))
        before, after = (manifest.read_manifest(path, subject.manifest)[0].filters for path in paths)
    except manifest.ExportError:
        return None
    if plan.select_the_same(subject.filter, before, after):
        return None
    return plan.selection_caveat(subject.noun, (new, after), (old, before))


def _print(lines: Iterable[str], code: int) -> int:
    """Print, and return the exit code: an output error is not a verdict on the exports."""
    if sys.stdout is None:  # closed by the caller, as by `>&-`: only the exit code is wanted
        return code
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for terminals that are not UTF-8
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough, as `head` does. At exit, Python flushes once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(one_line(f"the output cannot be written: {error}"), file=sys.stderr)
        return 3
    return code


if __name__ == "__main__":
    sys.exit(main())
