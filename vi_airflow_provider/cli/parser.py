"""``vi-airflow``: the same commands as ``airflow vi``, on every version of Airflow, and without importing it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from vi_airflow_provider import __version__
from vi_airflow_provider.cli.definition import COMMANDS
from vi_airflow_provider.cli.options import Command, Group
from vi_airflow_provider.cli.run import execute

if TYPE_CHECKING:
    from collections.abc import Sequence

PROG: Final = "vi-airflow"


class _Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, without the usage text."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown arguments here, where the help describes the known ones, and not in the first parser."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (entry point of the console script)."""
    chosen = build_parser().parse_args(arguments)
    return execute(chosen.handler, chosen)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(prog=PROG, description=f"{COMMANDS.help}.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    _add_commands(parser, COMMANDS)
    return parser


def _add_commands(parser: argparse.ArgumentParser, group: Group) -> None:
    added = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    for node in group.commands:
        child = added.add_parser(node.name, help=node.help, description=f"{node.help}.", allow_abbrev=False)
        if isinstance(node, Command):
            for option in node.options:
                child.add_argument(*option.flags, **option.settings)
            child.set_defaults(handler=node.handler)
        else:
            _add_commands(child, node)


if __name__ == "__main__":
    sys.exit(main())
