"""`python -m vi_airflow_provider.emulator`: a local Vi until Ctrl-C."""

from __future__ import annotations

import argparse
import ipaddress
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

from vi_airflow_provider.emulator.guidance import next_steps
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID, DEFAULT_SECRET_KEY
from vi_airflow_provider.emulator.store.behaviour import CHOICES
from vi_airflow_provider.emulator.store.state_file import StateError

if TYPE_CHECKING:
    from vi_airflow_provider.emulator.server import Emulator

PROG = "python -m vi_airflow_provider.emulator"


class _Parser(argparse.ArgumentParser):
    """Reports every mistake in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65535:
        parser.error(f"port must be from 0 to 65535, not {options.port}")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with _started(parser, options) as emulator:
        if not _is_loopback(options.host):
            warning = f"{options.host} is not a loopback address; others can reach the emulator"
            print(f"{PROG}: warning: {warning}", file=sys.stderr)
        print(_banner(emulator), flush=True)
        stopped.wait()
    return 0


def _started(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Emulator:
    try:
        from vi_airflow_provider.emulator.server import Emulator
    except ModuleNotFoundError as error:
        parser.error(f"{error.name} is not installed: pip install 'vi-airflow-provider[emulator]'")
    try:
        return Emulator(**vars(options)).start()
    except OSError as error:
        reason = str(error.strerror or error).partition(" (")[0]  # the remainder repeats the address
        parser.error(f"cannot listen on {options.host} port {options.port}: {reason}")
    except (ValueError, StateError) as error:
        parser.error(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROG, description="A local Datature Vi with sample flows.", allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8321, help="port to listen on, 0 for a free one (%(default)s)")
    parser.add_argument("--flows", type=int, default=40, help="number of sample flows (%(default)s)")
    parser.add_argument("--runs", type=int, default=0, help="number of sample runs that have ended (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same flows (%(default)s)")
    parser.add_argument("--organization-id", default=DEFAULT_ORGANIZATION_ID, metavar="ID", help="(%(default)s)")
    parser.add_argument("--secret-key", default=DEFAULT_SECRET_KEY, metavar="KEY", help="the key that is accepted")
    parser.add_argument("--state", metavar="FILE", help="keep flows and runs in this file; created if missing")
    parser.add_argument(
        "--latency", dest="latency_ms", type=float, default=0, metavar="MS", help="delay of each response (%(default)s)"
    )
    parser.add_argument("--cursor", choices=CHOICES["cursor"], default="key", help="kind of page cursor (%(default)s)")
    parser.add_argument("--order", choices=CHOICES["order"], default="created", help="order of listings (%(default)s)")
    parser.add_argument(
        "--read-delay",
        dest="read_delay_ms",
        type=float,
        default=0,
        metavar="MS",
        help="hide writes so long (%(default)s)",
    )
    parser.add_argument("--add-defaults", action="store_true", help="add defaults to specs that are written")
    parser.add_argument("--drop-attributes", action="store_true", help="ignore the attributes of a PUT")
    parser.add_argument(
        "--put-on-existing",
        choices=CHOICES["put_on_existing"],
        default="replace",
        help="what a PUT of an existing run does (%(default)s)",
    )
    parser.add_argument("--run-seconds", type=float, default=3600, metavar="S", help="how long runs take (%(default)s)")
    return parser


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
