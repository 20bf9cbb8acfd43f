"""A real Airflow that does at DEBUG all that this provider can do, well and badly.

Run as ``python -m tests.security.airflow_process``.

It runs in a process of its own, because Airflow reads its configuration when it is first imported. What it shall do
is in the JSON file that ``TRUST_STAGE`` names; what became of each task it writes beside it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import urllib.parse
from importlib.metadata import version
from pathlib import Path
from typing import Any

from demo import local_airflow

STAGE: dict[str, Any] = json.loads(Path(os.environ["TRUST_STAGE"]).read_text())
SPEC = {"name": "Made for a task", "schema": "v1", "tolerations": {}, "settings": {}, "blocks": []}


def main() -> None:
    """Make the database, store connections, run the DAGs, the connection test and the event trigger."""
    for name in ("urllib3", "requests", "aiohttp", "asyncio", "s3fs", "fsspec", "vi_airflow_provider"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    local_airflow.create_database()
    store_connections()
    make_flows()
    store_triggers()
    outcome: dict[str, Any] = {"states": {}, "tested": {}}
    for dag in local_airflow.load_dags(Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])).values():
        serialize(dag)
        run = dag.test()
        outcome["states"] |= {ti.task_id: str(getattr(ti.state, "value", ti.state)) for ti in run.get_task_instances()}
    for conn_id in STAGE["connections"]:
        outcome["tested"][conn_id] = connection_test(conn_id)
    outcome["events"] = asyncio.run(watch_all())
    leak_in_a_trigger()
    outcome["triggers"] = stored_triggers()
    Path(STAGE["outcome"]).write_text(json.dumps(outcome, indent=1, default=str))


def store_connections() -> None:
    """Store connections in the database, as the UI does."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        for conn_id, given in STAGE["stored"].items():
            session.add(Connection(conn_id=conn_id, **given))


def make_flows() -> None:
    """Make the flows that the tasks work on, and an archive of one of them."""
    from vi_airflow_provider.api.canonical import canonical_json
    from vi_airflow_provider.cleanup.archive import write_archive
    from vi_airflow_provider.hooks.vi import ViHook

    hook = ViHook("env")
    for conn_id in STAGE["working"]:
        for verb in ("get", "update", "delete"):
            hook.create_flow({**SPEC, "name": f"{conn_id}-{verb}"}, flow_id=f"{conn_id}-{verb}")
        hook.create_flow(SPEC, flow_id=f"{conn_id}-prune", attributes={"prune": conn_id})
    flow = hook.create_flow(SPEC, flow_id="keep")
    folder, _, name = STAGE["archive"].removesuffix(".flows.jsonl").rpartition("/")
    write_archive(folder, name, {flow.flow_id: canonical_json(flow.to_wire())}, flow.organization_id, {})
    hook.close()


def store_triggers() -> None:
    """Have each trigger that ``dag.test()`` runs in its own process stored first, as a scheduler would."""
    try:
        from airflow.sdk.definitions import dag as dag_module
    except ImportError:  # Airflow 2
        from airflow.models import dag as dag_module
    run_inline = dag_module._run_inline_trigger

    def run(trigger: Any, *rest: Any) -> Any:
        store_trigger(trigger)
        return run_inline(trigger, *rest)

    dag_module._run_inline_trigger = run


def store_trigger(trigger: Any) -> None:
    """Write a row of the table ``trigger``."""
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Trigger.from_object(trigger))


def stored_triggers() -> list[Any]:
    """Return the rows of the table ``trigger``; some versions of Airflow encrypt the arguments in it."""
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return [[row.classpath, row.kwargs] for row in session.scalars(select(Trigger))]


class Memory:
    """What Airflow 3.3 keeps for a watcher. It knows of no flow, so the first look sees all of them created."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def aget(self, key: str) -> dict[str, Any]:
        return self.kept.get(key, {})

    async def aset(self, key: str, value: Any) -> None:
        self.kept[key] = value


async def watch(conn_id: str) -> Any:
    """Run the event trigger until it has seen something; where it cannot, until it has failed for a while."""
    from vi_airflow_provider.triggers.events import FlowEventTrigger

    trigger = FlowEventTrigger(vi_conn_id=conn_id, flow_id=f"{conn_id}-get", poke_interval=0.1)
    trigger.asset_state_store = memory = Memory()
    store_trigger(trigger)
    looks = trigger.run()
    try:
        event = await asyncio.wait_for(anext(looks), 60 if conn_id in STAGE["working"] else 2)
        return [event.payload, memory.kept]
    except TimeoutError:
        return None
    finally:
        await looks.aclose()


async def watch_all() -> dict[str, Any]:
    """Run the event trigger on every connection."""
    conn_ids = STAGE["connections"]
    return dict(zip(conn_ids, await asyncio.gather(*map(watch, conn_ids)), strict=True))


def leak_in_a_trigger() -> None:
    """Store a trigger that leaks on purpose."""
    from vi_airflow_provider.triggers.flows import FlowTrigger

    store_trigger(FlowTrigger(vi_conn_id=urllib.parse.quote(STAGE["planted"]), gate={"target": {"flow_id": "leak"}}))


def serialize(dag: Any) -> None:
    """Store a DAG as the DAG processor does; on Airflow 3, it is stored already."""
    if version("apache-airflow").startswith("2."):
        from airflow.models.serialized_dag import SerializedDagModel

        SerializedDagModel.write_dag(dag)


def connection_test(conn_id: str) -> list[Any]:
    """Press the button "Test" of the connection form."""
    from vi_airflow_provider.hooks.vi import ViHook

    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"  # where the button is, connections are read from the database
    result = ViHook(conn_id).test_connection()
    print(result)
    return list(result)


if __name__ == "__main__":
    main()
