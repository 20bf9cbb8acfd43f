"""The declaration of the commands: complete, cheap, and the same for ``vi-airflow`` and ``airflow vi``."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.unit.test_house_rules import loaded_by
from vi_airflow_provider import get_provider_info
from vi_airflow_provider.cli.definition import COMMANDS, get_airflow_commands
from vi_airflow_provider.cli.options import CONN_ID, Command, Group, Option
from vi_airflow_provider.cli.parser import build_parser
from vi_airflow_provider.emulator.options import OPTIONS


def commands(node: Command | Group = COMMANDS, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Yield each command with its words."""
    if isinstance(node, Command):
        yield path, node
    else:
        for child in node.commands:
            yield from commands(child, (*path, child.name))


ALL: Final = dict(commands())
by_command: Final = pytest.mark.parametrize("words", ALL, ids=" ".join)


@by_command
def test_handler_exists_and_is_described(words: tuple[str, ...]) -> None:
    module, _, function = ALL[words].handler.rpartition(".")
    assert getattr(importlib.import_module(f"vi_airflow_provider.cli.{module}"), function).__doc__


@by_command
def test_every_option_has_a_help_text_and_a_verbose_form_exists(words: tuple[str, ...]) -> None:
    options = ALL[words].options
    assert all(option.settings["help"] for option in options)
    assert any("--verbose" in option.flags for option in options)


@by_command
def test_destructive_command_can_be_tried_and_confirmed(words: tuple[str, ...]) -> None:
    flags = {flag for option in ALL[words].options for flag in option.flags}
    if words[-1] in ("delete", "prune", "kill", "restore"):
        assert {"--dry-run", "--yes"} <= flags
    else:
        assert not flags & {"--dry-run", "--yes"}


@by_command
def test_no_command_takes_a_secret_as_an_argument(words: tuple[str, ...]) -> None:
    texts = [text for option in ALL[words].options for text in option.flags]
    assert [text for text in texts if re.search("secret|key|password|token", text)] == []


def test_emulator_takes_all_its_options_but_the_key() -> None:
    given = {flag for option in ALL["emulator",].options for flag in option.flags}
    assert {flag for flags, _ in OPTIONS for flag in flags} - given == {"--secret-key"}


@by_command
def test_help_is_printed_within_80_columns(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit_:
        build_parser().parse_args([*words, "--help"])
    out = capsys.readouterr().out
    assert exit_.value.code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert ALL[words].help.split()[0] in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "vi-airflow: the following arguments are required: COMMAND; see vi-airflow --help"),
        (["flows"], "vi-airflow flows: the following arguments are required: COMMAND; see vi-airflow flows --help"),
        (["flows", "get"], "the following arguments are required: FLOW_ID; see vi-airflow flows get --help"),
        (
            ["flows", "list", "--lim", "3"],
            "vi-airflow flows list: unrecognized arguments: --lim 3; see vi-airflow flows list --help",
        ),
        (["flows", "list", "-o", "xml"], "argument -o/--output: invalid choice: 'xml'"),
        (["nothing"], "argument COMMAND: invalid choice: 'nothing'"),
    ],
)
def test_wrong_usage_is_one_line_with_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        build_parser().parse_args(arguments)
    out, err = capsys.readouterr()
    assert (exit_.value.code, out, err.count("\n")) == (2, "", 1)
    assert message in err


# --- Airflow ---------------------------------------------------------------------------------------------------------


def test_provider_info_names_the_function() -> None:
    (name,) = get_provider_info()["cli"]
    module, _, function = name.rpartition(".")
    assert getattr(importlib.import_module(module), function) is get_airflow_commands


def test_definition_loads_no_library() -> None:
    ours = {
        name
        for name in loaded_by("import vi_airflow_provider.cli.definition")
        if name.startswith("vi_airflow_provider.") and ".emulator." not in name
    }
    names = ("cli", "cli.definition", "cli.options", "provider_info", "emulator")
    assert ours <= {f"vi_airflow_provider.{name}" for name in names}
    foreign = loaded_by("import vi_airflow_provider.cli.definition") & {"airflow", "pydantic", "starlette", "uvicorn"}
    assert foreign == set()


def test_commands_of_airflow_are_those_of_the_console_script() -> None:
    (group,) = get_airflow_commands()
    assert group.name == "vi"
    assert {words: taken(node.args) for words, node in airflow_commands(group)} == {
        words: [(option.flags, default_in_airflow(option)) for option in command.options]
        for words, command in ALL.items()
    }


def airflow_commands(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for child in getattr(node, "subcommands", ()):
        yield from airflow_commands(child, (*path, child.name))
    if not hasattr(node, "subcommands"):
        yield path, node


def taken(args: Any) -> list[tuple[tuple[str, ...], Any]]:
    """Return flags and defaults as Airflow adds them to a parser."""
    found = []
    for arg in args:
        parser = argparse.ArgumentParser()
        arg.add_to_parser(parser)
        action = parser._actions[-1]
        found.append((arg.flags, action.default))
    return found


def default_in_airflow(option: Option) -> Any:
    if option is CONN_ID:
        return "vi_default"
    parser = argparse.ArgumentParser()
    return parser.add_argument(*option.flags, **option.settings).default


def test_command_of_airflow_ends_the_process_with_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    (group,) = get_airflow_commands()
    command = dict(airflow_commands(group))["audit", "verify"]
    arguments = argparse.Namespace(uri="/no/such/export", output="table", verbose=False)
    with pytest.raises(SystemExit) as exit_:
        command.func(arguments)
    assert exit_.value.code == 2
    monkeypatch.setattr("vi_airflow_provider.cli.audit.verify", lambda arguments: 0)
    command.func(arguments)
