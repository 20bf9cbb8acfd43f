"""`python -m vi_airflow_provider.emulator` as a process."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

COMMAND = [sys.executable, "-W", "error", "-m", "vi_airflow_provider.emulator"]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The process, and what it printed by label."""
    process = subprocess.Popen(  # noqa: S603
        [*COMMAND, "--port", "0", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in range(5)]
        printed = dict(line.split(": ", 1) for line in lines[1:4])
        yield process, {**printed, "title": lines[0], "export": lines[4]}
    finally:
        process.kill()
        process.communicate()


def errors_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.read()


def refused(*arguments: str) -> str:
    """The only line on stderr of a command that must fail."""
    done = subprocess.run(  # noqa: S603
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    prefix = "python -m vi_airflow_provider.emulator: error: "
    assert done.stderr.startswith(prefix)
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix(prefix).strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_prints_the_connection_and_stops_on_a_signal(number: int) -> None:
    with running("--flows", "12") as (process, printed):
        assert printed["title"].startswith("Vi emulator with 12 flows")
        command, assignment = shlex.split(printed["export"])
        name, _, value = assignment.partition("=")
        assert (command, name) == ("export", "AIRFLOW_CONN_VI_DEFAULT")
        assert json.loads(value) == {
            "conn_type": "vi",
            "host": printed["url"],
            "login": printed["organization id"],
            "password": printed["secret key"],
            "extra": {"ui_url_template": f"{printed['url']}/org/{{organization_id}}/flows/{{flow_id}}"},
        }
        with urlopen(f"{printed['url']}/_emulator/health") as response:  # noqa: S310
            assert json.load(response)["flows"] == 12
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        assert errors_of(process) == ""


def test_state_file_survives_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "vi.json"
    for flows in ("5", "9"):
        with running("--flows", flows, "--state", str(state)) as (process, printed):
            assert "with 5 flows" in printed["title"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0


def test_organization_and_key_can_be_chosen() -> None:
    key = "dtvi_" + "'" * 98
    with running("--organization-id", "my-team", "--secret-key", key) as (_, printed):
        assert printed["organization id"] == "my-team"
        _, assignment = shlex.split(printed["export"])
        assert json.loads(assignment.partition("=")[2])["password"] == key


def test_non_loopback_address_prints_a_warning() -> None:
    with running("--host", "0.0.0.0") as (process, _):  # noqa: S104
        process.send_signal(signal.SIGINT)
        assert "warning: 0.0.0.0 is not a loopback address" in errors_of(process)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--latency", "-1"], "latency must be zero or more milliseconds, not -1.0"),
        (["--latency", "fast"], "argument --latency: invalid float value: 'fast'"),
        (["--flows", "-3"], "flows must not be negative, not -3"),
        (["--port", "70000"], "port must be from 0 to 65535, not 70000"),
        (["--organization-id", "../x"], "organization id must be 1 to 255"),
        (["--secret-key", "dtvi_short"], "secret key must be 'dtvi_' and 98 printable"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1 port 8321: Cannot assign requested address"),
        (["--state", "/no/such/folder/vi.json"], "cannot write the state file /no/such/folder/vi.json: No such file"),
        (["--verbose"], "unrecognized arguments: --verbose"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(arguments: list[str], message: str) -> None:
    assert refused(*arguments).startswith(message)


def test_port_in_use_is_reported_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        reason = "Address already in use; choose another one with --port"
        assert refused("--port", port) == f"cannot listen on 127.0.0.1 port {port}: {reason}"


def test_corrupt_state_file_is_reported_in_one_line(tmp_path: Path) -> None:
    state = tmp_path / "vi.json"
    state.write_text("{\n")
    assert refused("--state", str(state)).startswith(f"the state file {state} is corrupt: ")


def test_missing_dependency_names_the_extra() -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from vi_airflow_provider.emulator.__main__ import main; main([])"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert done.stderr.endswith("uvicorn is not installed: pip install 'vi-airflow-provider[emulator]'\n")
