"""Runs a command: its log messages and its errors go to stderr, its result to stdout."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from vi_airflow_provider.cli.definition import shown_names
from vi_airflow_provider.cli.errors import exit_code, sentence
from vi_airflow_provider.cli.lazy import load
from vi_airflow_provider.storage.console import reserved_for_results

_PACKAGE: Final = "vi_airflow_provider"


def execute(handler: str, arguments: Any) -> int:
    """Execute a command, and return its exit code.

    :param handler: module and name of its function in this package, like ``flows.get_flow``
    """
    with _log_on_stderr(verbose=arguments.verbose):
        try:
            with reserved_for_results():
                return int(load(handler)(arguments))
        except (Exception, KeyboardInterrupt) as error:
            if arguments.verbose:
                _tell("".join(traceback.format_exception(error)).rstrip("\n"))
            _tell(sentence(error, shown_names(handler)))
            return exit_code(error)


def execute_in_airflow(handler: str, arguments: Any) -> None:
    """Execute a command of ``airflow``, which goes by the exit code of the process alone.

    :raises SystemExit: the exit code is not 0
    """
    if code := execute(handler, arguments):
        raise SystemExit(code)


def _tell(text: str) -> None:
    if sys.stderr is not None:  # closed by the caller
        print(text, file=sys.stderr)  # its error handler is `backslashreplace`


@contextmanager
def _log_on_stderr(*, verbose: bool) -> Iterator[None]:
    """Show the warnings of this package, or all its messages; those of libraries are not for a command's reader."""
    logger, handler = logging.getLogger(_PACKAGE), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            if not (verbose or sys.warnoptions):
                warnings.simplefilter("ignore")
            yield
    finally:
        logger.level, logger.propagate = before
        logger.removeHandler(handler)
