"""A flow that was deleted or changed while its run trains: only the start of another run needs it."""

from __future__ import annotations

from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.tries import Try, begun, execute, starts
from vi_airflow_provider.api.errors import ViNotFoundError
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.training.identity import OWNER

pytestmark = pytest.mark.vi_emulator(flows=1, run_seconds=3600, runs=0)

#: The flow of the first try has a block of this type, which a later one does not have.
OVERRIDES: Final = {"blocks": {"trainer": {"settings": {"seed": 8}}}}
BLOCK: Final = {"block": "trainer", "settings": {}, "style": {}}


def lose_flow(emulator: Emulator, flow_id: str, how: str) -> None:
    if how == "deleted":
        emulator.faults.add(method="GET", path=f"/flows/{flow_id}$", status=404, times=None)
    elif how == "unreadable":
        emulator.faults.add(method="GET", path=f"/flows/{flow_id}$", status=503, times=None)
    else:
        emulator.store.patch_flow(flow_id, {"spec": {"blocks": []}})


@pytest.fixture
def flow_id(vi_emulator: Emulator) -> str:
    flow_id = vi_emulator.store.flow_ids()[0]
    vi_emulator.store.patch_flow(flow_id, {"spec": {"blocks": [BLOCK]}})
    return flow_id


@pytest.mark.parametrize("how", ["deleted", "unreadable", "without the block"])
@pytest.mark.parametrize(
    ("arguments", "max_tries"), [({}, 3), ({"on_clear": "adopt"}, 4)], ids=["retried", "cleared and adopted"]
)
def test_active_run_is_adopted_without_its_flow(
    vi_emulator: Emulator,
    flow_id: str,
    how: str,
    arguments: dict[str, Any],
    max_tries: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run_id = begun(flow_id, monkeypatch, overrides=OVERRIDES)
    lose_flow(vi_emulator, flow_id, how)
    again = Try(try_number=2, max_tries=max_tries)
    assert begun(flow_id, monkeypatch, again, overrides=OVERRIDES, **arguments) == run_id
    assert vi_emulator.store.get_run(run_id)["metadata"]["attributes"][OWNER] == f"{max_tries}/2"
    assert starts(vi_emulator) == [1]
    assert "The flow cannot be read, or changed as required: " in caplog.text


def test_cleared_task_kills_no_run_that_it_cannot_replace(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begun(flow_id, monkeypatch)
    lose_flow(vi_emulator, flow_id, "deleted")
    with pytest.raises(ViNotFoundError):
        execute(flow_id, Try(try_number=2, max_tries=4))
    assert vi_emulator.store.get_run(run_id)["spec"].get("killedAt") is None


def test_start_and_result_of_an_earlier_try_need_the_flow(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AirflowFailException, match="no block of type 'missing'"):
        execute(flow_id, overrides={"blocks": {"missing": {}}})
    begun(flow_id, monkeypatch)
    vi_emulator.advance(7200)
    lose_flow(vi_emulator, flow_id, "deleted")
    with pytest.raises(ViNotFoundError):  # whether the run has trained this task's spec is not known
        execute(flow_id, Try(try_number=2))
    assert starts(vi_emulator) == [1]
