"""The example DAGs for cleanup, executed by Airflow against the emulator."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from demo import local_airflow
from tests.dags.approval import Person
from tests.unit.cleanup.support import archived
from tests.versions import AIRFLOW, a_person_answers
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.flows import DeleteFlowOperator

pytestmark = pytest.mark.vi_emulator(flows=40)

Flows: TypeAlias = dict[str, dict[str, Any]]
#: Runs the DAG that asks for approval, with a response and an action before it; returns the run and what was shown.
ApprovalRun: TypeAlias = Callable[..., tuple[Any, list[tuple[str, str]]]]


def state(run: Any) -> str:
    return str(getattr(run.state, "value", run.state))


def task_states(run: Any) -> dict[tuple[str, int], str]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(TaskInstance).filter_by(dag_id=run.dag_id, run_id=run.run_id)
    with create_session() as session:
        return {(ti.task_id, ti.map_index): str(ti.state) for ti in session.scalars(query)}


def names_in_ui(run: Any, task_id: str) -> set[str | None]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(TaskInstance).filter_by(dag_id=run.dag_id, run_id=run.run_id, task_id=task_id)
    with create_session() as session:
        return {ti.rendered_map_index for ti in session.scalars(query)}


@pytest.fixture
def before(vi_emulator: Emulator) -> Flows:
    return {flow_id: vi_emulator.store.get_flow(flow_id) for flow_id in vi_emulator.store.flow_ids()}


@pytest.fixture
def stale(before: Flows) -> set[str]:
    limit = (datetime.now(UTC) - timedelta(days=90)).timestamp() * 1000
    return {
        flow_id
        for flow_id, flow in before.items()
        if flow["metadata"]["lastUpdated"] <= limit and flow["metadata"]["attributes"].get("keep") != "true"
    }


def remaining(vi_emulator: Emulator) -> set[str]:
    return set(vi_emulator.store.flow_ids())


class TestPruneStaleFlows:
    @pytest.fixture
    def dag(self, examples: dict[str, Any]) -> Any:
        return examples["prune_stale_flows"]

    def test_deletes_nothing_by_default(self, dag: Any, before: Flows, stale: set[str], vi_emulator: Emulator) -> None:
        run = local_airflow.run(dag)

        assert state(run) == "success"
        assert remaining(vi_emulator) == set(before)
        (report,) = local_airflow.returned(run, "prune")
        assert {outcome["flow_id"] for outcome in report["outcomes"]} <= stale
        assert report["selected"] > 0

    def test_deletes_and_archives_without_dry_run(
        self, dag: Any, before: Flows, stale: set[str], vi_emulator: Emulator, tmp_path: Path
    ) -> None:
        run = local_airflow.run(dag, {"dry_run": False, "archive_to": tmp_path.as_uri()})

        assert state(run) == "success"
        (report,) = local_airflow.returned(run, "prune")
        gone = set(before) - remaining(vi_emulator)
        assert gone == {outcome["flow_id"] for outcome in report["outcomes"]}
        assert {flow_id: flow.to_wire() for flow_id, flow in archived(tmp_path).items()} == {i: before[i] for i in gone}
        # Each training project keeps its youngest flow.
        projects = {flow["spec"]["trainingProject"] for flow in before.values()}
        assert {before[flow_id]["spec"]["trainingProject"] for flow_id in remaining(vi_emulator)} == projects

    @pytest.mark.parametrize("conf", [{}, {"archive_to": "ARCHIVE", "max_delete": 1}], ids=["no archive", "too much"])
    def test_wrong_parameters_delete_nothing(
        self, conf: dict[str, Any], dag: Any, before: Flows, vi_emulator: Emulator, tmp_path: Path
    ) -> None:
        conf = {key: tmp_path.as_uri() if value == "ARCHIVE" else value for key, value in conf.items()}
        run = local_airflow.run(dag, {"dry_run": False, **conf})

        assert state(run) == "failed"
        assert remaining(vi_emulator) == set(before)


class TestCleanupStaleFlows:
    @pytest.fixture
    def dag(self, examples: dict[str, Any]) -> Any:
        return examples["cleanup_stale_flows"]

    def test_deleted_flows_are_archived_if_there_is_a_folder(
        self, dag: Any, before: Flows, stale: set[str], vi_emulator: Emulator, tmp_path: Path
    ) -> None:
        run = local_airflow.run(dag, {"dry_run": False, "archive_to": tmp_path.as_uri()})

        assert state(run) == "success"
        assert set(before) - remaining(vi_emulator) == stale
        found = {flow_id: flow.to_wire() for flow_id, flow in archived(tmp_path).items()}
        assert found == {flow_id: before[flow_id] for flow_id in stale}

    def test_flow_that_changed_since_its_selection_is_skipped(
        self, dag: Any, before: Flows, stale: set[str], vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        changed = min(stale)
        execute = DeleteFlowOperator.execute
        pending = [changed]

        def change_before_the_delete(self: DeleteFlowOperator, context: Any) -> Any:
            while pending:
                vi_emulator.store.patch_flow(pending.pop(), {"spec": {"name": "In use again"}})
            return execute(self, context)

        monkeypatch.setattr(DeleteFlowOperator, "execute", change_before_the_delete)
        run = local_airflow.run(dag, {"dry_run": False})

        assert state(run) == "success"
        assert set(before) - remaining(vi_emulator) == stale - {changed}
        states = [value for (task_id, _), value in task_states(run).items() if task_id == "delete_flow"]
        assert sorted(states) == ["skipped"] + ["success"] * (len(stale) - 1)

    def test_mapped_tasks_have_the_names_of_their_flows(
        self, dag: Any, before: Flows, stale: set[str], vi_emulator: Emulator
    ) -> None:
        run = local_airflow.run(dag)

        assert names_in_ui(run, "delete_flow") == {before[flow_id]["spec"]["name"] for flow_id in stale}


class TestApproveCleanup:
    @pytest.fixture
    def dag(self, examples: dict[str, Any]) -> Any:
        if AIRFLOW < (3, 1):
            pytest.skip("needs the human approval of Airflow 3.1")
        return examples["approve_cleanup"]

    @pytest.fixture
    def run(self, dag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ApprovalRun:
        """Run the DAG with a person who responds to its request for approval."""

        def run(response: str, meanwhile: Callable[[], object] = lambda: None) -> tuple[Any, list[tuple[str, str]]]:
            person = Person(dag.dag_id, response, meanwhile)
            person.attend(monkeypatch)
            return local_airflow.run(dag, {"archive_to": tmp_path.as_uri()}), person.shown

        return run

    @a_person_answers
    def test_approved_flows_are_deleted(
        self, run: ApprovalRun, before: Flows, stale: set[str], vi_emulator: Emulator, tmp_path: Path
    ) -> None:
        made, ((subject, body),) = run("Approve")

        assert state(made) == "success"
        assert set(before) - remaining(vi_emulator) == stale
        assert set(archived(tmp_path)) == stale
        assert subject == f"Delete {len(stale)} flows of Vi?"
        for flow_id in stale:
            assert f"| {before[flow_id]['spec']['name']} | " in body
            assert f" | {flow_id} |" in body

    @a_person_answers
    def test_rejected_flows_are_kept(self, run: ApprovalRun, before: Flows, vi_emulator: Emulator) -> None:
        made, shown = run("Reject")

        assert len(shown) == 1
        assert task_states(made)["apply", -1] == "skipped"
        assert remaining(vi_emulator) == set(before)

    @a_person_answers
    def test_flow_that_changed_before_the_approval_is_spared(
        self, run: ApprovalRun, before: Flows, stale: set[str], vi_emulator: Emulator
    ) -> None:
        touched = min(stale)
        change = {"metadata": {"attributes": {"touched": "yes"}}}
        made, _ = run("Approve", meanwhile=lambda: vi_emulator.store.patch_flow(touched, change))

        assert state(made) == "success"
        assert set(before) - remaining(vi_emulator) == stale - {touched}
        (report,) = local_airflow.returned(made, "apply")
        assert (report["deleted"], report["changed"]) == (len(stale) - 1, 1)

    def test_approval_is_skipped_if_there_is_nothing_to_delete(self, run: ApprovalRun, vi_emulator: Emulator) -> None:
        vi_emulator.reset(flows=0)
        made, shown = run("Approve")

        assert shown == []
        assert task_states(made)["apply", -1] == "skipped"

    @pytest.mark.vi_emulator(flows=200)
    def test_approval_is_not_requested_if_a_guard_rejects_the_plan(
        self, run: ApprovalRun, before: Flows, vi_emulator: Emulator
    ) -> None:
        made, shown = run("Approve")

        assert (state(made), shown) == ("failed", [])
        assert remaining(vi_emulator) == set(before)
