"""`make airflow`: Airflow's web UI with the example DAGs and the emulator, for a person to click through."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo.deployment import AIRFLOW, Deployment, StoppedError
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.guidance import next_steps
from vi_airflow_provider.emulator.store.lifecycle import Scenario

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".airflow-ui"
PORT = 8080


def main() -> int:
    """Start everything, wait for Ctrl-C or a signal, stop everything."""
    stopping = threading.Event()
    # Explicit handlers: a shell that starts a job in the background lets it ignore SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    return serve(HOME, stopping)


def serve(home: Path, stopping: threading.Event, command: tuple[str, ...] = AIRFLOW) -> int:
    """Run the UI until `stopping` is set.

    :param home: folder for everything that is written; its content is removed first
    :param command: the command that takes Airflow's subcommands
    """
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    with (
        Emulator(flows=40, runs=20) as vi,
        Deployment(home, port=_usable_port(), stopping=stopping, command=command) as airflow,
    ):
        add_runs(vi)
        try:
            _say(
                f"The emulator serves 40 flows, and runs of all states, at {vi.url}. Airflow starts (about a minute) …"
            )
            airflow.migrate()
            airflow.add_connection("vi_default", json.dumps(vi.stored_connection))
            airflow.start()
            airflow.wait_until_healthy()
            _say(_guide(airflow, vi))
            stopping.wait()
        except StoppedError:
            pass
        except (RuntimeError, TimeoutError) as error:
            print(f"{error}", file=sys.stderr)
            return 1
        _say("\nStopping …")
    return 0


def add_runs(vi: Emulator) -> None:
    """Add what the sample runs lack, a queued run and one that has lost its task; later runs take a minute."""
    flow_id = vi.store.flow_ids()[0]
    spec = {"flow": vi.store.get_flow(flow_id)["spec"]}
    scenarios: dict[Scenario, dict[str, str]] = {
        "stuck_queued": {},
        "succeed": {"vi_airflow.deadline": str(int((time.time() - 3600) * 1000))},
    }
    for scenario, attributes in scenarios.items():
        vi.plans.add(scenario=scenario, run_seconds=86_400, queue_seconds=0, times=1)
        metadata = {"attributes": {"vi_airflow.flow_id": flow_id, **attributes}}
        vi.store.put_run(str(uuid.uuid4()), {"spec": spec, "metadata": metadata})
    vi.plans.add(run_seconds=60)


def _guide(airflow: Deployment, vi: Emulator) -> str:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")
    cli = f"AIRFLOW_HOME={airflow.home} {Path(sys.executable).parent / 'airflow'}"
    lines = [
        f"\n  Airflow      {airflow.url}   (no login)",
        f"  DAGs         {airflow.url}/dags: switch one on, or trigger it",
        f"  Connection   {airflow.url}/connections: vi_default has a Test button",
        f"  Datature Vi  {airflow.url}/plugin/vi: flows, cleanup preview, gates, runs, audits (menu Browse)\n",
        "To see the audit report a difference, trigger one for yesterday, change flows, trigger one for today:",
        f"  {cli} dags unpause --yes audit_flow_specs",
        f"  {cli} dags trigger audit_flow_specs --logical-date {yesterday}",
        f'  curl -X POST {vi.url}/_emulator/changes -d \'{{"edit": 2, "create": 1, "delete": 1}}\'',
        f"  {cli} dags trigger audit_flow_specs\n",
        "gate_training_on_flow waits for a flow by name; trigger it, then create the flow:",
        f"  {cli} dags unpause --yes gate_training_on_flow",
        f"  {cli} dags trigger gate_training_on_flow",
        f'  curl -X POST {vi.url}/_emulator/flows -d \'{{"name": "Weld seam defects - nightly"}}\'\n',
        "train_flow trains for a minute; an hour ago, a run has lost its task, which cleanup_runs finds:",
        f"  {cli} dags unpause --yes train_flow",
        f"  {cli} dags trigger train_flow",
        f"  {cli} dags unpause --yes cleanup_runs",
        f"  {cli} dags trigger cleanup_runs\n",
        *next_steps(vi.url, vi.organization_id),
        f"\nLogs are in {airflow.home.name}/. Press Ctrl-C to stop everything.",
    ]
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, flush=True)


def _usable_port() -> int:
    """Return the usual port of Airflow's UI, or 0 (any other) if it is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            return 0
    return PORT


if __name__ == "__main__":
    sys.exit(main())
