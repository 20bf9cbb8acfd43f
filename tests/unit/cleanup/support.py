"""What the tests of the cleanup inspect: the flows on the server, its requests, the files of an archive."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.tasks import TaskInstance, plain
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.cleanup import destination
from vi_airflow_provider.cleanup.archive import read_archive, write_archive
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.flows import PruneFlowsOperator

DAY_MS: Final = 86_400_000
OLD: Final = "P90D"
COUNTS: Final = ("deleted", "changed", "busy", "already_absent", "failed")
SPEC: Final = {"name": "x", "schema": "v1", "tolerations": {}, "settings": {}, "blocks": []}


class Vi:
    """The emulator, and what tests ask about it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.store = emulator.store
        self.faults = emulator.faults

    @property
    def flows(self) -> dict[str, dict[str, Any]]:
        """All flows as they are on the wire, by their ids."""
        return {flow_id: self.store.get_flow(flow_id) for flow_id in self.store.flow_ids()}

    def stale(self, days: int = 90) -> set[str]:
        """Ids of the flows that were last updated at least this number of days ago."""
        limit = time.time() * 1000 - days * DAY_MS
        return {flow_id for flow_id, flow in self.flows.items() if flow["metadata"]["lastUpdated"] <= limit}

    def sent(self, *methods: str) -> list[str]:
        """The requests so far, as ``"METHOD id"``, with ``*`` for the listing; of these methods, or all."""
        return [
            f"{request.method} {'*' if request.path.endswith('/flows') else request.path.rpartition('/')[2]}"
            for request in self.emulator.requests
            if not methods or request.method in methods
        ]

    def touch(self, flow_id: str) -> None:
        """Edit a flow, as a colleague would."""
        self.store.patch_flow(flow_id, {"metadata": {"attributes": {"touched": "yes"}}})

    def occupy(self, flow_id: str) -> None:
        """Start a run that uses the flow."""
        spec = {"flow": self.store.get_flow(flow_id)["spec"]}
        self.store.put_run("run-1", {"spec": spec, "metadata": {"attributes": {"vi_airflow.flow_id": flow_id}}})


def run(operator: Any, ti: TaskInstance | None = None) -> Any:
    """Execute a task, and return what an XCom would carry."""
    return plain(operator.execute({"ti": ti or TaskInstance()}))


def archived(folder: Path) -> dict[str, Flow]:
    """All flows of all archives in a folder that can be restored, by their ids."""
    return {flow.flow_id: flow for uri in archives(folder) for flow in read_archive(uri)}


def archives(folder: Path) -> list[str]:
    """The archives in a folder that have a manifest."""
    manifests = folder.glob("*.flows.manifest.json")
    return sorted(str(path).replace(".manifest.json", ".jsonl") for path in manifests)


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    """The outcome of each flow."""
    return {outcome["flow_id"]: outcome["outcome"] for outcome in report["outcomes"]}


def when(happens: Callable[..., Any], do: Callable[[], Any]) -> Callable[..., Any]:
    """Return the function, preceded by an action before its first call."""
    pending = [do]

    def instead(*arguments: Any, **options: Any) -> Any:
        while pending:
            pending.pop()()
        return happens(*arguments, **options)

    return instead


def operator(**arguments: Any) -> PruneFlowsOperator:
    """A task with a policy of 90 days, unless the arguments differ."""
    defaults = {"task_id": "prune", "older_than": OLD} if "plan" not in arguments else {"task_id": "prune"}
    return PruneFlowsOperator(**{**defaults, **arguments})


def counts(report: dict[str, Any]) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: report[name] for name in COUNTS if report[name]}


def listing(requests: list[str]) -> list[str]:
    """The requests for pages of the listing."""
    return [request for request in requests if request == "GET *"]


def before_the_deletes(monkeypatch: pytest.MonkeyPatch, do: Any) -> None:
    """Let something happen after the plan is made, before anything is archived or deleted."""
    monkeypatch.setattr(destination, "write_archive", when(write_archive, do))
