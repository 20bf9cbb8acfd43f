"""What the tests of the cleanup of runs inspect: the runs on the server, the requests, the records of an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.cleanup.support import Vi, run
from vi_airflow_provider.cleanup.archive import read_run_archive
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.runs import PruneRunsOperator

__all__ = ["Runs", "operator", "outcomes", "records", "run"]


class Runs(Vi):
    """The emulator, and what tests ask about its runs."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator)
        self._flow = self.store.get_flow(self.store.flow_ids()[0])["spec"]

    @property
    def ids(self) -> set[str]:
        """The ids of all runs."""
        return set(self.store.run_ids())

    def start(self, run_id: str, attributes: dict[str, str] | None = None, **plan: Any) -> str:
        """Start a run that ends at once, unless its plan differs, and return its id."""
        fields = {"run_seconds": 0, "queue_seconds": 0, **plan}
        self.emulator.plans.add(run=f"^{run_id}$", **fields)
        body = {"spec": {"flow": self._flow}, "metadata": {"attributes": attributes or {"vi_airflow.flow_id": "f"}}}
        self.store.put_run(run_id, body)
        return run_id

    def sent(self, *methods: str) -> list[str]:
        """The requests so far, as ``"METHOD path"`` without the organization; of these methods, or all."""
        return [
            f"{request.method} {request.path.split('/', 3)[3]}"
            for request in self.emulator.requests
            if not methods or request.method in methods
        ]


def operator(**arguments: Any) -> PruneRunsOperator:
    """A task that selects all ended runs, however young, unless the arguments differ."""
    defaults: dict[str, Any] = {"task_id": "prune", "max_delete_fraction": 1}
    if "plan" not in arguments:
        defaults["older_than"] = "PT0S"
    return PruneRunsOperator(**{**defaults, **arguments})


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """The records of all archives in a folder that have a manifest, by the ids of the runs."""
    manifests = sorted(folder.glob("*.runs.manifest.json"))
    uris = [str(path).replace(".manifest.json", ".jsonl") for path in manifests]
    return {record["run_id"]: record for uri in uris for record in read_run_archive(uri)}


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    """The outcome of each run."""
    return {outcome["run_id"]: outcome["outcome"] for outcome in report["outcomes"]}
