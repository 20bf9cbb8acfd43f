"""The commands, their options and their help: one declaration for ``vi-airflow`` and for ``airflow vi``.

Every call of ``airflow`` loads this module, so it imports nothing but data. A command names its handler, which is
imported when the command is executed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.cli.options import (
    ARCHIVE,
    CONN_ID,
    DRY_RUN,
    EXPORT,
    FLOW_FILTER,
    FLOW_ID,
    LIMIT,
    READ,
    RUN_FILTER,
    RUN_ID,
    RUN_RULES,
    SHOW,
    VERBOSE,
    YES,
    Command,
    Group,
    Option,
    archive_to,
    option,
    page_size,
    prune,
    repeatable,
)
from vi_airflow_provider.emulator.options import OPTIONS as EMULATOR_OPTIONS
from vi_airflow_provider.provider_info import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand


_FLOWS = Group(
    "flows",
    "List, read, export and delete flows",
    (
        Command(
            "list",
            "List flows, all of them or those that match",
            "flows.list_flows",
            (*FLOW_FILTER, *READ),
        ),
        Command("get", "Show one flow", "flows.get_flow", (FLOW_ID, *READ)),
        Command(
            "export",
            "Write flows to a file with a manifest",
            "export.export_flows",
            (*EXPORT, *FLOW_FILTER, *READ),
        ),
        Command(
            "prune",
            "Delete the flows that a retention policy selects; by default, only show which",
            "cleanup.prune_flows",
            prune("flow", "training project"),
        ),
        Command(
            "delete",
            "Delete one flow",
            "cleanup.delete",
            (
                FLOW_ID,
                option("--expected-etag", metavar="ETAG", help="delete the flow only if it has this etag"),
                archive_to("flow"),
                DRY_RUN,
                YES,
                *READ,
            ),
        ),
    ),
)
_RUNS = Group(
    "runs",
    "List, read, export, kill and delete training runs",
    (
        Command(
            "list",
            "List runs, newest first",
            "runs.list_runs",
            (*RUN_FILTER, *READ),
        ),
        Command("get", "Show one run", "runs.get_run", (RUN_ID, *READ)),
        Command(
            "logs",
            "Print the log of a run",
            "run_logs.show",
            (
                RUN_ID,
                option("-f", "--follow", action="store_true", help="go on until the run has ended"),
                option("--poll-interval", metavar="S", default="10", help="seconds between two reads (default: 10)"),
                option("--block", metavar="BLOCK", help="only this block of the pipeline"),
                option("--tail", metavar="N", help="only the last N lines"),
                VERBOSE,
                CONN_ID,
            ),
        ),
        Command(
            "kill",
            "Kill a run: permanent, and used credits are not refunded",
            "runs.kill",
            (
                RUN_ID,
                option("--no-wait", action="store_true", help="do not wait until the run is reported as ended"),
                DRY_RUN,
                YES,
                *READ,
            ),
        ),
        Command("outputs", "List the checkpoints of a run", "runs.list_outputs", (RUN_ID, *READ)),
        Command(
            "export",
            "Write runs to a file with a manifest",
            "export.export_runs",
            (
                *EXPORT,
                option("--no-outputs", action="store_true", help="without the metrics of the checkpoints"),
                *RUN_FILTER,
                page_size("run"),
                *READ,
            ),
        ),
        Command(
            "prune",
            "Delete the ended runs that a retention policy selects; by default, only show which",
            "cleanup.prune_runs",
            prune("run", "flow", *RUN_RULES),
        ),
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
                option(
                    "folder",
                    metavar="FOLDER",
                    help="path or URL of a folder of archives, with its subfolders",
                ),
                repeatable("--flow-id", "ID", "only this flow"),
                option("--name-pattern", metavar="GLOB", help="only flows whose name matches, case-sensitive"),
                option("--archived-after", metavar="TIME", help="archived at this time or later (ISO 8601)"),
                option("--archived-before", metavar="TIME", help="archived earlier than this"),
                LIMIT,
                *SHOW,
            ),
        ),
        Command(
            "show",
            "List the flows of an archive, or show one of them",
            "archive.show",
            (ARCHIVE, option("--flow-id", metavar="ID", help="show this flow as a whole"), *SHOW),
        ),
        Command(
            "restore",
            "Restore flows from an archive: same ids, specs and attributes",
            "archive.restore",
            (
                ARCHIVE,
                repeatable("--flow-id", "ID", "only this flow"),
                option(
                    "--if-exists",
                    choices=("fail", "skip", "replace"),
                    default="fail",
                    help="what to do about a flow that exists with other content (default: fail, and write nothing)",
                ),
                DRY_RUN,
                YES,
                *READ,
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
            (option("uri", metavar="EXPORT", help="path or URL of the export"), *SHOW),
        ),
        Command(
            "diff",
            "Show what changed between two jsonl exports; exit code 1 if anything did",
            "audit.diff",
            (
                option("old", metavar="OLD", help="path or URL of the older export"),
                option("new", metavar="NEW", help="path or URL of the newer export"),
                *SHOW,
            ),
        ),
        Command(
            "index",
            "Write a page over the exports of a folder and its subfolders",
            "audit.index",
            (
                option("folder", metavar="FOLDER", help="path or URL of the folder"),
                option("--page", metavar="FILE", help="the page (default: index.html in the folder)"),
                VERBOSE,
            ),
        ),
    ),
)
_CONNECTION = Group(
    "connection",
    "Check the connection to Vi",
    (Command("test", "Read one flow, and report in one sentence what works", "connection.test", (VERBOSE, CONN_ID)),),
)
_EMULATOR = Command(
    "emulator",
    "Serve a local Vi with sample flows until Ctrl-C",
    "emulator.serve",
    (*(Option(flags, settings) for flags, settings in EMULATOR_OPTIONS if "--secret-key" not in flags), VERBOSE),
)

#: All commands. What has no credentials of Vi to read is last.
COMMANDS: Final = Group(
    "vi", "Flows and training runs of Datature Vi", (_FLOWS, _RUNS, _ARCHIVES, _AUDIT, _CONNECTION, _EMULATOR)
)


def shown_names(handler: str, group: Group = COMMANDS) -> dict[str, str]:
    """Return what messages call the arguments of a command, by their names.

    :param handler: as of :class:`~vi_airflow_provider.cli.options.Command`
    """
    shown: dict[str, str] = {}
    for node in group.commands:
        if isinstance(node, Group):
            shown |= shown_names(handler, node)
        elif node.handler == handler:
            # Of two flags for one argument, --dry-run and --no-dry-run, the first one.
            shown |= {each.name: each.shown for each in reversed(node.options)}
    return shown


def get_airflow_commands() -> list[CLICommand]:
    """Return the command group ``airflow vi``; Airflow 3.2 and later call this (``cli`` of the provider's metadata)."""
    return [_for_airflow(COMMANDS)]


def _for_airflow(node: Command | Group) -> CLICommand:
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

    if isinstance(node, Group):
        return GroupCommand(node.name, node.help, [_for_airflow(command) for command in node.commands])
    arg: Any = Arg  # its constructor has no annotations
    options = [arg(each.flags, **_airflow_settings(each)) for each in node.options]
    execute = partial(lazy_load_command("vi_airflow_provider.cli.run.execute_in_airflow"), node.handler)
    return ActionCommand(node.name, node.help, execute, options)


def _airflow_settings(given: Option) -> dict[str, Any]:
    # Airflow's own commands use Airflow's connections, whatever credentials the environment has for other tools.
    if given is not CONN_ID:
        return given.settings
    return {**given.settings, "default": DEFAULT_CONN_ID, "help": f"id of the connection (default: {DEFAULT_CONN_ID})"}
