"""Run every feature of the provider in a real Airflow at log level DEBUG, with success and with failure.

Run as ``python -m tests.security.airflow_process``, in a process of its own because Airflow reads its configuration on
import. The environment variable ``SECURITY_SCENARIO`` names a JSON file with the connections and tasks; the outcome of
each task is written to the file that it specifies.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import urllib.parse
import urllib.request
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from demo import local_airflow

SCENARIO: dict[str, Any] = json.loads(Path(os.environ["SECURITY_SCENARIO"]).read_text())
SPEC = {"name": "Made for a task", "schema": "v1", "tolerations": {}, "settings": {}, "blocks": []}


def main() -> None:
    """Create the database, store connections, run the DAGs, the connection tests and the event triggers."""
    for name in ("urllib3", "requests", "aiohttp", "asyncio", "s3fs", "fsspec", "vi_airflow_provider"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    local_airflow.create_database()
    store_connections()
    create_flows()
    train_a_model()
    remember_downloads()
    store_inline_triggers()
    outcome: dict[str, Any] = {"states": {}, "tested": {}}
    for dag in local_airflow.load_dags(Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])).values():
        serialize(dag)
        run = dag.test()
        outcome["states"] |= {ti.task_id: str(getattr(ti.state, "value", ti.state)) for ti in run.get_task_instances()}
    for conn_id in SCENARIO["connections"]:
        outcome["tested"][conn_id] = connection_test(conn_id)
    outcome["events"] = asyncio.run(watch_all())
    leak_into_a_trigger()
    outcome["triggers"] = stored_triggers()
    Path(SCENARIO["outcome"]).write_text(json.dumps(outcome, indent=1, default=str))


def store_connections() -> None:
    """Store connections in the database, as the UI does."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        for conn_id, fields in SCENARIO["stored"].items():
            session.add(Connection(conn_id=conn_id, **fields))


def create_flows() -> None:
    """Create the flows of the tasks, and an archive of one flow."""
    from vi_airflow_provider.api.canonical import canonical_json
    from vi_airflow_provider.cleanup.archive import write_archive
    from vi_airflow_provider.hooks.vi import ViHook

    hook = ViHook("env")
    for conn_id in SCENARIO["working"]:
        for verb in ("get", "update", "delete"):
            hook.create_flow({**SPEC, "name": f"{conn_id}-{verb}"}, flow_id=f"{conn_id}-{verb}")
        hook.create_flow(SPEC, flow_id=f"{conn_id}-prune", attributes={"prune": conn_id})
    flow = hook.create_flow(SPEC, flow_id="keep")
    folder, _, name = SCENARIO["archive"].removesuffix(".flows.jsonl").rpartition("/")
    write_archive(folder, name, {flow.flow_id: canonical_json(flow.to_wire())}, flow.organization_id, {})
    hook.close()


def train_a_model() -> None:
    """Start a run and let it end; the storage host rejects the download of one of its checkpoints."""
    from vi_airflow_provider.hooks.vi import ViHook

    hook = ViHook("env")
    hook.start_run(SPEC, run_id="trained")
    control(hook.settings.endpoint, "clock", {"advance_seconds": 3600})
    rejected = {"path": f"/downloads/trained/{SCENARIO['rejected']}$", "status": 403, "times": None}
    control(hook.settings.endpoint, "faults", rejected)
    hook.close()


def control(endpoint: str, name: str, body: dict[str, Any]) -> None:
    """Call the control API of the emulator."""
    request = urllib.request.Request(f"{endpoint}/_emulator/{name}", json.dumps(body).encode())  # noqa: S310 - loopback
    urllib.request.urlopen(request).close()  # noqa: S310


def remember_downloads() -> None:
    """Write every pre-signed URL to a file that is not searched."""
    from vi_airflow_provider.training import model_export

    url_of: Any = model_export._url_of

    def remembered(output: Any) -> Any:
        url = url_of(output)
        with Path(SCENARIO["downloads"]).open("a") as file:
            file.write(f"{url}\n")
        return url

    setattr(model_export, "_url_of", remembered)  # noqa: B010 - mypy does not accept the assignment


def store_inline_triggers() -> None:
    """Store each trigger that ``dag.test()`` runs in its own process, as the scheduler would."""
    name = "airflow.models.dag" if version("apache-airflow").startswith("2.") else "airflow.sdk.definitions.dag"
    dag_module: Any = import_module(name)
    run_inline = dag_module._run_inline_trigger

    def run(trigger: Any, *rest: Any) -> Any:
        store_trigger(trigger)
        return run_inline(trigger, *rest)

    dag_module._run_inline_trigger = run


def store_trigger(trigger: Any) -> None:
    """Write a row into the table ``trigger``."""
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Trigger.from_object(trigger))


def stored_triggers() -> list[Any]:
    """Return the rows of the table ``trigger``; some versions of Airflow encrypt the arguments."""
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return [[row.classpath, row.kwargs] for row in session.scalars(select(Trigger))]


class EmptyStateStore:
    """The state store of a watcher in Airflow 3.3; empty, so that the first poll reports all flows as new."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def aget(self, key: str) -> dict[str, Any]:
        return dict(self.values.get(key, {}))

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = value


async def watch(conn_id: str) -> Any:
    """Run both event triggers, each until its first event; return nothing if one has none."""
    from vi_airflow_provider.triggers.events import FlowEventTrigger, RunEventTrigger

    flows = FlowEventTrigger(vi_conn_id=conn_id, flow_id=f"{conn_id}-get", poke_interval=0.1)
    events = [await first_event(flows), await first_event(RunEventTrigger(vi_conn_id=conn_id, poll_interval=0.1))]
    return events if all(events) else None


async def first_event(trigger: Any) -> Any:
    """Run a trigger until its first event, or for two seconds on a connection that does not work."""
    conn_id, store = trigger.vi_conn_id, EmptyStateStore()
    trigger.asset_state_store = store
    store_trigger(trigger)
    events: Any = trigger.run()
    try:
        event = await asyncio.wait_for(anext(events), 60 if conn_id in SCENARIO["working"] else 2)
        return [event.payload, store.values]
    except TimeoutError:
        return None
    finally:
        await events.aclose()


async def watch_all() -> dict[str, Any]:
    """Run the event triggers on every connection."""
    conn_ids = SCENARIO["connections"]
    return dict(zip(conn_ids, await asyncio.gather(*map(watch, conn_ids)), strict=True))


def leak_into_a_trigger() -> None:
    """Store a trigger that contains the planted secret."""
    from vi_airflow_provider.triggers.flows import FlowTrigger

    store_trigger(FlowTrigger(vi_conn_id=urllib.parse.quote(SCENARIO["planted"]), gate={"target": {"flow_id": "leak"}}))


def serialize(dag: Any) -> None:
    """Store a DAG, as the DAG processor does; on Airflow 3, it is already stored."""
    if version("apache-airflow").startswith("2."):
        model: Any = import_module("airflow.models.serialized_dag")
        model.SerializedDagModel.write_dag(dag)


def connection_test(conn_id: str) -> list[Any]:
    """Run the connection test of the connection form."""
    from vi_airflow_provider.hooks.vi import ViHook

    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"  # where the form runs, connections are read from the database
    result = ViHook(conn_id).test_connection()
    print(result)
    return list(result)


if __name__ == "__main__":
    main()
