"""The steps of the distributed test, and the checks at the end."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from demo.deployment import Deployment
from tests.deployed import eventually, start, task_instances, xcom
from tests.reliability.distributed.memory import processes
from tests.reliability.distributed.trainings import Trainings
from vi_airflow_provider.emulator import Emulator

STALE: Final = 310
#: Deletes after which a worker is killed, as soon as one of its batches is partly done.
DELETES_BEFORE_THE_KILL: Final = 60
LATENCY_MS: Final = 100
SPEC: Final = {"name": "Late", "schema": "v1", "tolerations": {}, "settings": {}, "blocks": []}
PATIENCE: Final = 900.0
_DAY_MS: Final = 24 * 3600 * 1000


@dataclass
class Scenario:
    """The steps of the test; each records its duration in seconds.

    :param airflow: a running deployment with the components `worker-…`
    :param vi: its emulator
    :param archives: folder for the archives
    """

    airflow: Deployment
    vi: Emulator
    archives: Path
    seconds: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    trainings: Trainings = field(init=False)

    def run(self) -> None:
        """Run the cleanup, kill a worker and the triggerer meanwhile, and check everything."""
        stale = self._prepare_flows()
        kept = set(self.vi.store.flow_ids()) - stale.keys()
        # A flow that is deleted must not be in use by a run.
        self.trainings = Trainings(self.airflow, self.vi, min(kept))
        self.trainings.begin()
        gate = start(self.airflow, "gate")
        eventually(lambda: self._states("gate", gate) == {"deferred": 1}, "the gate was not deferred", PATIENCE)

        began = time.monotonic()
        cleanup = start(self.airflow, "cleanup", {"archive_to": self.archives.as_uri()})
        map_index, lost = self._kill_worker_within_a_batch(cleanup, stale.keys())
        killed = time.monotonic()
        self.airflow.kill("triggerer")
        self.airflow.start("triggerer")

        eventually(lambda: self._are_over(cleanup, lost), "the tasks of the killed worker were not recovered", PATIENCE)
        self.seconds["recovery"] = time.monotonic() - killed
        eventually(lambda: self._run_state("cleanup", cleanup) != "running", "the cleanup did not end", PATIENCE)
        self.seconds["cleanup"] = time.monotonic() - began

        assert self._states("gate", gate) == {"deferred": 1}, "the gate did not wait"
        self.airflow.wait_until_healthy()
        created = time.monotonic()
        self.vi.store.put_flow("late-flow", {"spec": SPEC})
        eventually(lambda: self._states("gate", gate) == {"success": 1}, "the gate did not open", PATIENCE)
        self.seconds["gate"] = time.monotonic() - created

        assert self._run_state("cleanup", cleanup) == "success", self._states("cleanup", cleanup)
        assert set(self.vi.store.flow_ids()) == kept | {"late-flow"}, "the deleted flows are not exactly the stale ones"
        archived = self._check_archives(stale)
        self._check_reports(cleanup, stale, archived, map_index)
        assert xcom(self.airflow, "gate", gate, "gate")["flow_id"] == "late-flow"
        self._restore(stale)
        self.facts |= self.trainings.check()

    # --- steps -------------------------------------------------------------------------------------------------

    def _prepare_flows(self) -> dict[str, dict[str, Any]]:
        """Update flows until exactly `STALE` unprotected ones are stale, and return these by id."""
        now, store = time.time() * 1000, self.vi.store
        flows = {flow_id: store.get_flow(flow_id) for flow_id in store.flow_ids()}
        busy = set(store.busy_flow_ids())
        ages = {flow_id: now - flow["metadata"]["lastUpdated"] for flow_id, flow in flows.items()}
        kept = {flow_id for flow_id, flow in flows.items() if flow["metadata"]["attributes"].get("keep") == "true"}
        free = flows.keys() - busy - kept
        stale = [flow_id for flow_id, age in ages.items() if age > 91 * _DAY_MS and flow_id in free][:STALE]
        assert len(stale) == STALE
        for flow_id, age in ages.items():
            if age > 89 * _DAY_MS and flow_id not in kept.union(stale):
                store.patch_flow(flow_id, {"metadata": {"attributes": {"touched": "yes"}}})
        self.facts |= {"flows": len(flows), "stale": len(stale), "latency_ms": LATENCY_MS}
        return {flow_id: flows[flow_id] for flow_id in stale}

    def _kill_worker_within_a_batch(self, run_id: str, stale: Any) -> tuple[int, list[str]]:
        """Kill a worker within a batch; return the map index of the batch, and the ids of all tasks of the worker."""
        eventually(lambda: self._gone(stale) >= DELETES_BEFORE_THE_KILL, "nothing was deleted", PATIENCE)
        planned = xcom(self.airflow, "cleanup", run_id, "batches")
        batches = [{flow["flow_id"] for flow in batch} for batch in planned]
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            running = [task for task in task_instances(self.airflow, "cleanup", run_id) if task["state"] == "running"]
            # Everything slow happens before the batch is checked, as its deletion continues meanwhile.
            for worker, family in self._workers().items():
                lost = [task for task in running if task["pid"] in family]
                for task in lost:
                    batch = batches[task["map_index"]] if task["task_id"] == "prune" else set()
                    if 0 < self._gone(batch) < len(batch):
                        self.trainings.note_loss(family)
                        self._kill_processes_of(worker, family)
                        assert self._gone(batch) < len(batch), "the batch was completed before its worker was killed"
                        self.facts |= {
                            "deletes_before_the_kill": self._gone(stale),
                            "killed_batch": {"flows": len(batch), "deleted": self._gone(batch)},
                            "tasks_lost": len(lost),
                        }
                        return task["map_index"], [task["id"] for task in lost]
            time.sleep(0.1)
        raise AssertionError("no worker was found within a batch")

    def _workers(self) -> dict[str, list[int]]:
        """Return the processes of each worker."""
        return {name: processes(pid) for name, pid in self.airflow.pids().items() if name.startswith("worker")}

    def _kill_processes_of(self, worker: str, family: list[int]) -> None:
        for pid in family:  # one by one: Airflow gives each task a process group of its own
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.airflow.kill(worker)
        eventually(lambda: not any(map(processes, family)), "a process of the killed worker is still running")

    # --- checks ------------------------------------------------------------------------------------------------

    def _check_archives(self, stale: Mapping[str, Any]) -> dict[str, set[str]]:
        """Verify each archive, check that each stale flow is in one unchanged, and return the ids by archive."""
        from vi_airflow_provider.cleanup.archive import read_archive

        archived = {}
        for manifest in self.archives.glob("*.manifest.json"):
            uri = manifest.as_uri().replace(".manifest.json", ".jsonl")
            flows = list(read_archive(uri))
            for flow in flows:
                assert flow.to_wire() == stale[flow.flow_id], f"{flow.flow_id} was archived differently"
            archived[uri] = {flow.flow_id for flow in flows}
        missing = stale.keys() - set[str]().union(*archived.values())
        assert not missing, f"deleted, but in no archive: {missing}"
        self.facts["archives"] = len(archived)
        return archived

    def _check_reports(self, run_id: str, stale: Any, archived: Mapping[str, set[str]], cut: int) -> None:
        tasks = task_instances(self.airflow, "cleanup", run_id)
        assert {task["state"] for task in tasks} == {"success"}, Counter(task["state"] for task in tasks)
        outcomes: dict[str, str] = {}
        for task in tasks:
            for flow_id, outcome, archives in self._reported(run_id, task):
                assert flow_id not in outcomes, f"{flow_id} is in two reports"
                outcomes[flow_id] = outcome
                assert any(flow_id in archived[uri] for uri in archives), f"{flow_id} is in no archive of its report"
        assert outcomes.keys() == set(stale), "the reports do not contain exactly the stale flows"
        counts = Counter(outcomes.values())
        assert counts.keys() <= {"deleted", "already_absent"}, counts
        (batch,) = (task for task in tasks if (task["task_id"], task["map_index"]) == ("prune", cut))
        assert batch["try_number"] > 1, "the batch of the killed worker was not retried"
        self.facts |= {
            "outcomes": dict(counts),
            "tasks": len(tasks),
            "tasks_tried_again": sum(task["try_number"] > 1 for task in tasks),
        }

    def _reported(self, run_id: str, task: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
        """Yield id, outcome and archives of each flow in the report of a task."""
        if task["task_id"] == "delete":
            report = xcom(self.airflow, "cleanup", run_id, "delete", task["map_index"])
            yield report["flow_id"], report["outcome"], [report["archive"]]
        elif task["task_id"] == "prune":
            report = xcom(self.airflow, "cleanup", run_id, "prune", task["map_index"])
            archives = [*report["earlier_archives"], *([report["archive"]] if report["archive"] else [])]
            for flow in report["outcomes"]:
                yield flow["flow_id"], flow["outcome"], archives

    def _restore(self, stale: Mapping[str, Any]) -> None:
        """Restore all flows from the archives, and compare them with the originals."""
        from vi_airflow_provider.cleanup.archive import read_archive
        from vi_airflow_provider.hooks.vi import ViHook

        hook = ViHook()
        for manifest in self.archives.glob("*.manifest.json"):
            for flow in read_archive(manifest.as_uri().replace(".manifest.json", ".jsonl")):
                hook.restore_flow(flow.to_wire())
        hook.close()
        for flow_id, flow in stale.items():
            restored = self.vi.store.get_flow(flow_id)
            assert restored["spec"] == flow["spec"]
            assert restored["metadata"]["attributes"] == flow["metadata"]["attributes"]
        self.facts["restored"] = len(stale)

    # --- state -------------------------------------------------------------------------------------------------

    def _gone(self, flow_ids: Any) -> int:
        return len(set(flow_ids) - set(self.vi.store.flow_ids()))

    def _states(self, dag_id: str, run_id: str) -> Counter[str]:
        return Counter(task["state"] for task in task_instances(self.airflow, dag_id, run_id))

    def _are_over(self, run_id: str, ids: list[str]) -> bool:
        tasks = task_instances(self.airflow, "cleanup", run_id)
        # A retry may have another id than the lost try.
        return all(task["state"] == "success" for task in tasks if task["id"] in ids or task["try_number"] > 1)

    def _run_state(self, dag_id: str, run_id: str) -> str:
        return str(self.airflow.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])
