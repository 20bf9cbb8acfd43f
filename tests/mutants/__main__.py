"""Run mutmut on rooms of the package and update the page; ``make mutants`` calls this.

    python -m tests.mutants [--children N] [ROOM ...]

Each room is mutated in a copy of the repository below .venv/mutated, where mutmut keeps its results: a second run tests
only functions that have changed, and the survivors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.layers import NAME, ROOT
from tests.mutants import page
from tests.mutants.score import KILLED, MINIMUM, Score, Survivor, score


def _files(folder: str, *subjects: str) -> tuple[str, ...]:
    return tuple(f"tests/unit/{folder}/test_{subject}.py" for subject in subjects)


#: The tests of each room: folders, or the files of a folder that are about decisions. Its other tests start processes,
#: where a mutant cannot run, or measure time.
ROOMS: Final = {
    "api/protocol": _files(
        "api",
        "client",
        "client_listings",
        "codec",
        "concurrency",
        "delete_flows",
        "digest",
        "download",
        "errors",
        "guarded_writes",
        "hostile_runs",
        "lazy_flow",
        "models",
        "odd_http",
        "page_sizes",
        "prefetch",
        "protocol",
        "redaction",
        "redirects",
        "requests",
        "retry",
        "retry_waits",
        "run_models",
        "run_reads",
        "run_writes",
        "same_decisions",
        "same_run_decisions",
        "scans",
        "secrets",
        "simple_documents",
        "strict_json",
        "training_projects",
        "whole_flow",
    ),
    "selection": ("tests/unit/selection", *_files("operators", "literals", "literals_as_executed")),
    "cleanup/policy": _files("cleanup", "policy", "protection", "run_policy", "given_plan"),
    "cleanup/guards": _files("cleanup", "guards", "prune_safety"),
    "gates": _files(
        "gates",
        "assets",
        "changes",
        "concurrent_gates",
        "condition",
        "connection",
        "connection_lookups",
        "coverage",
        "detectors",
        "event_trigger",
        "event_trigger_failures",
        "flow_source",
        "flow_trigger",
        "head",
        "large_organizations",
        "mode_parity",
        "outcome",
        "pacing",
        "poller",
        "reader",
        "run_condition",
        "run_event_trigger",
        "run_sensor",
        "run_source",
        "sensor_modes",
        "timers",
    ),
    "audit/diff": _files("audit", "diff", "stored_diff", "export_comparison"),
}
WORK: Final = ROOT / ".venv" / "mutated"
#: What the tests of the rooms read.
COPIED: Final = (NAME, "tests", "demo", "dags_examples", "docs", "pyproject.toml", "README.md")


def run(room: str, children: int) -> Score:
    """Mutate a room and run its tests, as many at a time as there are children."""
    folder = prepare(room)
    forget_survivors(folder)
    log = folder.with_suffix(".log")
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(children)]
    with log.open("wb") as output:
        subprocess.run(command, cwd=folder, check=False, stdout=output, stderr=output)  # noqa: S603 - 1 if any survive
    with contextlib.chdir(folder):
        statuses = _statuses()
        if not statuses or "not checked" in statuses.values():
            raise SystemExit(f"{room}: mutmut did not finish; see {log}")
        survivors = [Survivor.of(name, _diff(name)) for name, status in statuses.items() if status not in KILLED]
    return score(statuses, survivors, page.load_reasons())


def prepare(room: str) -> Path:
    """Copy the repository, and configure mutmut for a room."""
    folder = WORK / room.replace("/", "-")
    for name in COPIED:
        shutil.rmtree(folder / name, ignore_errors=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    mutated = f"{NAME}/{room}/*" if (ROOT / NAME / room).is_dir() else f"{NAME}/{room}.py"
    (folder / "setup.cfg").write_text(_SETTINGS.format(mutated=mutated, tests="\n    ".join(ROOMS[room])))
    return folder


def forget_survivors(folder: Path) -> None:
    """Let mutmut test the survivors of an earlier run again, since new tests may kill them.

    It also has to list the tests again: the ids of some contain addresses, which differ in each run.
    """
    from mutmut.stats import status_by_exit_code

    (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    for file in (folder / "mutants").rglob("*.meta"):
        content = json.loads(file.read_text(encoding="utf-8"))
        codes = content["exit_code_by_key"]
        content["exit_code_by_key"] = {
            name: code if status_by_exit_code[code] in KILLED else None for name, code in codes.items()
        }
        file.write_text(json.dumps(content), encoding="utf-8")


_SETTINGS: Final = f"""\
[mutmut]
source_paths = {NAME}
only_mutate = {{mutated}}
timeout_multiplier = 6
pytest_add_cli_args =
    -p
    no:cacheprovider
    -p
    no:unraisableexception
    -p
    tests.mutants.plugin
    --hypothesis-profile=mutants
pytest_add_cli_args_test_selection =
    {{tests}}
also_copy =
    demo
    dags_examples
    docs
    README.md
"""


def _statuses() -> dict[str, str]:
    from mutmut.configuration import reset_config
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files

    reset_config()  # that of the previous room
    found: dict[str, Any] = {}
    for path in walk_mutatable_files():
        file = SourceFileMutationData(path=path)
        file.load()
        found |= file.exit_code_by_key
    return {name: status_by_exit_code[code] for name, code in found.items()}


def _diff(mutant: str) -> str:
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    return str(get_diff_for_mutant(mutant))


def main() -> int:
    """Run the command line; 1 if the score of a room is too low."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=", ".join(ROOMS))
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1, metavar="N", help="processes at a time")
    arguments = parser.parse_args()
    rooms = arguments.rooms or list(ROOMS)
    if unknown := set(rooms) - ROOMS.keys():
        parser.error(f"unknown room: {', '.join(sorted(unknown))}")
    lowest = 1.0
    for room in rooms:
        found = run(room, arguments.children)
        page.store(room, found)
        lowest = min(lowest, found.rate)
        print(f"{room}: {found.rate:.1%} of {found.killed + len(found.open)} mutants killed")
        for survivor in found.open:
            print(f"  {survivor.function}\n    - {survivor.before}\n    + {survivor.after}")
    return int(lowest < MINIMUM)


if __name__ == "__main__":
    sys.exit(main())
