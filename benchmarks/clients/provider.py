"""This provider, through its public API."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.clients.reads import reader
from benchmarks.flows import flow_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.triggers.base import BaseTrigger


def list_flows(
    page_size: int | None = None, limit: int | None = None, *, everything: bool = False
) -> Callable[[], Any]:
    """``ViHook.list_flows``."""
    from vi_airflow_provider.hooks.vi import ViHook

    hook, read = ViHook(), reader(everything=everything)

    def run() -> dict[str, int]:
        count = 0
        for count, flow in enumerate(hook.list_flows(page_size=page_size, limit=limit), 1):  # noqa: B007
            read(flow)
        return {"flows": count}

    return run


def delete_one_by_one(count: int) -> Callable[[], Any]:
    """A loop over ``ViHook.delete_flow``."""
    from vi_airflow_provider.hooks.vi import ViHook

    hook = ViHook()

    def run() -> dict[str, int]:
        return {"deleted": sum(hook.delete_flow(flow_id(number)).deleted for number in range(count))}

    return run


def delete_flows(count: int, concurrency: int) -> Callable[[], Any]:
    """``ViHook.delete_flows``."""
    from vi_airflow_provider.hooks.vi import ViHook

    hook = ViHook()

    def run() -> dict[str, int]:
        flow_ids = map(flow_id, range(count))
        return {"deleted": sum(gone.deleted for gone in hook.delete_flows(flow_ids, concurrency=concurrency))}

    return run


def export_flows(
    page_size: int | None = None, suffix: str = "jsonl", *, html_report: bool = False
) -> Callable[[], Any]:
    """``ExportFlowsOperator`` to a file on the local disk."""
    folder = tempfile.TemporaryDirectory(prefix="vi-benchmark-")

    def run() -> dict[str, int]:
        file = Path(folder.name) / f"flows.{suffix}"
        return {"flows": _exported(file, page_size=page_size, html_report=html_report)}

    return run


def check_export(command: str) -> Callable[[], Any]:
    """``python -m vi_airflow_provider.audit``: verify an export, or compare it with itself. Only that is measured."""
    from vi_airflow_provider.audit.__main__ import main

    folder = tempfile.TemporaryDirectory(prefix="vi-benchmark-")

    def run() -> dict[str, float]:
        file = Path(folder.name) / "flows.jsonl"
        flows = _exported(file)
        cpu, wall = time.process_time(), time.perf_counter()
        code = main([command, *[str(file)] * (2 if command == "diff" else 1)])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if code:
            raise RuntimeError(f"{command} exits with {code}")
        return {"flows": flows, "wall": wall, "cpu": cpu}

    return run


def _exported(file: Path, **options: Any) -> int:
    from vi_airflow_provider.operators.flows import ExportFlowsOperator

    export = ExportFlowsOperator(task_id="export", destination=file.as_uri(), **options)
    return int(export.execute({})["count"])


def gates() -> Callable[..., Any]:
    """``FlowExistsSensor(deferrable=True)``: the trigger to which it defers, for each flow."""
    import json

    from airflow.providers.common.compat.sdk import TaskDeferred

    from benchmarks.clients.waiting import wait
    from vi_airflow_provider.sensors.flows import FlowExistsSensor
    from vi_airflow_provider.triggers.flows import FlowTrigger

    def trigger_of(flow: str, poll: float) -> BaseTrigger:
        sensor = FlowExistsSensor(task_id="gate", flow_id=flow, deferrable=True, poke_interval=poll, timeout=3600)
        try:
            sensor.execute({})
        except TaskDeferred as deferred:
            return deferred.trigger  # type: ignore[no-any-return]
        raise AssertionError("the flow already exists")

    def run(first: int, count: int, poll: float, **times: float) -> dict[str, Any]:
        # A sensor polls once before it defers. In production each does so in its own worker; here, a thousand of them
        # would need half a minute, so one sensor, for a flow that never appears, provides the arguments for all.
        *flows, never = (flow_id(number) for number in range(first, first + count + 1))
        _, arguments = trigger_of(never, poll).serialize()
        text = json.dumps(arguments | {"first_look": time.time() + poll})
        return wait({flow: FlowTrigger(**json.loads(text.replace(never, flow))) for flow in flows}, **times)

    return run


def runs() -> Callable[..., Any]:
    """``RunTrigger``, to which ``StartRunOperator(deferrable=True)`` defers, for each run."""
    import time

    from benchmarks.clients.waiting import wait
    from benchmarks.runs import OWNER, run_id
    from vi_airflow_provider.triggers.runs import RunTrigger

    def run(count: int, poll: float, **times: float) -> dict[str, Any]:
        first_poll = time.time() + poll
        triggers = {
            str(number): RunTrigger(
                vi_conn_id="vi_default",
                run_id=run_id(number),
                owner=OWNER,
                poll_interval=poll,
                first_poll=first_poll,
            )
            for number in range(count)
        }
        return wait(triggers, **times)

    return run
