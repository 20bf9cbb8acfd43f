"""Runs: the provider's client and the vendor's SDK read the same documents, and a start is never paid for twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from vi_airflow_provider.api.errors import ViConflictError, ViNotFoundError
from vi_airflow_provider.api.models import RunState
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.store.behaviour import LogShape, OutputShape, PutOnExisting
from vi_airflow_provider.emulator.store.lifecycle import ConditionOrder, Scenario, Vocabulary
from vi_airflow_provider.hooks.vi import ViHook

SPEC = {
    "name": "Weld seam defects",
    "schema": "v1",
    "tolerations": {},
    "settings": {"seed": 7},
    "blocks": [{"block": "vlm-model", "settings": {"architecture": {"name": "qwen3vl", "size": "4B"}}, "style": {}}],
    "trainingProject": "weld-inspection",
}


@pytest.fixture
def hook(vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[ViHook]:
    hook = ViHook()
    monkeypatch.setattr(hook.get_conn(), "_sleep", lambda seconds: None)
    yield hook
    hook.close()


def new_id() -> str:
    return str(uuid.uuid4())


def plain(run: Any) -> dict[str, Any]:
    """The attributes of a run that both clients have."""
    return {
        "organization_id": run.organization_id,
        "run_id": run.run_id,
        "self_link": run.self_link,
        "etag": run.etag,
        "flow": run.spec.flow.name,
        "settings": run.spec.flow.settings,
        "killed_at": run.spec.killed_at,
        "training_project": run.spec.training_project,
        "log": run.status.log,
        "conditions": [
            (text_of(item.condition), text_of(item.status), item.last_transition_time) for item in run.status.conditions
        ],
        "time_created": run.metadata.time_created,
        "attributes": run.metadata.attributes,
    }


def text_of(word: Any) -> str:
    """A word, which the SDK reads as a member of an enumeration where it knows it."""
    return str(getattr(word, "value", word))


class TestReading:
    @pytest.mark.vi_emulator(flows=20, runs=25)
    def test_both_list_the_same_runs(self, client: Any, hook: ViHook) -> None:
        theirs = [plain(run) for run in client.runs.list().all_items()]
        assert [plain(run) for run in hook.list_runs(page_size=10)] == theirs
        assert len(theirs) == 27
        simple = list(client.runs.list_simple().all_items())
        assert [run.to_wire() for run in hook.list_simple_runs(page_size=10)] == simple

    def test_both_read_what_the_other_started(self, client: Any, hook: ViHook) -> None:
        ours = hook.start_run(SPEC, run_id=new_id(), training_project="weld-inspection", attributes={"a": "b"})
        theirs = client.runs.create(SPEC, training_project="weld-inspection", metadata={"a": "b"})
        assert plain(client.runs.get(ours.run_id)) == plain(ours)
        assert plain(hook.get_run(theirs.run_id)) == plain(theirs)

    def test_both_list_the_same_outputs(self, client: Any, hook: ViHook, vi_emulator: Emulator) -> None:
        vi_emulator.plans.add(checkpoints=23)
        run_id = hook.start_run(SPEC, run_id=new_id()).run_id
        vi_emulator.advance(3600)
        ours = [(o.run_output_id, o.spec.epoch, o.spec.evaluation_metrics) for o in hook.list_run_outputs(run_id)]
        theirs = [(m.model_id, m.spec.epoch, m.spec.evaluation_metrics) for m in client.models.list(run_id).all_items()]
        assert ours == theirs
        assert len(ours) == 23

    def test_both_read_the_same_surroundings(self, client: Any, hook: ViHook, vi_emulator: Emulator) -> None:
        flow_id = vi_emulator.store.flow_ids()[0]
        assert hook.get_quota() == client.organizations.get_quota()
        accelerators = [item.accelerator["trainingAcceleratorId"] for item in hook.list_accelerators(flow_id).items]
        theirs = [item.accelerator.training_accelerator_id for item in client.flows.get_accelerators(flow_id).items]
        assert accelerators == theirs
        projects = [project.training_project_id for project in hook.list_training_projects()]
        assert projects == [project.training_project_id for project in client.training_projects.list().all_items()]


class TestTolerance:
    @pytest.mark.parametrize("shape", get_args(LogShape))
    def test_logs_are_read_in_every_shape(self, hook: ViHook, vi_emulator: Emulator, shape: LogShape) -> None:
        run_id = hook.start_run(SPEC, run_id=new_id()).run_id
        vi_emulator.advance(3600)
        expected = [line.text for line in vi_emulator.store.run_logs(run_id)]
        vi_emulator.configure(log_shape=shape)
        assert [line.line for line in hook.get_run_logs(run_id).lines] == expected
        assert [line.line for line in hook.get_run_logs(run_id, limit=2).lines] == expected[-2:]

    @pytest.mark.parametrize("shape", get_args(OutputShape))
    def test_output_is_read_in_both_shapes(self, hook: ViHook, vi_emulator: Emulator, shape: OutputShape) -> None:
        vi_emulator.configure(output_shape=shape)
        run_id = hook.start_run(SPEC, run_id=new_id()).run_id
        vi_emulator.advance(3600)
        last = list(hook.list_run_outputs(run_id))[-1]
        assert hook.get_run_output(run_id, last.run_output_id) == last
        contents = hook.get_run_output(run_id, last.run_output_id, contents=True).status.contents
        assert contents is not None
        assert contents.download_url is not None
        assert "signature=" in contents.download_url.url.get_secret_value()
        assert "signature=" not in repr(contents)

    def test_metrics_that_are_not_finite_are_read(self, hook: ViHook, vi_emulator: Emulator) -> None:
        vi_emulator.plans.add(scenario="nan_metrics", checkpoints=11)
        run_id = hook.start_run(SPEC, run_id=new_id()).run_id
        vi_emulator.advance(3600)
        outputs = list(hook.list_run_outputs(run_id, page_size=4))
        assert len(outputs) == 11
        assert outputs[0].spec.evaluation_metrics is not None
        assert outputs[0].spec.evaluation_metrics["gradientNorm"] == float("inf")

    @pytest.mark.parametrize("vocabulary", get_args(Vocabulary))
    @pytest.mark.parametrize("order", get_args(ConditionOrder))
    @pytest.mark.parametrize(
        ("scenario", "middle", "end"),
        [
            ("succeed", "running", "succeeded"),
            ("stuck_queued", "queued", "queued"),
            ("fail_at_start", "failed", "failed"),
            ("fail_at_end", "running", "failed"),
            ("killed_by_person", "running", "killed"),
            ("nan_metrics", "running", "succeeded"),
            ("no_model", "running", "succeeded"),
            ("unknown_status", "running", "succeeded"),
        ],
    )
    def test_state_is_independent_of_vocabulary_and_order(
        self, hook: ViHook, vi_emulator: Emulator, scenario: Scenario, vocabulary: Vocabulary, order: ConditionOrder,
        middle: str, end: str,
    ) -> None:  # fmt: skip
        vi_emulator.plans.add(scenario=scenario, vocabulary=vocabulary, order=order)
        run_id = hook.start_run(SPEC, run_id=new_id()).run_id
        states = [hook.get_run(run_id).state]
        for seconds in (1000, 2600):
            vi_emulator.advance(seconds)
            states.append(hook.get_run(run_id).state)
        assert states == [RunState.QUEUED, RunState(middle), RunState(end)]


class TestStart:
    @pytest.mark.parametrize("mode", get_args(PutOnExisting))
    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 503},
            {"status": 502, "when": "after"},
            {"drop": True, "when": "after"},
            {"drop": True},
            {"truncate": True},
            {"status": 429, "retry_after": "0", "times": 2},
            {"status": 500, "when": "after", "times": 2},
        ],
    )
    def test_start_is_paid_once(
        self, hook: ViHook, vi_emulator: Emulator, mode: PutOnExisting, fault: dict[str, Any]
    ) -> None:
        vi_emulator.configure(put_on_existing=mode)
        vi_emulator.faults.add(**{"method": "PUT", "path": "/runs/", **fault})
        run = hook.start_run(SPEC, run_id=new_id())
        assert {run_id: account["starts"] for run_id, account in vi_emulator.bill().items()} == {run.run_id: 1}

    def test_active_run_is_not_deleted(self, hook: ViHook) -> None:
        run = hook.start_run(SPEC, run_id=new_id())
        with pytest.raises(ViConflictError):
            hook.delete_run(run.run_id)


class TestKill:
    def test_kill_ends_a_run(self, hook: ViHook, vi_emulator: Emulator) -> None:
        run = hook.start_run(SPEC, run_id=new_id())
        vi_emulator.advance(1000)
        killed = hook.kill_run(run.run_id, attributes={"reason": "test"})
        assert (killed.state, killed.metadata.attributes) == (RunState.KILLED, {"reason": "test"})
        assert hook.kill_run(run.run_id).etag == killed.etag
        assert hook.delete_run(run.run_id).deleted

    @pytest.mark.parametrize("scenario", ["slow_kill", "kill_races_finish"])
    def test_kill_under_way_or_too_late_is_no_error(
        self, hook: ViHook, vi_emulator: Emulator, scenario: Scenario
    ) -> None:
        vi_emulator.plans.add(scenario=scenario)
        run = hook.start_run(SPEC, run_id=new_id())
        vi_emulator.advance(1000)
        hook.kill_run(run.run_id)
        ended = RunState.SUCCEEDED if scenario == "kill_races_finish" else RunState.KILLED
        assert hook.kill_run(run.run_id).state == ended

    @pytest.mark.parametrize("fault", [{"drop": True, "when": "after"}, {"status": 503, "when": "after"}])
    def test_kill_whose_response_is_lost_is_done(
        self, hook: ViHook, vi_emulator: Emulator, fault: dict[str, Any]
    ) -> None:
        run = hook.start_run(SPEC, run_id=new_id())
        vi_emulator.faults.add(**{"method": "PATCH", **fault})
        assert hook.kill_run(run.run_id).state == RunState.KILLED

    def test_vanished_run_is_not_found(self, hook: ViHook, vi_emulator: Emulator) -> None:
        vi_emulator.plans.add(scenario="vanish")
        run = hook.start_run(SPEC, run_id=new_id())
        vi_emulator.advance(3600)
        with pytest.raises(ViNotFoundError):
            hook.get_run(run.run_id)
