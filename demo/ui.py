"""`make airflow`: Airflow's web UI with the example DAGs and the emulator, for a person to click through."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

from demo.deployment import Deployment
from vi_airflow_provider.emulator import Emulator

HOME = Path(__file__).resolve().parent.parent / ".airflow-ui"
PORT = 8080


def main() -> int:
    """Start everything, wait for Ctrl-C, end everything."""
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    with Emulator(flows=40) as vi, Deployment(HOME, port=_usable_port()) as airflow:
        try:
            print(
                f"An emulated Vi with 40 flows answers on {vi.url}. Airflow is starting (about a minute) …", flush=True
            )
            airflow.migrate()
            airflow.add_connection("vi_default", vi.airflow_conn)
            airflow.start()
            airflow.wait_until_healthy()
            print(
                f"\n  Airflow      {airflow.url}   (no login)\n"
                f"  DAGs         {airflow.url}/dags: switch one on, or trigger it\n"
                f"  Connection   {airflow.url}/connections: vi_default, press its Test button\n\n"
                f"Logs are in {HOME.name}/. Press Ctrl-C to end all of it.",
                flush=True,
            )
            signal.pause()
        except KeyboardInterrupt:
            print("\nEnding …", flush=True)
        except (RuntimeError, TimeoutError) as error:
            print(f"{error}", file=sys.stderr)
            return 1
    return 0


def _usable_port() -> int:
    """Return the usual port of Airflow's UI, or 0 for any other if somebody else has it."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            return 0
    return PORT


if __name__ == "__main__":
    sys.exit(main())
