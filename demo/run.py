"""`make demo`: five example DAGs run in a real Airflow against the emulator, with 40 flows.

It needs no service, no network and no account. Everything it writes stays in one folder, and everything it starts
ends with it.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from demo import local_airflow, training
from vi_airflow_provider.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = tuple[str, str]

FOLDER = Path(__file__).resolve().parent.parent / ".demo"
TODAY = datetime.now(UTC)
YESTERDAY = TODAY - timedelta(days=1)
GATE_DELAY = 3.0  # seconds between the first poll of the gate and the creation of the flow it waits for


def main() -> int:
    """Run the demonstration; 0 if all of it succeeded."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with (
        _quiet_airflow(FOLDER / "airflow.log") as screen,
        Emulator(flows=40) as vi,
        training.deployment(FOLDER, vi) as deployment,
    ):
        show = Show(screen)
        show.line(f"The emulator serves {len(_names(vi))} flows at {vi.url}.")
        local_airflow.configure(FOLDER / "airflow", **vi.environment)
        try:
            with show.step("Preparing Airflow on SQLite"):
                local_airflow.create_database()
                dags = local_airflow.load_dags()
            with show.step("Running audit_flow_specs"):
                audit = _audit(dags["audit_flow_specs"], YESTERDAY)
            with show.step("Running cleanup_stale_flows"):
                cleanup = _cleanup(dags["cleanup_stale_flows"], vi)
            with show.step("Running gate_training_on_flow"):
                gate = _gate(dags["gate_training_on_flow"], vi)
            with show.step("Running audit_flow_specs again"):
                changes = _changes(_export(dags["audit_flow_specs"], TODAY))
            with show.step("Starting Airflow's scheduler, for DAGs that start others"):
                airflow = deployment.ready()
            with show.step("Running train_and_export_model, which starts deploy_model"):
                trained = _training(training.train_and_deploy(airflow, vi, FOLDER / "models"), vi)
        except Exception as error:
            show.line(f"\n{type(error).__name__}: {error}\nAirflow's log: {FOLDER / 'airflow.log'}")
            return 1
        show.table([*audit, *cleanup, *gate, *changes, *trained])
        show.line(f"Airflow's log: {FOLDER.name}/airflow.log. For Airflow's web UI, run: make airflow")
    return 0


def _export(dag: Any, day: datetime) -> dict[str, Any]:
    run = _succeeded(dag, {"destination": (FOLDER / "audit").as_uri()}, day)
    (written,) = local_airflow.returned(run, "write")
    return dict(written)


def _audit(dag: Any, day: datetime) -> list[Row]:
    written = _export(dag, day)
    path = Path(written["uri"].removeprefix("file://"))
    lines = path.read_bytes().count(b"\n")
    _expect(lines == written["count"], f"the audit file has {lines} lines, {written['count']} were reported")
    return [
        ("Audit", f"{written['count']} flow specs in {path.relative_to(FOLDER.parent)}"),
        ("", f"sha256 {written['sha256']}"),
    ]


def _changes(written: dict[str, Any]) -> list[Row]:
    found = ", ".join(f"{written[kind]} {kind}" for kind in ("added", "removed", "changed"))
    _expect(written["added"] == 1 and written["removed"] > 0, f"the second audit reports {found}")
    return [("Audit", f"compared with the first: {found}")]


def _cleanup(dag: Any, vi: Emulator) -> list[Row]:
    before = _names(vi)
    run = _succeeded(dag, {"dry_run": False})
    after = _names(vi)
    (selected,) = local_airflow.returned(run, "select")
    outcomes = local_airflow.returned(run, "delete_flow")
    deleted = {outcome["flow_id"] for outcome in outcomes if outcome["outcome"] == "deleted"}
    _expect(deleted == before.keys() - after.keys(), "the report and the server disagree on the deleted flows")
    _expect(deleted == {flow["flow_id"] for flow in selected}, "not all selected flows were deleted")
    return [
        ("Cleanup", f"{len(before)} flows before"),
        ("", f"{len(selected)} selected: not updated for 90 days, and not marked keep=true"),
        ("", f"{len(deleted)} deleted, {before[min(deleted)]!r} among them"),
        ("", f"{len(after)} kept"),
    ]


def _gate(dag: Any, vi: Emulator) -> list[Row]:
    # The example polls once a minute, too slow to watch.
    dag.get_task("wait_for_flow").poke_interval = 1
    began, created, seen = time.monotonic(), 0.0, len(vi.requests)

    def prepare_flow() -> None:
        """Create the flow while the DAG is waiting for it, as a colleague would."""
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


def _training(done: dict[str, Any], vi: Emulator) -> list[Row]:
    model, trained = done["model"], done["train"]
    path = Path(model["uri"].removeprefix("file://"))
    starts = vi.bill()[trained["run_id"]]["starts"]
    _expect(path.stat().st_size == model["size"], "the model file has another size than reported")
    _expect(starts == 1, f"the run was started {starts} times")
    _expect(done["started_by"] == "asset_triggered", f"deploy_model was started by {done['started_by']}")
    return [
        ("Training", f"run {trained['run_id']} {trained['state']}, started {starts} time"),
        ("", f"best checkpoint: epoch {model['epoch']}, f1 {model['metrics']['f1']:.3f}"),
        ("Model", f"{model['size']:,} bytes in {path.relative_to(FOLDER.parent)}"),
        ("", f"sha256 {model['sha256']}"),
        ("Deploy", f"started by the asset: {done['deployed'][:70]}…"),
    ]


def _succeeded(dag: Any, conf: dict[str, Any], logical_date: datetime | None = None) -> Any:
    run = local_airflow.run(dag, conf, logical_date)
    _expect(str(run.state) == "success", f"{dag.dag_id} ended as {run.state}")
    return run


def _names(vi: Emulator) -> dict[str, str]:
    return {flow_id: vi.store.get_flow(flow_id)["spec"]["name"] for flow_id in vi.store.flow_ids()}


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise RuntimeError(otherwise)


class Show:
    """The output on the screen."""

    def __init__(self, screen: TextIO) -> None:
        self._screen = screen

    def line(self, text: str) -> None:
        """Write a line."""
        print(text, file=self._screen, flush=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Print what is being done, and how long it took."""
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
    """Redirect all output of this process to a file, and yield the real screen."""
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
