"""The store: the flows and runs of one organization, as a whole.

Documents are values: a change replaces a document by a new one, so a document that was read never changes. What
this class returns are copies, of the current state; `flows` and `runs` also offer what reads over HTTP show.
"""

from __future__ import annotations

import random

from vi_airflow_provider.emulator.store.behaviour import Behaviour
from vi_airflow_provider.emulator.store.collection import Clock, Ledger, copy_of, system_clock
from vi_airflow_provider.emulator.store.flows import Flows
from vi_airflow_provider.emulator.store.logs import Line, lines_of, select
from vi_airflow_provider.emulator.store.outputs import Outputs
from vi_airflow_provider.emulator.store.projects import TrainingProjects
from vi_airflow_provider.emulator.store.resources import accelerators, quota
from vi_airflow_provider.emulator.store.run_samples import past_runs, sample_projects
from vi_airflow_provider.emulator.store.runs import Runs
from vi_airflow_provider.emulator.store.samples import sample_flows, sample_runs
from vi_airflow_provider.emulator.store.schema import Document, candidate_spec, encode
from vi_airflow_provider.emulator.store.state_file import State, StateError, StateFile


class Store:
    """Flows and runs; thread-safe."""

    def __init__(
        self,
        organization_id: str,
        behaviour: Behaviour | None = None,
        *,
        clock: Clock = system_clock,
        state_file: StateFile | None = None,
    ) -> None:
        self._ledger = Ledger(organization_id, behaviour or Behaviour(), clock)
        self._state_file = state_file
        if state_file is not None:
            self._ledger.saves = lambda revision: state_file.save(revision, self._snapshot)
        self.runs = Runs(self._ledger)
        self.flows = Flows(self._ledger, self.runs.active)
        self.projects = TrainingProjects(self._ledger, self._members)
        self.outputs = Outputs(self._ledger, self.runs)

    @property
    def organization_id(self) -> str:
        """The organization that owns everything in it."""
        return self._ledger.organization_id

    @property
    def persistent(self) -> bool:
        """Whether a change waits for a disk."""
        return self._state_file is not None

    # -- flows ----------------------------------------------------------------------------------------

    def flow_ids(self) -> list[str]:
        """Ids of all flows, in the order of the listing."""
        with self._ledger.lock:
            return self.flows.ids()

    def busy_flow_ids(self) -> list[str]:
        """Ids of the flows that an active run uses: a DELETE of these is refused."""
        with self._ledger.lock:
            return self.flows.busy_ids()

    def get_flow(self, flow_id: str) -> Document:
        """One flow, or a 404."""
        return self.flows.require(flow_id).copy()

    def put_flow(self, flow_id: str, body: Document) -> Document:
        """Create, or replace spec and attributes as a whole."""
        return self.flows.write(flow_id, body)

    def patch_flow(self, flow_id: str, body: Document) -> Document:
        """Change the given parts of the spec (each as a whole) and merge attributes."""
        return self.flows.patch(flow_id, body)

    def delete_flow(self, flow_id: str) -> None:
        """Delete a flow; 409 while an active run uses it."""
        self.flows.delete(flow_id)

    def add_sample_flows(self, count: int, seed: int | str) -> list[str]:
        """Add sample flows with the ages of samples; 409 if flows of this seed exist."""
        return self.flows.add_samples(count, seed)

    def create_flows(self, count: int) -> list[str]:
        """Create flows now, as another client would."""
        return self.flows.create_samples(count)

    def delete_some_flows(self, count: int, rng: random.Random) -> list[str]:
        """Delete flows that no run uses, as another client would."""
        return self.flows.delete_random(count, rng)

    # -- runs -----------------------------------------------------------------------------------------

    def run_ids(self) -> list[str]:
        """Ids of all runs, in the order of the listing."""
        with self._ledger.lock:
            return self.runs.ids()

    def get_run(self, run_id: str) -> Document:
        """One run as it is now, or a 404."""
        return copy_of(encode(self.runs.view(self.runs.require(run_id).document)))

    def put_run(self, run_id: str, body: Document) -> Document:
        """Create and start, or replace."""
        return self.runs.write(run_id, body)

    def patch_run(self, run_id: str, body: Document) -> Document:
        """Change the training project or attributes, or kill; 409 if the run has already ended."""
        return self.runs.patch(run_id, body)

    def delete_run(self, run_id: str) -> None:
        """Delete a run; 409 while it is active."""
        self.runs.delete(run_id)

    def run_logs(
        self,
        run_id: str,
        block: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: str | None = None,
    ) -> list[Line]:
        """Lines of the log of a run."""
        run = self.runs.read(run_id).document
        lines = select(lines_of(run, self.runs.life(run), self._ledger.clock()), block, since, until, limit)
        return lines[: self._ledger.behaviour.log_cap or None]

    def bill(self) -> Document:
        """For each run id that was PUT: `starts`, `seconds` on a GPU, and the times of its `puts`."""
        return self.runs.costs()

    def quota(self) -> Document:
        """Limits and usage of the organization."""
        seconds = (account["seconds"] for account in self.bill().values())
        return quota(len(self.flows), len(self.runs), seconds)

    def accelerators(self, flow_id: str, candidate: Document | None = None) -> Document:
        """Which accelerators can train a flow, or a candidate for its spec."""
        spec = self.flows.read(flow_id).document["spec"]
        return accelerators(self.organization_id, flow_id, spec if candidate is None else candidate_spec(candidate))

    def now(self) -> int:
        """The time of the server in milliseconds since the epoch."""
        return self._ledger.clock()

    def advance(self, seconds: float) -> None:
        """Move the clock of the server forward."""
        self._ledger.offset_ms += int(seconds * 1000)

    # -- everything -----------------------------------------------------------------------------------

    def load(self) -> bool:
        """Read the state file; False if there is none yet."""
        if self._state_file is None or (state := self._state_file.load()) is None:
            return False
        if state.organization_id != self.organization_id:
            raise StateError(f"the state file {self._state_file.path} belongs to organization {state.organization_id}")
        projects = sample_projects(self.now()) if state.projects is None else state.projects
        self._replace_all(state.flows, state.runs, projects)
        return True

    def reset(self, count: int, seed: int | str, behaviour: Behaviour | None = None, *, runs: int = 0) -> None:
        """Replace everything by samples: flows, runs that make some of them busy, and `runs` ended runs."""
        self._ledger.offset_ms = 0
        now = self._ledger.clock()
        flows = sample_flows(count, seed, self.organization_id, now)
        with self._ledger.lock:
            self._ledger.behaviour = behaviour or self._ledger.behaviour
            self.flows.start_over()
            self.runs.plans.clear()
            self.runs.bill.clear()
            young = sample_runs(flows, now, self.runs.run_ms)
            self._replace_all(flows, [*young, *past_runs(flows, runs, seed, now)], sample_projects(now))

    def behave(self, behaviour: Behaviour) -> None:
        """Change the behaviour and keep the documents; writes that reads did not show yet become visible."""
        with self._ledger.lock:
            self._ledger.behaviour = behaviour
            self.flows.reorder()
            self.runs.reorder()
            self.projects.reorder()

    def _members(self, project_id: str) -> tuple[list[str], list[str]]:
        flows = [flow["flowId"] for flow in self.flows if flow["spec"].get("trainingProject") == project_id]
        runs = [run["runId"] for run in self.runs if run["spec"].get("trainingProject") == project_id]
        return flows, runs

    def _snapshot(self) -> tuple[int, State]:
        with self._ledger.lock:
            return self._ledger.revision, State(
                self.organization_id, list(self.flows), list(self.runs), list(self.projects)
            )

    def _replace_all(self, flows: list[Document], runs: list[Document], projects: list[Document]) -> None:
        with self._ledger.change():
            self.flows.replace_all(flows)
            self.runs.replace_all(runs)
            self.projects.replace_all(projects)
