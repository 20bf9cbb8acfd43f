"""`make demo`: the three example DAGs at work, in a real Airflow, on an emulated Vi with 40 flows.

Needs no service, no network and no account. Everything it writes stays in one folder; everything it starts
lives in this process and ends with it.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from demo import local_airflow
from vi_airflow_provider.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = tuple[str, str]

FOLDER = Path(__file__).resolve().parent.parent / ".demo"
GATE_DELAY = 3.0  # seconds between the gate's first look and the flow it waits for


def main() -> int:
    """Run the demonstration; 0 if all of it went as it should."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with _quiet_airflow(FOLDER / "airflow.log") as screen, Emulator(flows=40) as vi:
        show = Show(screen)
        show.line(f"An emulated Vi with {len(_names(vi))} flows answers on {vi.url}.")
        local_airflow.configure(FOLDER / "airflow", **vi.environment)
        try:
            with show.step("Preparing Airflow on SQLite"):
                local_airflow.create_database()
                dags = local_airflow.load_dags()
            with show.step("Running audit_flow_specs"):
                audit = _audit(dags["audit_flow_specs"])
            with show.step("Running cleanup_stale_flows"):
                cleanup = _cleanup(dags["cleanup_stale_flows"], vi)
            with show.step("Running gate_training_on_flow"):
                gate = _gate(dags["gate_training_on_flow"], vi)
        except Exception as error:
            show.line(f"\n{type(error).__name__}: {error}\nWhat Airflow said: {FOLDER / 'airflow.log'}")
            return 1
        show.table([*audit, *cleanup, *gate])
        show.line(f"Airflow's own words: {FOLDER.name}/airflow.log. To click through it yourself: make airflow")
    return 0


def _audit(dag: Any) -> list[Row]:
    run = _succeeded(dag, {"destination": (FOLDER / "audit").as_uri()})
    (written,) = local_airflow.returned(run, "write")
    path = Path(written["uri"].removeprefix("file://"))
    lines = path.read_bytes().count(b"\n")
    _expect(lines == written["count"], f"the audit file has {lines} lines, {written['count']} were reported")
    return [
        ("Audit", f"{written['count']} flow specs in {path.relative_to(FOLDER.parent)}"),
        ("", f"sha256 {written['sha256']}"),
    ]


def _cleanup(dag: Any, vi: Emulator) -> list[Row]:
    before = _names(vi)
    run = _succeeded(dag, {"dry_run": False})
    after = _names(vi)
    (selected,) = local_airflow.returned(run, "select")
    outcomes = local_airflow.returned(run, "delete_flow")
    deleted = {outcome["flow_id"] for outcome in outcomes if outcome["outcome"] == "deleted"}
    _expect(deleted == before.keys() - after.keys(), "the report and the server disagree about what was deleted")
    _expect(deleted == {flow["flow_id"] for flow in selected}, "not all selected flows were deleted")
    return [
        ("Cleanup", f"{len(before)} flows before"),
        ("", f"{len(selected)} selected: not updated for 90 days, and not marked keep=true"),
        ("", f"{len(deleted)} deleted, {before[min(deleted)]!r} among them"),
        ("", f"{len(after)} kept"),
    ]


def _gate(dag: Any, vi: Emulator) -> list[Row]:
    # The example looks once a minute; nobody wants to watch that.
    dag.get_task("wait_for_flow").poke_interval = 1
    began, created, seen = time.monotonic(), 0.0, len(vi.requests)

    def prepare_flow() -> None:
        """Be the colleague who finishes the flow while the DAG is waiting for it."""
        from vi_airflow_provider.hooks.vi import ViHook

        nonlocal created
        while len(vi.requests) == seen:
            time.sleep(0.05)
        time.sleep(GATE_DELAY)
        hook = ViHook()
        template = next(hook.list_flows(limit=1)).spec.to_wire()
        hook.create_flow({**template, "name": "Weld seam defects - nightly"})
        hook.close()
        created = time.monotonic()

    colleague = threading.Thread(target=prepare_flow, daemon=True)
    colleague.start()
    run = _succeeded(dag, {"seeds": [7, 11, 13]})
    ended = time.monotonic()
    colleague.join()
    trainings = local_airflow.returned(run, "train")
    return [
        ("Gate", f"the flow appeared after {created - began:.1f} s of waiting"),
        ("", f"{ended - created:.1f} s later the gate was open and {len(trainings)} trainings were done"),
        ("", f"first training: {trainings[0]}"),
    ]


def _succeeded(dag: Any, conf: dict[str, Any]) -> Any:
    run = local_airflow.run(dag, conf)
    _expect(str(run.state) == "success", f"{dag.dag_id} ended as {run.state}")
    return run


def _names(vi: Emulator) -> dict[str, str]:
    return {flow_id: vi.store.get_flow(flow_id)["spec"]["name"] for flow_id in vi.store.flow_ids()}


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise RuntimeError(otherwise)


class Show:
    """What a person sees."""

    def __init__(self, screen: TextIO) -> None:
        self._screen = screen

    def line(self, text: str) -> None:
        """Write a line."""
        print(text, file=self._screen, flush=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Say what is going on, and how long it took."""
        began = time.monotonic()
        print(f"{what} …", end="", file=self._screen, flush=True)
        yield
        self.line(f" {time.monotonic() - began:.1f} s")

    def table(self, rows: list[Row]) -> None:
        """Write two columns between rules."""
        width = max(len(text) for _, text in rows) + 12
        self.line("\n" + "─" * width)
        for head, text in rows:
            self.line(f" {head:<9} {text}")
        self.line("─" * width)


@contextmanager
def _quiet_airflow(log: Path) -> Iterator[TextIO]:
    """Send all output of this process to a file, and lend the real screen."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as screen, log.open("w") as sink:
        saved = os.dup(1), os.dup(2)
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            yield screen
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)


if __name__ == "__main__":
    sys.exit(main())
