"""Fixtures: commands against the emulator, called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from vi_airflow_provider.cli import confirmation
from vi_airflow_provider.cli.connection import VARIABLES
from vi_airflow_provider.cli.parser import main
from vi_airflow_provider.emulator import Emulator


class Outcome(NamedTuple):
    """What a command has left: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The result of a command with ``-o json``."""
        return json.loads(self.out)


Cli = Callable[..., Outcome]
Answer = Callable[..., None]


@pytest.fixture
def environment(vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of ``vi-airflow`` for the emulator; they are set in this process, too."""
    monkeypatch.delenv("AIRFLOW_CONN_VI_DEFAULT")
    variables = {
        VARIABLES["login"]: vi_emulator.organization_id,
        VARIABLES["password"]: vi_emulator.secret_key,
        VARIABLES["host"]: vi_emulator.url,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def cli(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Cli:
    """A function that runs a command."""

    def call(*arguments: Any) -> Outcome:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:  # of the parser
            code = error.code if isinstance(error.code, int) else 1
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """A function that sets what a user types at a question, and what happens meanwhile."""

    def type_(text: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        def readline() -> str:
            meanwhile()
            return text

        monkeypatch.setattr(confirmation, "_can_ask", lambda: True)
        monkeypatch.setattr("sys.stdin", SimpleNamespace(readline=readline))

    return type_
