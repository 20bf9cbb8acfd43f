"""Where a command finds its credentials, and that it shows them nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.unit.cli.conftest import Cli
from vi_airflow_provider.cli.connection import VARIABLES, settings_of
from vi_airflow_provider.emulator import Emulator

#: A part of the emulator's key.
KEY_PART: Final = "dtvi_emulator"


def test_connection_test_reports_what_works(cli: Cli, vi_emulator: Emulator) -> None:
    code, out, err = cli("connection", "test")
    expected = (
        f"Connected to {vi_emulator.url}: the key can read its flows in organization {vi_emulator.organization_id}."
    )
    assert (code, out, err) == (0, f"{expected}\n", "")


def test_connection_test_reports_the_organization_that_is_unknown(
    cli: Cli, vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLES["login"], "another-organization")
    code, out, err = cli("connection", "test")
    assert (code, out) in ((5, ""), (6, ""))
    assert err.count("\n") == 1


def test_variables_are_stripped_and_the_endpoint_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLES["login"], " org\n")
    monkeypatch.setenv(VARIABLES["password"], "dtvi_" + "x" * 98 + "\n")
    settings = settings_of(None)
    assert (settings.organization_id, settings.endpoint) == ("org", "https://api.vi.datature.com")


def test_advice_names_the_variables_that_were_used(
    cli: Cli, vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLES["login"], vi_emulator.organization_id)
    monkeypatch.setenv(VARIABLES["password"], "dtvi_" + "x" * 98)
    monkeypatch.setenv(VARIABLES["host"], vi_emulator.url)
    code, _, err = cli("flows", "list")
    assert code == 5
    assert "Check the secret key (DATATURE_VI_SECRET_KEY)" in err
    code, _, err = cli("flows", "list", "--conn-id", "nope")
    assert "DATATURE_VI_SECRET_KEY in the environment" in err


def test_airflow_connection_is_read_if_no_variable_is_set(vi_emulator: Emulator) -> None:
    assert settings_of(None).endpoint == vi_emulator.url


def test_connection_that_is_named_wins_over_the_variables(cli: Cli) -> None:
    code, out, err = cli("flows", "list", "--conn-id", "nope")
    assert (code, out) == (4, "")
    assert err.startswith("there is no Airflow connection 'nope'. Add it with `airflow connections add`, ")


def test_malformed_connection_in_a_variable_is_not_called_missing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", '{"password": "dtvi_1')
    code, out, err = cli("flows", "list", "--conn-id", "broken")
    assert (code, out) == (4, "")
    assert "AIRFLOW_CONN_BROKEN" in err or "cannot be read" in err
    assert "dtvi_1" not in err


def test_unusable_field_of_an_airflow_connection_is_named(
    cli: Cli, vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {**vi_emulator.connection, "extra": {"pagesize": 5}}
    monkeypatch.setenv("AIRFLOW_CONN_BAD", json.dumps(connection))
    code, _, err = cli("flows", "list", "--conn-id", "bad")
    assert code == 4
    assert err.startswith("extra: unknown 'pagesize'; choose from page_size, ")


@pytest.mark.parametrize("uri", ["vi://org:KEY/x@host:y", "{{KEY", '{"conn_type": "vi", "password": "KEY"'])
def test_malformed_airflow_connection_is_not_quoted(
    cli: Cli, vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BAD", uri.replace("KEY", vi_emulator.secret_key))
    code, out, err = cli("flows", "list", "--conn-id", "bad", "--verbose")
    assert (code, out) == (4, "")
    assert KEY_PART not in err


def test_no_command_shows_the_key(cli: Cli, vi_emulator: Emulator, tmp_path: Path) -> None:
    flow_id = vi_emulator.store.flow_ids()[-1]
    commands = [
        ("connection", "test"),
        ("flows", "list"),
        ("flows", "get", flow_id),
        ("flows", "get", "nope"),
        ("flows", "prune", "--older-than", "P90D", "--no-dry-run", "--yes", "--archive-to", tmp_path),
        ("flows", "delete", flow_id, "--yes"),
        ("flows", "export", tmp_path / "export.jsonl"),
        ("runs", "list"),
        ("archive", "find", tmp_path),
    ]
    for rejected in (False, True):
        if rejected:  # the server quotes the key in its error
            body = json.dumps({"message": f"bad key {vi_emulator.secret_key}"})
            vi_emulator.faults.add(status=401, body=body, times=None)
        for command in commands:
            code, out, err = cli(*command, "--verbose")
            assert KEY_PART not in out + err, command
            assert code == 5 or not rejected or command[0] == "archive"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY_PART in path.read_text()]
