"""Exports of models in processes of their own: killed at any moment, and with bounded memory."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.background import ending
from tests.layers import ROOT
from tests.tries import Try, execute
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.store.weights import Weights

pytestmark = pytest.mark.vi_emulator(flows=3, run_seconds=1000, runs=0)

MIB = 1 << 20
#: Exports a model, then prints the result, and by how much the peak of the memory grew meanwhile.
SCRIPT = """
import json, resource, sys
from airflow.providers.common.compat.sdk import ObjectStoragePath
from tests.tasks import TaskInstance
from vi_airflow_provider.operators.runs import ExportModelOperator
from vi_airflow_provider.training import artifacts
operator = ExportModelOperator(task_id="task", run_id=sys.argv[1], destination=sys.argv[2])
result = operator.execute({"ti": TaskInstance()})
print(json.dumps(result | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


#: Starts a process that exports the model of a run to a file.
Start: TypeAlias = Callable[[str, Path], "subprocess.Popen[str]"]


@pytest.fixture
def start(vi_emulator: Emulator) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(run_id: str, target: Path) -> subprocess.Popen[str]:
            process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-W", "ignore", "-c", SCRIPT, run_id, str(target)],
                cwd=ROOT,
                env={**os.environ, **vi_emulator.environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            return stack.enter_context(ending(process))

        yield start


def result_of(process: subprocess.Popen[str]) -> Any:
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(printed.splitlines()[-1])


@pytest.fixture
def new_run(vi_emulator: Emulator) -> Callable[[int], str]:
    def make(size: int) -> str:
        vi_emulator.configure(download_bytes=size)
        run_id = execute(vi_emulator.store.flow_ids()[0], Try(task_id=str(size)), wait_for_completion=False)["run_id"]
        vi_emulator.advance(1001)
        vi_emulator.clear_requests()
        return str(run_id)

    return make


def content_of(vi: Emulator, run_id: str, size: int) -> bytes:
    output_id = vi.store.outputs.of(run_id)[-1]["runOutputId"]
    return b"".join(Weights(f"{run_id}/{output_id}", size).read(0, size))


def parts(folder: Path) -> list[Path]:
    """Return what is downloaded of ``model.bin``. A file being written atomically has two dots, and comes and goes."""
    return list(folder.glob(".model.bin.*.part"))


def size_of_parts(folder: Path) -> int:
    return sum(path.stat().st_size for path in parts(folder))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith("..")}


def ranges(vi: Emulator) -> list[str | None]:
    return [request.headers.get("range") for request in vi.requests if request.path.startswith("/downloads/")]


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="a machine that tells its start")
def test_killed_download_leaves_nothing_and_is_continued(
    vi_emulator: Emulator, new_run: Callable[[int], str], start: Start, tmp_path: Path
) -> None:
    size, target = 8 * MIB, tmp_path / "model.bin"
    run_id = new_run(size)
    vi_emulator.configure(download_pause_ms=20)
    process = start(run_id, target)
    while size_of_parts(tmp_path) < 2 * MIB:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (part,) = parts(tmp_path)
    assert names(tmp_path) == {part.name, f"{part.name}.json"}
    held = size_of_parts(tmp_path)
    vi_emulator.configure(download_pause_ms=0)
    result = result_of(start(run_id, target))
    assert ranges(vi_emulator) == [None, f"bytes={held}-"]
    assert target.read_bytes() == content_of(vi_emulator, run_id, size)
    assert result["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert names(tmp_path) == {"model.bin", "model.bin.manifest.json"}


def test_second_process_does_not_write_to_the_file_of_the_first(
    vi_emulator: Emulator, new_run: Callable[[int], str], start: Start, tmp_path: Path
) -> None:
    size, target = 4 * MIB, tmp_path / "model.bin"
    run_id = new_run(size)
    vi_emulator.configure(download_pause_ms=1000)
    first = start(run_id, target)
    while not size_of_parts(tmp_path):
        assert first.poll() is None
        time.sleep(0.01)
    vi_emulator.configure(download_pause_ms=0)
    second = result_of(start(run_id, target))
    assert first.poll() is None
    first.kill()
    first.communicate()
    assert ranges(vi_emulator) == [None, None]
    assert target.read_bytes() == content_of(vi_emulator, run_id, size)
    assert second["size"] == size
    assert len(parts(tmp_path)) == 1


def test_memory_does_not_grow_with_the_model(
    vi_emulator: Emulator, new_run: Callable[[int], str], start: Start, tmp_path: Path
) -> None:
    peaks = []
    for size in (1 * MIB, 192 * MIB):
        target = tmp_path / f"{size}.bin"
        result = result_of(start(new_run(size), target))
        assert result["size"] == target.stat().st_size == size
        target.unlink()
        peaks.append(result["peak"])
    assert peaks[1] - peaks[0] < 24 * MIB
