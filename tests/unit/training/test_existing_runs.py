"""The operators for runs that exist already, against the emulator."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from tests.tries import Try, begun, execute
from vi_airflow_provider.api.errors import ViNotFoundError
from vi_airflow_provider.api.models import Run, RunState
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.links.runs import ViRunLink
from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.operators.runs import GetRunOperator, KillRunOperator, ListRunsOperator
from vi_airflow_provider.training import starting
from vi_airflow_provider.training.starting import RunStillActiveError

#: The patience and the pauses of a kill.
DEFAULTS: Final[dict[str, Any]] = dict(starting.kill_and_wait.__kwdefaults__ or {})

pytestmark = pytest.mark.vi_emulator(flows=3, run_seconds=0.02, runs=0)


@pytest.fixture
def active(vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a run that goes on."""
    vi_emulator.plans.add(run_seconds=3600)
    return begun(flow_id, monkeypatch)


def result_of(cls: type[ViBaseOperator], ti: Try | None = None, **arguments: Any) -> Any:
    return cls(task_id="task", **arguments).execute({"ti": ti or Try()})  # type: ignore[typeddict-item]


def test_run_is_killed_once_and_seen_to_end(vi_emulator: Emulator, active: str) -> None:
    ti = Try()
    assert result_of(KillRunOperator, ti, run_id=active) == {"run_id": active, "outcome": "killed"}
    assert ti.pushed[ViRunLink().xcom_key]
    run = vi_emulator.store.get_run(active)
    assert run["spec"]["killedAt"] is not None
    assert "vi_airflow.kill_reason" not in run["metadata"]["attributes"]
    assert result_of(KillRunOperator, Try(task_id="another"), run_id=active)["outcome"] == "already_ended"
    assert sum(request.method == "PATCH" for request in vi_emulator.requests) == 1


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("has_ended", [True, False])
def test_retry_recognizes_the_kill_of_an_earlier_try(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch, wait: bool, has_ended: bool
) -> None:
    vi_emulator.plans.add(scenario="slow_kill", run_seconds=3600)
    run_id = execute(flow_id, wait_for_completion=False)["run_id"]
    kill = partial(result_of, KillRunOperator, run_id=run_id, if_ended="fail")
    patience = {**DEFAULTS, "patience": 0}
    monkeypatch.setattr(starting.kill_and_wait, "__kwdefaults__", patience)
    with pytest.raises(RunStillActiveError):
        kill(wait=True)
    if has_ended:
        vi_emulator.advance(3600)
    advance = {**DEFAULTS, "sleep": lambda _: vi_emulator.advance(3600)}
    monkeypatch.setattr(starting.kill_and_wait, "__kwdefaults__", advance)
    assert kill(wait=wait)["outcome"] == "killed"
    with pytest.raises(AirflowFailException, match="already ended"):
        kill(Try(task_id="another"), wait=wait)


def test_run_that_is_deleted_while_it_ends_is_killed(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(scenario="slow_kill", run_seconds=3600)
    run_id = execute(flow_id, wait_for_completion=False)["run_id"]

    def end_and_delete(_seconds: float) -> None:
        vi_emulator.advance(3600)
        vi_emulator.store.delete_run(run_id)

    monkeypatch.setattr(starting.kill_and_wait, "__kwdefaults__", {**DEFAULTS, "sleep": end_and_delete})
    assert result_of(KillRunOperator, run_id=run_id, if_ended="fail")["outcome"] == "killed"


def test_run_that_succeeds_while_it_is_killed_is_not_killed(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(scenario="kill_races_finish", run_seconds=3600, times=None)
    run_id = execute(flow_id, wait_for_completion=False)["run_id"]
    for _ in range(2):  # a retry finds the run with the stamp of the first try
        with pytest.raises(AirflowFailException, match="already ended"):
            result_of(KillRunOperator, run_id=run_id, if_ended="fail")
    assert result_of(KillRunOperator, run_id=run_id)["outcome"] == "already_ended"
    assert ViHook().get_run(run_id).state is RunState.SUCCEEDED


def test_kill_can_return_before_the_run_ends(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(scenario="slow_kill", run_seconds=3600)
    run_id = execute(flow_id, wait_for_completion=False)["run_id"]
    assert result_of(KillRunOperator, run_id=run_id, wait=False)["outcome"] == "killed"


def test_task_waits_for_a_run_that_another_has_killed(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(scenario="slow_kill", run_seconds=3600)
    run_id = execute(flow_id, wait_for_completion=False)["run_id"]
    kill = partial(result_of, KillRunOperator, Try(task_id="another"), run_id=run_id)
    assert result_of(KillRunOperator, run_id=run_id, wait=False)["outcome"] == "killed"
    assert kill(wait=False)["outcome"] == "already_ended"
    assert not ViHook().get_run(run_id).has_stopped
    read = ViHook.get_run

    def read_and_advance(hook: ViHook, run_id: str) -> Run:
        run = read(hook, run_id)
        vi_emulator.advance(3600)
        return run

    monkeypatch.setattr(ViHook, "get_run", read_and_advance)
    assert kill()["outcome"] == "already_ended"
    assert ViHook().get_run(run_id).has_stopped
    assert sum(request.method == "PATCH" for request in vi_emulator.requests) == 1


@pytest.mark.parametrize(("if_ended", "error"), [("skip", AirflowSkipException), ("fail", AirflowFailException)])
def test_nothing_to_kill_ends_the_task_as_its_author_decides(
    flow_id: str, if_ended: str, error: type[Exception]
) -> None:
    ended = execute(flow_id)["run_id"]
    for run_id, why in ((ended, "already ended"), ("no-such-run", "already absent")):
        with pytest.raises(error, match=why):
            result_of(KillRunOperator, run_id=run_id, if_ended=if_ended)
    assert result_of(KillRunOperator, run_id="no-such-run")["outcome"] == "already_absent"


def test_kill_of_a_run_ends_the_task_that_waits_for_it(flow_id: str, active: str) -> None:
    result_of(KillRunOperator, run_id=active)
    with pytest.raises(AirflowFailException, match="by a person"):
        execute(flow_id, Try(try_number=2), max_runs=3)


@pytest.mark.parametrize("wait", [True, False])
def test_kill_by_another_just_before_is_not_its_own(vi_emulator: Emulator, active: str, wait: bool) -> None:
    vi_emulator.colleague.kill_run(active, moment="after", method="GET", path=f"/runs/{active}$", times=1)
    with pytest.raises(AirflowFailException, match="already ended"):
        result_of(KillRunOperator, run_id=active, wait=wait, if_ended="fail")


def test_run_is_read_as_the_task_that_started_it_returned_it(flow_id: str) -> None:
    started = execute(flow_id, best_metric=("f1", "max"))
    assert result_of(GetRunOperator, run_id=started["run_id"], best_metric=("f1", "max")) == started


def test_missing_run_fails_or_skips(vi_emulator: Emulator) -> None:
    with pytest.raises(ViNotFoundError):
        result_of(GetRunOperator, run_id="no-such-run")
    with pytest.raises(AirflowSkipException, match="no-such-run"):
        result_of(GetRunOperator, run_id="no-such-run", if_missing="skip")


def test_runs_are_listed_by_state_flow_age_and_number(vi_emulator: Emulator, flow_id: str) -> None:
    ids = [execute(flow_id, Try(task_id=name))["run_id"] for name in ("first", "second")]
    vi_emulator.plans.add(run_seconds=3600)
    other = execute(vi_emulator.store.flow_ids()[1], wait_for_completion=False)["run_id"]

    def listed(**arguments: Any) -> Any:
        return result_of(ListRunsOperator, result="ids", **arguments)

    assert set(listed()) == {*ids, other}
    assert set(listed(flow_id=flow_id)) == set(listed(states="succeeded")) == set(ids)
    assert listed(states=["queued", "running"]) == [other]
    assert listed(older_than="P1D") == []
    assert len(listed(limit=1)) == 1
    (summary,) = result_of(ListRunsOperator, states=["queued", "running"])
    assert (summary["run_id"], "model" in summary) == (other, False)


def test_run_of_unknown_age_is_not_taken_for_an_old_one(flow_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = ViHook().get_run(execute(flow_id)["run_id"]).to_wire()
    unknown = known | {"runId": "unknown", "metadata": known["metadata"] | {"lastUpdated": 0}}
    runs = [Run.model_validate(document) for document in (known, unknown)]
    monkeypatch.setattr(ViHook, "list_runs", lambda *_, **__: iter(runs))
    assert result_of(ListRunsOperator, result="ids") == [known["runId"], "unknown"]
    assert result_of(ListRunsOperator, result="ids", older_than="PT0S") == [known["runId"]]


@pytest.mark.parametrize("arguments", [{"max_xcom_bytes": 10}, {"states": "won"}, {"result": "runs"}, {"limit": -1}])
def test_unusable_selection_is_refused(vi_emulator: Emulator, flow_id: str, arguments: dict[str, Any]) -> None:
    execute(flow_id)
    with pytest.raises(AirflowFailException, match="ViValidationError"):
        result_of(ListRunsOperator, **arguments)
