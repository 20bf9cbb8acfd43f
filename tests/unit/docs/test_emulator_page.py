"""``docs/emulator.md``: its tests pass, its fragments run, and its commands print what is shown."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import pytest

from tests.unit.docs.pages import ROOT, Block, blocks
from vi_airflow_provider.emulator import Emulator

PAGE: Final = "emulator.md"
TESTS: Final = [block for block in blocks(PAGE, "python") if "def test_" in block.code]
FRAGMENTS: Final = [block for block in blocks(PAGE, "python") if "def test_" not in block.code]
SERVER, REQUESTS = blocks(PAGE, "console")
ADDRESS: Final = "127.0.0.1:8321"


def test_examples_for_pytest_pass(tmp_path: Path) -> None:
    for number, block in enumerate(TESTS):
        (tmp_path / f"test_example_{number}.py").write_text(block.code)
    path = os.pathsep.join((str(ROOT), *sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "AIRFLOW_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    plugin = () if "vi_emulator" in registered_plugins() else ("-p", "vi_airflow_provider.emulator.pytest_plugin")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert "3 passed" in result.stdout, result.stdout + result.stderr


def registered_plugins() -> set[str]:
    from importlib.metadata import entry_points

    return {entry.name for entry in entry_points(group="pytest11")}


@pytest.mark.parametrize("block", FRAGMENTS, ids=str)
def test_fragment_runs(block: Block, vi_emulator: Emulator) -> None:
    names: dict[str, Any] = {"vi_emulator": vi_emulator}
    exec(compile(block.code, str(block), "exec"), names)  # noqa: S102 - our own documentation


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    """The command of the page, at a port that is free."""
    command = SERVER.code.splitlines()[0].removeprefix("$ python ")
    words = [sys.executable, *shlex.split(command), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603
    yield process
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_command_prints_what_is_shown(server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None
    shown = SERVER.code.splitlines()[1:-1]
    printed = [server.stdout.readline().rstrip("\n") for _ in shown]
    address = printed[1].removeprefix("url: http://")
    assert len(address) > len("127.0.0.1:")
    for line, found in zip(shown, printed, strict=True):
        pattern = ".*".join(map(re.escape, line.replace(ADDRESS, address).split("…")))
        assert re.fullmatch(pattern, found), (line, found)


def test_requests_of_another_process_are_accepted(vi_emulator: Emulator) -> None:
    for line in REQUESTS.code.splitlines():
        words = shlex.split(line.removeprefix("$ curl "))
        url = next(word for word in words if "/" in word and "{" not in word)
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        data = words[words.index("-d") + 1].encode() if "-d" in words else None
        request = Request(url.replace("localhost:8321", vi_emulator.url), data=data, method=method)  # noqa: S310
        with urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
            assert response.status < 300
            json.load(response)
