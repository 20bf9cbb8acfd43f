"""Run the tutorial as printed: its files, its commands in one shell, and the output that it shows."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Final

from demo.deployment import free_port
from tests.layers import ROOT

PAGE: Final = ROOT / "docs" / "tutorial.md"
_FENCE: Final = re.compile(r"^```(bash|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAVED_AS: Final = re.compile(r"Save this as `([^`]+)`:\s*$")
#: Commands that are not run: the package is installed already, and the last step is for people.
_SKIPPED: Final = ("python3 -m venv", ". environment/", "pip install", "airflow standalone")
#: Names a file of the host; the test moves it to its own folder.
_TEMPORARY: Final = "/tmp/vi-tutorial"  # noqa: S108 - text of the page
#: The command to which the test adds a free port.
_EMULATOR: Final = "python -m vi_airflow_provider.emulator"
#: Seconds that one step may take on a busy machine.
_PATIENCE: Final = 300


class Step:
    """A block of commands, with the lines that the page shows below it."""

    def __init__(self, commands: str) -> None:
        kept = [line for line in commands.splitlines() if not line.startswith(_SKIPPED)]
        self.commands = "\n".join(kept)
        self.shown: list[str] = []


def read_tutorial(text: str) -> tuple[dict[str, str], list[Step]]:
    """Return the files that the page asks for, and its steps, in order."""
    files: dict[str, str] = {}
    steps: list[Step] = []
    start = 0
    for found in _FENCE.finditer(text):
        before, (language, code) = text[start : found.start()], found.groups()
        start = found.end()
        if language == "bash":
            steps.append(Step(code))
        elif language == "text":
            steps[-1].shown += code.splitlines()
        else:
            name = _SAVED_AS.search(before)
            assert name, f"the page does not name the file of\n{code}"
            files[name[1]] = code
    return files, steps


def missing_lines(shown: list[str], output: str) -> list[str]:
    """Return the lines that the page shows and the output lacks; ``…`` stands for any text."""
    patterns = {line: re.escape(line).replace("…", ".*") for line in shown}
    return [line for line, pattern in patterns.items() if not re.search(pattern, output)]


def run_tutorial(variables: dict[str, str], folder: Path) -> None:
    """Run all steps in one shell, with the variables of a clean environment.

    :raises AssertionError: a command fails, or the output lacks what the page shows
    """
    text = PAGE.read_text(encoding="utf-8").replace(_TEMPORARY, str(folder / "files"))
    port = free_port()  # the usual one may be in use
    text = text.replace(_EMULATOR, f"{_EMULATOR} --port {port}").replace(":8321/", f":{port}/")
    files, steps = read_tutorial(text)
    marker = "--- end of step"
    script = ["set -eu"]
    for number, step in enumerate(steps):
        script += [step.commands, f"echo '{marker} {number}'"]
    script += ["kill %1", "wait"]
    for name, code in files.items():
        file = folder / "vi-tutorial" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code, encoding="utf-8")
    outputs = _shell("\n".join(script).replace("mkdir vi-tutorial", "mkdir -p vi-tutorial"), variables, folder).split(
        marker
    )
    for step, output in zip(steps, outputs, strict=False):
        missing = missing_lines(step.shown, output)
        assert not missing, f"{step.commands}\ndoes not print {missing}, but\n{output[-6000:]}"
    assert len(outputs) == len(steps) + 1, f"stopped at step {len(outputs) - 1}:\n{outputs[-1][-6000:]}"
    print(f"tutorial: {len(steps)} steps")


def _shell(script: str, variables: dict[str, str], folder: Path) -> str:
    """Run a script, and return what it prints. Whatever it leaves running is ended with its process group."""
    log = folder / "output.log"
    with log.open("w") as output:
        shell = subprocess.Popen(  # noqa: S603
            ["bash", "-c", script],  # noqa: S607
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            print(f"the tutorial takes longer than {_PATIENCE} s", file=output)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    return log.read_text()
