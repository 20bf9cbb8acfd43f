"""``vi-airflow emulator``: the emulator's own command line, except for its key, which has a default."""

from __future__ import annotations

from typing import Any

from vi_airflow_provider.cli.errors import CommandError, ExitCode
from vi_airflow_provider.emulator import __main__ as command_line
from vi_airflow_provider.emulator.options import OPTIONS
from vi_airflow_provider.storage.console import print_lines


def serve(arguments: Any) -> int:
    """Serve until SIGINT or SIGTERM."""
    names = (settings.get("dest") or flags[0].lstrip("-").replace("-", "_") for flags, settings in OPTIONS)
    options = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    try:
        return command_line.serve(options, "vi-airflow emulator", lambda text: print_lines(text.splitlines()))
    except command_line.UnusableError as error:
        reason = str(error)
    raise CommandError(reason, ExitCode.UNUSABLE)
