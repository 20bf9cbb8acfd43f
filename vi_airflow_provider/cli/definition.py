"""The commands, their options and their help: one declaration for ``vi-airflow`` and for ``airflow vi``.

Every call of ``airflow`` loads this module, so it imports nothing but data. A command names its handler, which is
imported when the command is executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vi_airflow_provider.emulator.options import OPTIONS as EMULATOR_OPTIONS
from vi_airflow_provider.provider_info import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand


class Option(NamedTuple):
    """An argument or option of a command, as ``argparse`` takes it."""

    flags: tuple[str, ...]
    settings: dict[str, Any]


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


def _option(*flags: str, **settings: Any) -> Option:
    return Option(flags, settings)


def _repeatable(flag: str, metavar: str, help: str) -> Option:  # noqa: A002 - the word of argparse
    return _option(flag, action="append", metavar=metavar, help=f"{help}; repeatable")


FORMATS: Final = ("table", "plain", "json", "yaml")

_OUTPUT = _option("-o", "--output", choices=FORMATS, default="table", help="table (default), plain, json or yaml")
_VERBOSE = _option("-v", "--verbose", action="store_true", help="show log messages, and the traceback of an error")
#: The default is that of ``vi-airflow``; see ``connection.open_client``.
CONN_ID: Final = _option("--conn-id", metavar="ID", help=f"id of the Airflow connection (default: {DEFAULT_CONN_ID})")
_YES = _option("-y", "--yes", action="store_true", help="do not ask for a confirmation")
_LIMIT = _option("--limit", metavar="N", help="stop after N of them")
_PAGE_SIZE = _option("--page-size", metavar="N", help="flows per request (default: the connection's setting)")
_DRY_RUN = _option("--dry-run", action="store_true", help="show what would be done, and change nothing")
_FLOW_ID = _option("flow_id", metavar="FLOW_ID", help="id of the flow")
_RUN_ID = _option("run_id", metavar="RUN_ID", help="id of the run")
_ARCHIVE = _option("archive", metavar="ARCHIVE", help="path or URL of an archive (….flows.jsonl)")
_ARCHIVE_TO = _option(
    "--archive-to", metavar="FOLDER", help="path or URL of a folder; flows are archived there before they are deleted"
)

_SHOW = (_OUTPUT, _VERBOSE)
_READ = (*_SHOW, CONN_ID)

_SCOPE = (
    _option("--name-pattern", metavar="GLOB", help="only flows with such a name, case-sensitive"),
    _option("--training-project", metavar="ID", help="only flows of this training project"),
    _repeatable("--attribute", "KEY=VALUE", "only flows with this attribute"),
)
_FILTER = (
    *_SCOPE,
    _option("--created-after", metavar="TIME", help="created at this time or later (ISO 8601 with a time zone)"),
    _option("--created-before", metavar="TIME", help="created earlier than this"),
    _option("--updated-after", metavar="TIME", help="last updated at this time or later"),
    _option("--updated-before", metavar="TIME", help="last updated earlier than this"),
    _option("--older-than", metavar="DURATION", help="last updated at least so long ago, like P90D"),
    _LIMIT,
    _PAGE_SIZE,
)
_POLICY = (
    _option("--older-than", metavar="DURATION", help="minimum age of a flow, like P90D"),
    _option(
        "--age-of",
        choices=("last_updated", "time_created"),
        default="last_updated",
        help="what the age counts from (default: last_updated)",
    ),
    *_SCOPE,
    _option("--keep-last", metavar="N", help="spare the N most recent flows of each training project"),
    _repeatable("--protect-id", "ID", "spare this flow"),
    _repeatable("--protect-name", "GLOB", "spare flows with such a name"),
    _repeatable("--protect-attribute", "KEY=VALUE", "spare flows with this attribute"),
)
_LIMITS = (
    _option("--max-delete", metavar="N", default="50", help="delete nothing if more flows are selected (default: 50)"),
    _option(
        "--max-delete-fraction",
        metavar="F",
        default="0.5",
        help="delete nothing if a larger fraction of all flows is selected (default: 0.5)",
    ),
    _option(
        "--protect-unmatched",
        choices=("warn", "fail"),
        default="warn",
        help="what to do about a rule that matches no flow (default: warn)",
    ),
    _ARCHIVE_TO,
    _option("--allow-unarchived", action="store_true", help="delete without an archive"),
    _option("--concurrency", metavar="N", default="4", help="flows that are deleted at the same time (default: 4)"),
    _PAGE_SIZE,
)

_FLOWS = Group(
    "flows",
    "List, read, export and delete flows",
    (
        Command(
            "list",
            "List flows, all of them or those that match",
            "flows.list_flows",
            (*_FILTER, *_READ),
        ),
        Command("get", "Show one flow", "flows.get_flow", (_FLOW_ID, *_READ)),
        Command(
            "export",
            "Write flows to a file with a manifest",
            "export.export",
            (
                _option("destination", metavar="FILE", help="path or URL of the file; with .gz it is compressed"),
                _option("--format", choices=("jsonl", "csv", "parquet"), help="by default what the suffix implies"),
                _option(
                    "--compare-to",
                    metavar="EXPORT",
                    help="an earlier jsonl export; or 'previous', the newest one in the folder of FILE; or a folder "
                    "that ends in /",
                ),
                _option("--fail-on-drift", action="store_true", help="exit with 1 if anything has changed since then"),
                _option("--html-report", action="store_true", help="write a page for people beside the export"),
                _option("--no-csv-bom", action="store_true", help="begin a csv without a byte order mark"),
                *_FILTER,
                *_READ,
            ),
        ),
        Command(
            "prune",
            "Delete the flows that a retention policy selects; by default, only show which",
            "cleanup.prune",
            (
                *_POLICY,
                _option("--plan", metavar="FILE", help="instead of a policy, the report of a dry run (from -o json)"),
                *_LIMITS,
                _option(
                    "--dry-run", dest="dry_run", action="store_true", default=True, help="delete nothing (default)"
                ),
                _option("--no-dry-run", dest="dry_run", action="store_false", help="delete, after a confirmation"),
                _YES,
                *_READ,
            ),
        ),
        Command(
            "delete",
            "Delete one flow",
            "cleanup.delete",
            (
                _FLOW_ID,
                _option("--expected-etag", metavar="ETAG", help="delete the flow only if it has this etag"),
                _ARCHIVE_TO,
                _DRY_RUN,
                _YES,
                *_READ,
            ),
        ),
    ),
)
_RUNS = Group(
    "runs",
    "List, read and kill training runs",
    (
        Command(
            "list",
            "List runs, newest first",
            "runs.list_runs",
            (
                _option(
                    "--state",
                    action="append",
                    choices=("queued", "running", "succeeded", "failed", "killed"),
                    help="only runs in this state; repeatable",
                ),
                _option("--flow-id", metavar="ID", help="only runs that Airflow started of this flow"),
                _option("--training-project", metavar="ID", help="only runs of this training project"),
                _repeatable("--attribute", "KEY=VALUE", "only runs with this attribute"),
                _option("--older-than", metavar="DURATION", help="last updated at least so long ago, like P90D"),
                _LIMIT,
                *_READ,
            ),
        ),
        Command("get", "Show one run", "runs.get_run", (_RUN_ID, *_READ)),
        Command(
            "logs",
            "Print the log of a run",
            "run_logs.show",
            (
                _RUN_ID,
                _option("-f", "--follow", action="store_true", help="go on until the run has ended"),
                _option("--poll-interval", metavar="S", default="10", help="seconds between two reads (default: 10)"),
                _option("--block", metavar="BLOCK", help="only this block of the pipeline"),
                _option("--tail", metavar="N", help="only the last N lines"),
                _VERBOSE,
                CONN_ID,
            ),
        ),
        Command(
            "kill",
            "Kill a run: permanent, and used credits are not refunded",
            "runs.kill",
            (
                _RUN_ID,
                _option("--no-wait", action="store_true", help="do not wait until the run is reported as ended"),
                _DRY_RUN,
                _YES,
                *_READ,
            ),
        ),
        Command("outputs", "List the checkpoints of a run", "runs.list_outputs", (_RUN_ID, *_READ)),
    ),
)
_ARCHIVES = Group(
    "archive",
    "Find and restore deleted flows",
    (
        Command(
            "find",
            "Find the archives that contain a flow, newest first",
            "archive.find",
            (
                _option("folder", metavar="FOLDER", help="path or URL of a folder of archives; subfolders count"),
                _repeatable("--flow-id", "ID", "only this flow"),
                _option("--name-pattern", metavar="GLOB", help="only flows with such a name, case-sensitive"),
                _option("--archived-after", metavar="TIME", help="archived at this time or later (ISO 8601)"),
                _option("--archived-before", metavar="TIME", help="archived earlier than this"),
                _LIMIT,
                *_SHOW,
            ),
        ),
        Command(
            "show",
            "List the flows of an archive, or show one of them",
            "archive.show",
            (_ARCHIVE, _option("--flow-id", metavar="ID", help="show this flow as a whole"), *_SHOW),
        ),
        Command(
            "restore",
            "Restore flows from an archive: same ids, specs and attributes",
            "archive.restore",
            (
                _ARCHIVE,
                _repeatable("--flow-id", "ID", "only this flow"),
                _option(
                    "--if-exists",
                    choices=("fail", "skip", "replace"),
                    default="fail",
                    help="what to do about a flow that exists with other content (default: fail, and write nothing)",
                ),
                _DRY_RUN,
                _YES,
                *_READ,
            ),
        ),
    ),
)
_AUDIT = Group(
    "audit",
    "Verify and compare exports",
    (
        Command(
            "verify",
            "Check an export against its manifest",
            "audit.verify",
            (_option("uri", metavar="EXPORT", help="path or URL of the export"), *_SHOW),
        ),
        Command(
            "diff",
            "Show what changed between two jsonl exports; exit code 1 if anything did",
            "audit.diff",
            (
                _option("old", metavar="OLD", help="path or URL of the older export"),
                _option("new", metavar="NEW", help="path or URL of the newer export"),
                *_SHOW,
            ),
        ),
        Command(
            "index",
            "Write a page over the exports of a folder and its subfolders",
            "audit.index",
            (
                _option("folder", metavar="FOLDER", help="path or URL of the folder"),
                _option("--page", metavar="FILE", help="the page (default: index.html in the folder)"),
                _VERBOSE,
            ),
        ),
    ),
)
_CONNECTION = Group(
    "connection",
    "Check the connection to Vi",
    (Command("test", "Read one flow, and report in one sentence what works", "connection.test", (_VERBOSE, CONN_ID)),),
)
_EMULATOR = Command(
    "emulator",
    "Serve a local Vi with sample flows until Ctrl-C",
    "emulator.serve",
    (*(Option(flags, settings) for flags, settings in EMULATOR_OPTIONS if "--secret-key" not in flags), _VERBOSE),
)

#: All commands. What has no credentials of Vi to read is last.
COMMANDS: Final = Group(
    "vi", "Flows and training runs of Datature Vi", (_FLOWS, _RUNS, _ARCHIVES, _AUDIT, _CONNECTION, _EMULATOR)
)


def get_airflow_commands() -> list[CLICommand]:
    """Return the command group ``airflow vi``; Airflow 3.2 and later call this (``cli`` of the provider's metadata)."""
    return [_for_airflow(COMMANDS)]


def _for_airflow(node: Command | Group) -> CLICommand:
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

    if isinstance(node, Group):
        return GroupCommand(node.name, node.help, [_for_airflow(command) for command in node.commands])
    arg: Any = Arg  # its constructor has no annotations
    options = [arg(option.flags, **_airflow_settings(option)) for option in node.options]
    execute = partial(lazy_load_command("vi_airflow_provider.cli.run.execute_in_airflow"), node.handler)
    return ActionCommand(node.name, node.help, execute, options)


def _airflow_settings(option: Option) -> dict[str, Any]:
    # Airflow's own commands use Airflow's connections, whatever credentials the environment has for other tools.
    return {**option.settings, "default": DEFAULT_CONN_ID} if option is CONN_ID else option.settings
