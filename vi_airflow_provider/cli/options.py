"""The options of the commands: data that ``argparse`` takes, shared by the commands of flows and of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from vi_airflow_provider.provider_info import DEFAULT_CONN_ID


class Option(NamedTuple):
    """An argument or option of a command, as ``argparse`` takes it."""

    flags: tuple[str, ...]
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """The attribute of the parsed arguments."""
        return str(self.settings.get("dest") or self.flags[-1].lstrip("-").replace("-", "_"))

    @property
    def shown(self) -> str:
        """What its value is called in a message: the flag, or what the help calls a positional argument."""
        return self.flags[-1] if self.flags[-1].startswith("-") else str(self.settings["metavar"])


class Command(NamedTuple):
    """A command.

    :param handler: module and name of the function in this package that executes it: it takes the parsed arguments, and
        returns the exit code
    """

    name: str
    help: str
    handler: str
    options: Sequence[Option]


class Group(NamedTuple):
    """A group of commands."""

    name: str
    help: str
    commands: Sequence[Command | Group]


def option(*flags: str, **settings: Any) -> Option:
    """Declare an option."""
    return Option(flags, settings)


def repeatable(flag: str, metavar: str, help: str) -> Option:  # noqa: A002 - the word of argparse
    """Declare an option that may be given several times."""
    return option(flag, action="append", metavar=metavar, help=f"{help}; repeatable")


#: The formats of results.
FORMATS: Final = ("table", "plain", "json", "yaml")

OUTPUT: Final = option("-o", "--output", choices=FORMATS, default="table", help="table (default), plain, json or yaml")
VERBOSE: Final = option("-v", "--verbose", action="store_true", help="show log messages, and the traceback of an error")
#: The default is that of ``vi-airflow``; see ``connection.settings_of``.
CONN_ID: Final = option(
    "--conn-id",
    metavar="ID",
    help=f"id of an Airflow connection (default: variables DATATURE_VI_*, or {DEFAULT_CONN_ID})",
)
YES: Final = option("-y", "--yes", action="store_true", help="do not ask for a confirmation")
LIMIT: Final = option("--limit", metavar="N", help="stop after N of them")
DRY_RUN: Final = option("--dry-run", action="store_true", help="show what would be done, and change nothing")
FLOW_ID: Final = option("flow_id", metavar="FLOW_ID", help="id of the flow")
RUN_ID: Final = option("run_id", metavar="RUN_ID", help="id of the run")
ARCHIVE: Final = option("archive", metavar="ARCHIVE", help="path or URL of an archive (….flows.jsonl)")

SHOW: Final = (OUTPUT, VERBOSE)
READ: Final = (*SHOW, CONN_ID)

_CREATED: Final = (
    option("--created-after", metavar="TIME", help="created at this time or later (ISO 8601 with a time zone)"),
    option("--created-before", metavar="TIME", help="created earlier than this"),
)
_OLDER_THAN: Final = option("--older-than", metavar="DURATION", help="minimum time since the last update, like P90D")


def page_size(noun: str) -> Option:
    """Declare the size of a page."""
    return option("--page-size", metavar="N", help=f"{noun}s per request (default: the connection's setting)")


def archive_to(noun: str) -> Option:
    """Declare the folder of the archive."""
    help_ = f"path or URL of a folder; {noun}s are archived there before they are deleted"
    return option("--archive-to", metavar="FOLDER", help=help_)


def _scope(noun: str) -> tuple[Option, ...]:
    return (
        option("--training-project", metavar="ID", help=f"only {noun}s of this training project"),
        repeatable("--attribute", "KEY=VALUE", f"only {noun}s with this attribute"),
    )


#: The filter of flows.
FLOW_FILTER: Final = (
    option("--name-pattern", metavar="GLOB", help="only flows whose name matches, case-sensitive"),
    *_scope("flow"),
    *_CREATED,
    option("--updated-after", metavar="TIME", help="last updated at this time or later"),
    option("--updated-before", metavar="TIME", help="last updated earlier than this"),
    _OLDER_THAN,
    LIMIT,
    page_size("flow"),
)
#: The filter of runs.
RUN_FILTER: Final = (
    option(
        "--state",
        action="append",
        choices=("queued", "running", "succeeded", "failed", "killed"),
        help="only runs in this state; repeatable",
    ),
    option("--flow-id", metavar="ID", help="only runs that Airflow started of this flow"),
    *_scope("run"),
    *_CREATED,
    _OLDER_THAN,
    LIMIT,
)
EXPORT: Final = (
    option("destination", metavar="FILE", help="path or URL of the file; with .gz it is compressed"),
    option("--format", choices=("jsonl", "csv", "parquet"), help="format of the file (default: that of its suffix)"),
    option(
        "--compare-to",
        metavar="EXPORT",
        help="an earlier jsonl export; or 'previous', the newest one in the folder of FILE; or a folder that ends in /",
    ),
    option("--fail-on-drift", action="store_true", help="exit with 1 if anything has changed since then"),
    option("--html-report", action="store_true", help="write a page for people beside the export"),
    option("--no-csv-bom", action="store_true", help="begin a csv without a byte order mark"),
)


def prune(noun: str, group: str, *own: Option) -> tuple[Option, ...]:
    """Declare the options of a cleanup.

    :param noun: what is deleted, in the singular
    :param group: the group within which ``--keep-last`` counts
    :param own: options that only these have
    """
    return (
        option("--older-than", metavar="DURATION", help=f"minimum age of a {noun}, like P90D"),
        option(
            "--age-of",
            choices=("last_updated", "time_created"),
            default="last_updated",
            help="what the age counts from (default: last_updated)",
        ),
        option("--name-pattern", metavar="GLOB", help=f"only {noun}s whose name matches, case-sensitive"),
        *_scope(noun),
        *own,
        option("--keep-last", metavar="N", help=f"spare the N most recent {noun}s of each {group}"),
        repeatable("--protect-id", "ID", f"spare this {noun}"),
        repeatable("--protect-name", "GLOB", f"spare {noun}s whose name matches"),
        repeatable("--protect-attribute", "KEY=VALUE", f"spare {noun}s with this attribute"),
        option("--plan", metavar="FILE", help="instead of a policy, the report of a dry run (from -o json)"),
        *_limits(noun),
        option("--dry-run", dest="dry_run", action="store_true", default=True, help="delete nothing (default)"),
        option("--no-dry-run", dest="dry_run", action="store_false", help="delete, after a confirmation"),
        YES,
        *READ,
    )


def _limits(noun: str) -> tuple[Option, ...]:
    return (
        option(
            "--max-delete",
            metavar="N",
            default="50",
            help=f"delete nothing if more {noun}s are selected (default: 50)",
        ),
        option(
            "--max-delete-fraction",
            metavar="F",
            default="0.5",
            help=f"delete nothing if a larger fraction of all {noun}s is selected (default: 0.5)",
        ),
        option(
            "--protect-unmatched",
            choices=("warn", "fail"),
            default="warn",
            help=f"what to do about a rule that matches no {noun} (default: warn)",
        ),
        archive_to(noun),
        option("--allow-unarchived", action="store_true", help="delete without an archive"),
        option("--concurrency", metavar="N", default="4", help=f"{noun}s deleted at the same time (default: 4)"),
        page_size(noun),
    )


#: What a cleanup of runs has beyond one of flows.
RUN_RULES: Final = (
    option(
        "--state",
        action="append",
        choices=("succeeded", "failed", "killed"),
        help="only runs that have ended in this state; repeatable (default: all of them)",
    ),
    option("--keep-best", metavar="N", help="spare the N best runs of each flow"),
    option(
        "--best-metric",
        nargs=2,
        metavar=("NAME", "GOAL"),
        help="the metric by which the best runs are found, and max or min",
    ),
    option("--keep-succeeded", metavar="N", help="spare the N most recent succeeded runs of each flow"),
)
