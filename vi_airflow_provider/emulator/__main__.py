"""`python -m vi_airflow_provider.emulator`: a local Vi until Ctrl-C."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from vi_airflow_provider.emulator.guidance import next_steps
from vi_airflow_provider.emulator.options import OPTIONS
from vi_airflow_provider.emulator.store.state_file import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vi_airflow_provider.emulator.server import Emulator

PROG = "python -m vi_airflow_provider.emulator"


class _Parser(argparse.ArgumentParser):
    """Reports every mistake in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


class UnusableError(Exception):
    """The options cannot be used; the message gives the reason, in one line."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = _Parser(prog=PROG, description="A local Datature Vi with sample flows.", allow_abbrev=False)
    for flags, settings in OPTIONS:
        parser.add_argument(*flags, **settings)
    try:
        return serve(vars(parser.parse_args(arguments)), PROG)
    except UnusableError as error:
        parser.error(str(error))


def serve(options: Mapping[str, Any], prog: str, show: Callable[[str], object] = print) -> int:
    """Serve until SIGINT or SIGTERM, and return the exit code.

    :param options: the values of :data:`OPTIONS`, or of some of them
    :param prog: the command, for a warning
    :param show: gets the text with the address and what to do next
    :raises UnusableError: a value is out of range, the port is in use, or the state file is damaged
    """
    if not 0 <= options["port"] <= 65535:
        raise UnusableError(f"port must be from 0 to 65535, not {options['port']}")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with _started(options) as emulator:
        if not _is_loopback(options["host"]):
            warning = f"{options['host']} is not a loopback address; others can reach the emulator"
            print(f"{prog}: warning: {warning}", file=sys.stderr)
        show(_banner(emulator))
        sys.stdout.flush()
        stopped.wait()
    return 0


def _started(options: Mapping[str, Any]) -> Emulator:
    try:
        from vi_airflow_provider.emulator.server import Emulator
    except ModuleNotFoundError as error:
        reason = f"{error.name} is not installed: pip install 'vi-airflow-provider[emulator]'"
    else:
        try:
            return Emulator(**options).start()
        except OSError as error:
            problem = str(error.strerror or error).partition(" (")[0]  # the remainder repeats the address
            advice = "; choose another one with --port" if error.errno == errno.EADDRINUSE else ""
            reason = f"cannot listen on {options['host']} port {options['port']}: {problem}{advice}"
        except (ValueError, StateError) as error:
            reason = str(error)
    raise UnusableError(reason)


def _banner(emulator: Emulator) -> str:
    return "\n".join(
        (
            f"Vi emulator with {len(emulator.store.flow_ids())} flows; Ctrl-C stops it",
            f"url: {emulator.url}",
            f"organization id: {emulator.organization_id}",
            f"secret key: {emulator.secret_key}",
            emulator.export_line,
            "",
            *next_steps(emulator.url, emulator.organization_id),
        )
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    sys.exit(main())
