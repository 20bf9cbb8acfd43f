"""``vi-airflow`` and ``airflow vi`` as real processes: pipes, encodings, terminals, start-up, secrets."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import pytest
import yaml
from airflow import __version__ as airflow_version
from packaging.version import Version

from tests.background import ending
from vi_airflow_provider.cli.errors import ExitCode
from vi_airflow_provider.emulator import Emulator

BIN: Final = Path(sys.executable).parent
COMMAND: Final = str(BIN / "vi-airflow")
SPEC: Final = {"name": "größer 溶接 🔥", "schema": "v1", "tolerations": {}, "settings": {}, "blocks": []}

Result = subprocess.CompletedProcess[str]


def run(*arguments: str, **variables: str) -> Result:
    """Run a command with these environment variables on top; what is not ASCII is read as UTF-8."""
    environment = {**os.environ, **variables}
    return subprocess.run(  # noqa: S603
        arguments, capture_output=True, text=True, encoding="utf-8", env=environment, timeout=120, check=False
    )


# --- pipes and encodings -----------------------------------------------------------------------------------------


@pytest.mark.vi_emulator(flows=2000)
@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_reader_that_stops_early_is_no_error(environment: dict[str, str], vi_emulator: Emulator, output: str) -> None:
    done = run("bash", "-o", "pipefail", "-c", f"{COMMAND} flows list --page-size 100 -o {output} | head -n 3")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 3
    assert len(vi_emulator.requests) < 20  # the remaining pages are not read


@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_output_is_ascii_where_the_locale_is(
    environment: dict[str, str], vi_emulator: Emulator, locale: dict[str, str]
) -> None:
    vi_emulator.store.put_flow("f", {"spec": SPEC, "metadata": {"attributes": {}}})
    for output in ("table", "yaml"):
        done = run(COMMAND, "flows", "list", "--name-pattern", "gr*", "-o", output, **locale, PYTHONCOERCECLOCALE="0")
        assert (done.returncode, done.stderr) == (0, ""), output
        assert done.stdout.isascii()
        assert output == "yaml" or r"gr\xf6\xdfer \u6eb6\u63a5" in done.stdout
    assert yaml.safe_load(done.stdout)[0]["name"] == SPEC["name"]


def test_closed_output_leaves_the_exit_code(environment: dict[str, str]) -> None:
    assert run("bash", "-c", f"{COMMAND} flows list >&-").returncode == 0
    assert run("bash", "-c", f"{COMMAND} flows get nope >&- 2>&-").returncode == ExitCode.NOT_FOUND


def test_full_disk_is_code_3(environment: dict[str, str]) -> None:
    done = run("bash", "-c", f"{COMMAND} flows list > /dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert done.stderr.startswith("the output cannot be written: ")


def test_no_escape_sequence_is_printed_to_a_pipe(environment: dict[str, str]) -> None:
    for arguments in (("flows", "list"), ("runs", "list"), ("--help",)):
        done = run(COMMAND, *arguments, FORCE_COLOR="1")
        assert "\x1b" not in done.stdout + done.stderr


# --- terminals ---------------------------------------------------------------------------------------------------


def on_a_terminal(*arguments: str, typed: str = "", program: str = COMMAND, **variables: str) -> tuple[int, str]:
    """Run a command on a terminal of its own; return its exit code, and all that the terminal got."""
    # In another process: one that has threads, as the present one may, is not forked safely.
    spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", spawn, program, *arguments],
        input=typed.encode(), stdout=subprocess.PIPE, env={**os.environ, "TERM": "xterm", **variables}, timeout=120,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode()


def test_question_is_asked_on_a_terminal(environment: dict[str, str], vi_emulator: Emulator) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    vi_emulator.store.put_run("mine", {"spec": {"flow": SPEC}, "metadata": {"attributes": {}}})
    code, shown = on_a_terminal("runs", "kill", "mine", typed="n\n")
    assert (code, vi_emulator.store.get_run("mine")["spec"].get("killedAt")) == (1, None)
    assert "[y/N]" in shown
    code, shown = on_a_terminal("runs", "kill", "mine", "--no-wait", typed="y\n")
    assert (code, vi_emulator.store.get_run("mine")["spec"].get("killedAt") is None) == (0, False)
    assert "Traceback" not in shown


@pytest.mark.vi_emulator(flows=20, latency_ms=200)
def test_progress_is_shown_while_the_output_goes_elsewhere(environment: dict[str, str]) -> None:
    list_flows = f"{COMMAND} flows list --page-size 5 | wc -l"
    _, shown = on_a_terminal("-c", list_flows, program="/bin/bash", NO_COLOR="1")
    assert "flows read: " in shown
    assert "\x1b[3" not in shown  # a color
    _, shown = on_a_terminal("flows", "list")
    assert "flows read: " not in shown


@pytest.mark.vi_emulator(flows=20, latency_ms=1500)
def test_interrupt_ends_a_command_in_one_line(environment: dict[str, str], vi_emulator: Emulator) -> None:
    # A shell that starts the tests in the background lets its jobs ignore the signal, and programs inherit that.
    not_ignored = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", not_ignored, COMMAND, "flows", "list"]
    with ending(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)) as process:  # noqa: S603
        while not vi_emulator.requests and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "Interrupted.\n")


# --- start-up ----------------------------------------------------------------------------------------------------


def test_flows_and_runs_are_read_without_airflow(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'airflow':\n"
        "            raise ImportError(name + ' is blocked')\n"
        "sys.meta_path.insert(0, Blocked())\n"
    )
    home = str(tmp_path / "home")
    for words in (("flows", "list"), ("runs", "list"), ("connection", "test"), ("audit", "--help")):
        done = run(COMMAND, *words, PYTHONPATH=str(tmp_path), AIRFLOW_HOME=home)
        assert (done.returncode, done.stderr) == (0, ""), words
    assert not Path(home).exists()


def test_list_takes_little_cpu_time(environment: dict[str, str]) -> None:
    used = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run(COMMAND, "flows", "list").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(used) < 1.5  # measured: 0.45; importing Airflow alone takes more than this


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"status": 401}, ExitCode.DENIED),
        ({"status": 403}, ExitCode.DENIED),
        ({"status": 404}, ExitCode.NOT_FOUND),
        ({"status": 409}, ExitCode.CONFLICT),
        ({"status": 400}, ExitCode.UNUSABLE),
        ({"status": 200, "body": "<html>"}, ExitCode.UNEXPECTED),
    ],
)
def test_error_is_one_sentence_and_verbose_shows_where(
    environment: dict[str, str], vi_emulator: Emulator, fault: dict[str, object], code: int
) -> None:
    vi_emulator.faults.add(**fault, times=None)  # type: ignore[arg-type]
    short = run(COMMAND, "flows", "get", "f")
    assert (short.returncode, short.stdout, short.stderr.count("\n")) == (code, "", 1)
    verbose = run(COMMAND, "flows", "get", "f", "--verbose")
    assert verbose.returncode == code
    assert "Traceback" in verbose.stderr
    assert verbose.stderr.splitlines()[-1].partition(" (trace")[0] == short.stderr.strip().partition(" (trace")[0]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"DATATURE_VI_SECRET_KEY": ""}, "DATATURE_VI_SECRET_KEY: the secret key is missing; put the organization's"),
        ({"DATATURE_VI_SECRET_KEY": "dtvi_x"}, "DATATURE_VI_SECRET_KEY: a secret key of Vi begins with dtvi_ and has"),
        ({"DATATURE_VI_ORGANIZATION_ID": ""}, "DATATURE_VI_ORGANIZATION_ID: the organization id is missing; put"),
        ({"DATATURE_VI_API_ENDPOINT": "ftp://x"}, "DATATURE_VI_API_ENDPOINT: the API endpoint 'ftp://x' is not"),
    ],
)
def test_unusable_variable_is_named_with_code_4(
    environment: dict[str, str], variables: dict[str, str], message: str
) -> None:
    for words in (("flows", "list"), ("connection", "test")):
        done = run(COMMAND, *words, **variables)
        assert (done.returncode, done.stdout) == (ExitCode.CONNECTION, "")
        assert done.stderr.startswith(message)


def test_server_that_is_down_is_code_8(environment: dict[str, str]) -> None:
    done = run(COMMAND, "connection", "test", DATATURE_VI_API_ENDPOINT="http://127.0.0.1:9")
    assert (done.returncode, done.stderr.count("\n")) == (ExitCode.TEMPORARY, 1)
    assert "Connection refused" in done.stderr


# --- Airflow's connections and commands --------------------------------------------------------------------------


def test_console_script_reads_an_airflow_connection(vi_emulator: Emulator) -> None:
    # The fixture sets AIRFLOW_CONN_VI_DEFAULT, and nothing sets DATATURE_VI_….
    done = run(COMMAND, "flows", "list", "--limit", "2", "-o", "json")
    assert (done.returncode, len(json.loads(done.stdout))) == (0, 2)


#: Creates Airflow's database, and stores a connection in it.
STORE: Final = """
import sys
from airflow.models import Connection
from airflow.utils.db import initdb
from airflow.utils.session import create_session
initdb()
with create_session() as session:
    session.add(Connection.from_json(sys.argv[1], conn_id="stored"))
"""


@pytest.mark.skipif(Version(airflow_version) < Version("3.2"), reason="Airflow 3.2 is the first with such commands")
def test_airflow_vi_reads_connections_from_environment_and_database(vi_emulator: Emulator, tmp_path: Path) -> None:
    home = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    }
    listing = (str(BIN / "airflow"), "vi", "flows", "list", "--limit", "2", "-o", "json")
    done = run(*listing, **home)
    assert (done.returncode, len(json.loads(done.stdout))) == (0, 2), done.stderr

    stored = run(sys.executable, "-c", STORE, json.dumps(vi_emulator.connection), **home)
    assert stored.returncode == 0, stored.stderr
    done = run(*listing, "--conn-id", "stored", **home, AIRFLOW_CONN_VI_DEFAULT="")
    assert (done.returncode, len(json.loads(done.stdout))) == (0, 2), done.stderr
    assert vi_emulator.secret_key not in done.stdout + done.stderr


# --- emulator ----------------------------------------------------------------------------------------------------


def test_emulator_serves_until_it_is_interrupted() -> None:
    command = [COMMAND, "emulator", "--port", "0", "--flows", "3"]
    with ending(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)) as process:  # noqa: S603
        assert process.stdout is not None
        first, url, *_ = (process.stdout.readline().rstrip("\n") for _ in range(5))
        assert first.startswith("Vi emulator with 3 flows")
        with urlopen(f"{url.removeprefix('url: ')}/_emulator/health") as response:  # noqa: S310
            assert json.load(response)["flows"] == 3
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[1] == ""
    assert process.returncode == 0


def test_emulator_with_unusable_options_is_code_2() -> None:
    done = run(COMMAND, "emulator", "--port", "70000")
    assert (done.returncode, done.stderr) == (2, "port must be from 0 to 65535, not 70000\n")
