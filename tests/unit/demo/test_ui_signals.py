"""`make airflow` ends with all of its processes on any signal, with a stand-in for Airflow's commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

#: Takes Airflow's subcommands: each component starts a child of its own and writes the ids of both.
STAND_IN = """
import json, os, pathlib, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        state = {"status": "healthy" if HEALTHY else "unhealthy"}
        body = json.dumps({name: state for name in ("scheduler", "dag_processor", "triggerer")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

name, home = sys.argv[1], pathlib.Path(os.environ["AIRFLOW_HOME"])
if name in ("db", "connections"):
    if name == "db" and HANGS:
        (home / "setup.pids").write_text(str(os.getpid()))
        time.sleep(600)
    sys.exit(0)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(home / f"{name}.tmp").write_text(f"{os.getpid()} {child.pid}")
(home / f"{name}.tmp").rename(home / f"{name}.pids")
if name == "api-server":
    HTTPServer(("127.0.0.1", int(os.environ["AIRFLOW__API__PORT"])), Health).serve_forever()
time.sleep(600)
"""

MAIN = """
import signal, sys, demo.ui
from pathlib import Path
if IGNORE_SIGINT:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
demo.ui.HOME = Path(sys.argv[1])
demo.ui.PORT = 0  # any: the usual one may be in use
demo.ui.serve.__defaults__ = ((sys.executable, sys.argv[2]),)
sys.exit(demo.ui.main())
"""

Start = Callable[..., "subprocess.Popen[bytes]"]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def start(tmp_path: Path, home: Path) -> Iterator[Start]:
    """Start `make airflow` in a state: setting up, unhealthy, or running."""
    processes = []

    def run(state: str, *, ignore_sigint: bool = False) -> subprocess.Popen[bytes]:
        stand_in = tmp_path / "stand_in.py"
        stand_in.write_text(f"HANGS = {state == 'setting up'}\nHEALTHY = {state == 'running'}\n{STAND_IN}")
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", f"IGNORE_SIGINT = {ignore_sigint}\n{MAIN}", str(home), str(stand_in)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def pids(home: Path, count: int) -> list[int]:
    """The processes of the components, once all of them have reported."""
    wait_until(lambda: len(list(home.glob("*.pids"))) == count)
    return [int(pid) for path in home.glob("*.pids") for pid in path.read_text().split()]


def wait_for_line(process: subprocess.Popen[bytes], text: bytes) -> None:
    assert process.stdout is not None
    while text not in (line := process.stdout.readline()):
        assert line, "the process ended early"


pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("state", "components"), [("setting up", 1), ("unhealthy", 4), ("running", 4)])
def test_signal_ends_all_processes(start: Start, home: Path, state: str, components: int, number: int) -> None:
    process = start(state)
    started = pids(home, components)
    if state == "running":
        wait_for_line(process, b"Press Ctrl-C")
    process.send_signal(number)
    assert process.wait(timeout=20) == 0
    wait_until(lambda: not any(map(is_running, started)))


def test_sigterm_ends_a_process_that_ignores_sigint(start: Start, home: Path) -> None:
    process = start("running", ignore_sigint=True)
    started = pids(home, 4)
    wait_for_line(process, b"Press Ctrl-C")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    wait_until(lambda: not any(map(is_running, started)))


@pytest.mark.parametrize("state", ["unhealthy", "running"])
def test_children_end_with_a_killed_parent(start: Start, home: Path, state: str) -> None:
    process = start(state)
    started = pids(home, 4)
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(is_running, started)))


def test_failed_component_ends_the_others(start: Start, home: Path) -> None:
    process = start("unhealthy")
    started = pids(home, 4)
    os.kill(int((home / "scheduler.pids").read_text().split()[0]), signal.SIGKILL)
    assert process.wait(timeout=20) == 1
    wait_until(lambda: not any(map(is_running, started)))
