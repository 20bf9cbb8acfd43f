"""The example DAGs for cleanup, run in a real Airflow against the emulator."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from demo import local_airflow
from tests.unit.cleanup.support import archived
from tests.versions import a_person_answers
from vi_airflow_provider.operators.flows import DeleteFlowOperator

pytestmark = pytest.mark.vi_emulator(flows=40)


def state(run):
    return str(getattr(run.state, "value", run.state))


def task_states(run):
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(TaskInstance).filter_by(dag_id=run.dag_id, run_id=run.run_id)
    with create_session() as session:
        return {(ti.task_id, ti.map_index): str(ti.state) for ti in session.scalars(query)}


def names_in_ui(run, task_id):
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(TaskInstance).filter_by(dag_id=run.dag_id, run_id=run.run_id, task_id=task_id)
    with create_session() as session:
        return {ti.rendered_map_index for ti in session.scalars(query)}


@pytest.fixture
def before(vi_emulator):
    return {flow_id: vi_emulator.store.get_flow(flow_id) for flow_id in vi_emulator.store.flow_ids()}


@pytest.fixture
def stale(before):
    limit = (datetime.now(UTC) - timedelta(days=90)).timestamp() * 1000
    return {
        flow_id
        for flow_id, flow in before.items()
        if flow["metadata"]["lastUpdated"] <= limit and flow["metadata"]["attributes"].get("keep") != "true"
    }


def left(vi_emulator):
    return set(vi_emulator.store.flow_ids())


class TestPruneStaleFlows:
    @pytest.fixture
    def dag(self, examples):
        return examples["prune_stale_flows"]

    def test_deletes_nothing_as_it_comes(self, dag, before, stale, vi_emulator):
        run = local_airflow.run(dag)

        assert state(run) == "success"
        assert left(vi_emulator) == set(before)
        (report,) = local_airflow.returned(run, "prune")
        assert {outcome["flow_id"] for outcome in report["outcomes"]} <= stale
        assert report["selected"] > 0

    def test_deletes_and_archives_when_told_to(self, dag, before, stale, vi_emulator, tmp_path):
        run = local_airflow.run(dag, {"dry_run": False, "archive_to": tmp_path.as_uri()})

        assert state(run) == "success"
        (report,) = local_airflow.returned(run, "prune")
        gone = set(before) - left(vi_emulator)
        assert gone == {outcome["flow_id"] for outcome in report["outcomes"]}
        assert {flow_id: flow.to_wire() for flow_id, flow in archived(tmp_path).items()} == {i: before[i] for i in gone}
        # Each training project keeps its youngest flow.
        projects = {flow["spec"]["trainingProject"] for flow in before.values()}
        assert {before[flow_id]["spec"]["trainingProject"] for flow_id in left(vi_emulator)} == projects

    @pytest.mark.parametrize("conf", [{}, {"archive_to": "ARCHIVE", "max_delete": 1}], ids=["no archive", "too much"])
    def test_a_mistake_in_the_parameters_deletes_nothing(self, conf, dag, before, vi_emulator, tmp_path):
        conf = {key: tmp_path.as_uri() if value == "ARCHIVE" else value for key, value in conf.items()}
        run = local_airflow.run(dag, {"dry_run": False, **conf})

        assert state(run) == "failed"
        assert left(vi_emulator) == set(before)


class TestCleanupStaleFlows:
    @pytest.fixture
    def dag(self, examples):
        return examples["cleanup_stale_flows"]

    def test_each_deleted_flow_is_in_an_archive_when_there_is_a_folder(self, dag, before, stale, vi_emulator, tmp_path):
        run = local_airflow.run(dag, {"dry_run": False, "archive_to": tmp_path.as_uri()})

        assert state(run) == "success"
        assert set(before) - left(vi_emulator) == stale
        found = {flow_id: flow.to_wire() for flow_id, flow in archived(tmp_path).items()}
        assert found == {flow_id: before[flow_id] for flow_id in stale}

    def test_a_flow_that_changed_since_it_was_selected_is_skipped(self, dag, before, stale, vi_emulator, monkeypatch):
        changed = min(stale)
        execute = DeleteFlowOperator.execute
        pending = [changed]

        def colleague_is_first(self, context):
            while pending:
                vi_emulator.store.patch_flow(pending.pop(), {"spec": {"name": "In use again"}})
            return execute(self, context)

        monkeypatch.setattr(DeleteFlowOperator, "execute", colleague_is_first)
        run = local_airflow.run(dag, {"dry_run": False})

        assert state(run) == "success"
        assert set(before) - left(vi_emulator) == stale - {changed}
        states = [value for (task_id, _), value in task_states(run).items() if task_id == "delete_flow"]
        assert sorted(states) == ["skipped"] + ["success"] * (len(stale) - 1)

    def test_the_tasks_have_the_names_of_their_flows_in_the_ui(self, dag, before, stale, vi_emulator):
        run = local_airflow.run(dag)

        assert names_in_ui(run, "delete_flow") == {before[flow_id]["spec"]["name"] for flow_id in stale}


class TestApproveCleanup:
    @pytest.fixture
    def dag(self, examples):
        if "approve_cleanup" not in examples:
            pytest.skip("needs the human approval of Airflow 3.1")
        return examples["approve_cleanup"]

    @pytest.fixture
    def run(self, dag, tmp_path):
        """Run the DAG in a thread, and answer for the person when it asks."""

        def run(answer, meanwhile=lambda: None):
            ended, runs = threading.Event(), []

            def person():
                detail = awaited(dag.dag_id, ended)
                if detail is not None:
                    shown.append((detail.subject, detail.body))
                    meanwhile()
                    respond(detail.ti_id, answer)

            shown: list[tuple[str, str]] = []
            thread = threading.Thread(target=person)
            thread.start()
            try:
                runs.append(local_airflow.run(dag, {"archive_to": tmp_path.as_uri()}))
            finally:
                ended.set()
                thread.join()
            return runs[0], shown

        return run

    @a_person_answers
    def test_what_was_approved_is_deleted(self, run, before, stale, vi_emulator, tmp_path):
        made, ((subject, body),) = run("Approve")

        assert state(made) == "success"
        assert set(before) - left(vi_emulator) == stale
        assert set(archived(tmp_path)) == stale
        assert subject == f"Delete {len(stale)} flows of Vi?"
        for flow_id in stale:
            assert f"| {before[flow_id]['spec']['name']} | " in body
            assert f" | {flow_id} |" in body

    @a_person_answers
    def test_what_was_rejected_is_kept(self, run, before, vi_emulator):
        made, shown = run("Reject")

        assert len(shown) == 1
        assert task_states(made)["apply", -1] == "skipped"
        assert left(vi_emulator) == set(before)

    @a_person_answers
    def test_what_changed_while_the_person_thought_about_it_is_spared(self, run, before, stale, vi_emulator):
        touched = min(stale)
        change = {"metadata": {"attributes": {"touched": "yes"}}}
        made, _ = run("Approve", meanwhile=lambda: vi_emulator.store.patch_flow(touched, change))

        assert state(made) == "success"
        assert set(before) - left(vi_emulator) == stale - {touched}
        (report,) = local_airflow.returned(made, "apply")
        assert (report["deleted"], report["changed"]) == (len(stale) - 1, 1)

    def test_nobody_is_asked_when_there_is_nothing_to_delete(self, run, vi_emulator):
        vi_emulator.reset(flows=0)
        made, shown = run("Approve")

        assert shown == []
        assert task_states(made)["apply", -1] == "skipped"

    @pytest.mark.vi_emulator(flows=200)
    def test_nobody_is_asked_when_a_guard_would_refuse(self, run, before, vi_emulator):
        made, shown = run("Approve")

        assert (state(made), shown) == ("failed", [])
        assert left(vi_emulator) == set(before)


def awaited(dag_id, ended):
    """The question of the run that waits for an answer; None if the run ended without one."""
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    waiting = select(TaskInstance.id).filter_by(dag_id=dag_id, state="awaiting_input")
    query = select(HITLDetail).where(HITLDetail.ti_id.in_(waiting), HITLDetail.responded_at.is_(None))
    while not ended.wait(0.1):
        with create_session() as session:
            if detail := session.scalars(query).unique().first():
                session.expunge_all()
                return detail
    return None


def respond(ti_id, answer):
    """Answer as the button in the UI does (``PATCH …/hitlDetails``)."""
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        detail = session.get(HITLDetail, ti_id)
        detail.responded_by = {"id": "1", "name": "owner"}
        detail.responded_at = datetime.now(UTC)
        detail.chosen_options = [answer]
        detail.params_input = {}
        task_instance = session.get(TaskInstance, ti_id)
        handle_event_submit(
            TriggerEvent(detail.as_resume_event_payload()), task_instance=task_instance, session=session
        )
