"""``docs/cli.md``: its examples run against the emulator, and it names every command, option and exit code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from tests.unit.cli.conftest import Cli, cli, environment
from tests.unit.cli.test_definition import ALL
from tests.unit.docs.pages import blocks, first_table, rows, section, text_of
from vi_airflow_provider.cli.connection import VARIABLES
from vi_airflow_provider.cli.errors import ExitCode
from vi_airflow_provider.cli.options import FORMATS
from vi_airflow_provider.emulator import Emulator

PAGE: Final = "cli.md"
__all__ = ["cli", "environment"]  # the fixtures


def examples() -> list[tuple[str, list[str]]]:
    """Return each command of the page, with the lines that it is to print."""
    found: list[tuple[str, list[str]]] = []
    for line in (line for block in blocks(PAGE, "console") for line in block.code.splitlines()):
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


def prints(shown: str, out: str) -> bool:
    """Tell whether a line of the page is among the printed ones; ``…`` stands for any text, spaces do not count."""
    pattern = ".*".join(re.escape("".join(part.split())) for part in shown.split("…"))
    return any(re.search(pattern, "".join(line.split())) for line in out.splitlines())


def test_examples_run_in_their_order(
    cli: Cli, vi_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = vi_emulator.store
    spec = {"name": "Weld", "schema": "v1", "tolerations": {}, "settings": {}, "blocks": []}
    store.put_flow("flow_abc123", {"spec": spec, "metadata": {"attributes": {}}})
    vi_emulator.plans.add(run_seconds=3600, queue_seconds=0)
    trained = {**spec, "name": "Another"}
    store.put_run("run_abc123", {"spec": {"flow": trained}, "metadata": {"attributes": {}}})
    vi_emulator.advance(60)
    monkeypatch.chdir(tmp_path)
    for command, shown in examples():
        words = shlex.split(command)
        assert words[0] == "vi-airflow"
        arguments = [archive_like(word) if "…" in word else word for word in words[1:]]
        code, out, err = cli(*arguments)
        assert (code, [line for line in shown if not prints(line, out + err)]) == (0, []), command


def archive_like(word: str) -> str:
    """Return the file whose name the page abbreviates: the newest one."""
    before, _, after = word.partition("…")
    return str(max(Path(before).glob(f"*{after}"), key=lambda path: path.stat().st_mtime_ns))


def test_every_command_and_option_is_described() -> None:
    text = text_of(PAGE)
    missing = {" ".join(words) for words in ALL if f"vi-airflow {' '.join(words)}" not in text}
    given = {words: command for words, command in ALL.items() if words != ("emulator",)}
    flags = {flag for command in given.values() for option in command.options for flag in option.flags}
    missing |= {flag for flag in flags if flag.startswith("--") and not re.search(rf"{flag}\b", text)}
    assert missing == set()


def test_exit_codes_formats_and_variables_are_those_of_the_code() -> None:
    assert [int(row[0]) for row in first_table(PAGE, "Exit codes")] == [code.value for code in ExitCode]
    assert [row[0] for row in first_table(PAGE, "Output")] == list(FORMATS)
    variables = [row[0] for row in rows(section(PAGE, "Credentials")) if row[0].startswith("DATATURE")]
    assert variables == list(VARIABLES.values())
