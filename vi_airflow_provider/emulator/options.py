"""The options of the emulator's command line, as ``argparse`` takes them."""

from __future__ import annotations

from typing import Any, Final

from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID, DEFAULT_SECRET_KEY
from vi_airflow_provider.emulator.store.behaviour import CHOICES


def _option(*flags: str, **settings: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return flags, settings


OPTIONS: Final = (
    _option("--host", default="127.0.0.1", help="address to listen on (%(default)s)"),
    _option("--port", type=int, default=8321, help="port to listen on, 0 for a free one (%(default)s)"),
    _option("--flows", type=int, default=40, help="number of sample flows (%(default)s)"),
    _option("--runs", type=int, default=0, help="number of sample runs that have ended (%(default)s)"),
    _option("--seed", type=int, default=0, help="the same seed gives the same flows (%(default)s)"),
    _option("--organization-id", default=DEFAULT_ORGANIZATION_ID, metavar="ID", help="(%(default)s)"),
    _option("--secret-key", default=DEFAULT_SECRET_KEY, metavar="KEY", help="the key that is accepted"),
    _option("--state", metavar="FILE", help="keep flows and runs in this file; created if missing"),
    _option(
        "--latency", dest="latency_ms", type=float, default=0, metavar="MS", help="delay of each response (%(default)s)"
    ),
    _option("--cursor", choices=CHOICES["cursor"], default="key", help="kind of page cursor (%(default)s)"),
    _option("--order", choices=CHOICES["order"], default="created", help="order of listings (%(default)s)"),
    _option(
        "--read-delay",
        dest="read_delay_ms",
        type=float,
        default=0,
        metavar="MS",
        help="time until a write becomes visible (%(default)s)",
    ),
    _option("--add-defaults", action="store_true", help="add defaults to specs that are written"),
    _option("--drop-attributes", action="store_true", help="ignore the attributes of a PUT"),
    _option(
        "--put-on-existing",
        choices=CHOICES["put_on_existing"],
        default="replace",
        help="what a PUT of an existing run does (%(default)s)",
    ),
    _option("--run-seconds", type=float, default=3600, metavar="S", help="how long runs take (%(default)s)"),
)
