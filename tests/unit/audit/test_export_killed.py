"""The export as a task that is killed: there is no file, or one that its manifest accepts."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.tasks import connection
from tests.unit.audit.support import files, ids
from vi_airflow_provider.audit.verification import verify

ROOT: Final = Path(__file__).resolve().parents[3]


#: Exports again and again, each time in a fork that is killed at another line of what writes: at random ones, and at
#: each of the last, around the moment when the new file is there. SIGKILL leaves no time to tidy up.
KILLED: Final = """
import json, os, random, signal, sys
from pathlib import Path
import requests_mock
from tests.documents import wire_flow, wire_page
from tests.tasks import FLOWS
from tests.unit.audit.support import SIMPLE_FLOWS
from vi_airflow_provider.audit import export as exporting, manifest, reader, spool, stored_diff, writer
from vi_airflow_provider.storage import files, manifest as manifests, tempfiles
from vi_airflow_provider.operators import export as operator
from vi_airflow_provider.operators.flows import ExportFlowsOperator

MODULES = exporting, manifest, manifests, reader, stored_diff, writer, tempfiles, spool, files, operator
TRACED = {module.__file__ for module in MODULES}

def export(folder, *ids):
    with requests_mock.Mocker() as mocker:
        mocker.get(FLOWS, json=wire_page(*(wire_flow(flowId=each) for each in ids)))
        mocker.get(SIMPLE_FLOWS, json=wire_page(*({"flowId": each} for each in ids)))
        mocker.get(f"{FLOWS}/old", status_code=404, json={})
        given = {"destination": f"{folder}/flows.jsonl", "compare_to": "previous", "html_report": True}
        return ExportFlowsOperator(task_id="t", **given).execute({})

def fork(folder, last):
    "Export in a fork that is killed before that line; tell how many lines there were, and how it ended."
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            lines += 1
            if lines == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        sys.settrace(trace)
        export(folder, "a", "b")
        sys.settrace(None)
        os.write(writer, str(lines).encode())
        os._exit(0)
    os.close(writer)
    reported = os.read(reader, 20)
    os.close(reader)
    return int(reported or 0), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

root, seed = Path(sys.argv[1]), int(sys.argv[2])
export(root / "warm-up", "a")
for kind in ("new", "replaced"):
    whole = root / f"{kind}-whole"
    if kind == "replaced":
        export(whole, "old")
    total, status = fork(whole, 0)
    for last in [*random.Random(seed).sample(range(1, total - 30), 25), *range(total - 30, total + 1)]:
        folder = root / f"{kind}-{last}"
        if kind == "replaced":
            export(folder, "old")
        print(json.dumps([kind, last, *fork(folder, last)]))
"""


def test_killed_anywhere_leaves_no_file_or_a_verified_one(tmp_path: Path) -> None:
    temporary, exported = tmp_path / "temporary", tmp_path / "exported"
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AIRFLOW_CONN_VI_DEFAULT": connection()}
    environment |= {"TMPDIR": str(temporary), "SQLITE_TMPDIR": str(temporary)}
    seed = random.randrange(1 << 32)
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-c", KILLED, str(exported), str(seed)],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    assert len(cases) > 100
    assert {(lines, status) for _, _, lines, status in cases} == {(0, -signal.SIGKILL)}, done.stderr
    seen: dict[str, set[int | None]] = {"new": set(), "replaced": set()}
    for kind, last, *_ in cases:
        path = exported / f"{kind}-{last}" / "flows.jsonl"
        if path.exists():
            manifest = verify(str(path), every_document=True)
            assert len(ids(str(path))) == manifest.count, (seed, kind, last)
            seen[kind].add(manifest.count)
        else:
            seen[kind].add(None)
    assert seen == {"new": {None, 2}, "replaced": {1, 2}}, seed
    assert files(temporary) == set()
