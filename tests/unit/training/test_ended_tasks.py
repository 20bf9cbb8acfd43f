"""A task that has to end while a worker waits: what happens to its run, and what the error says about it."""

from __future__ import annotations

import pytest

from tests.tries import Try, begun, killed_while_waiting, starts
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.runs import RUN_ID_KEY
from vi_airflow_provider.training.job import TaskInterruptedError

pytestmark = pytest.mark.vi_emulator(flows=1, run_seconds=3600, runs=0)


def test_run_that_is_to_be_adopted_survives_a_clear(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ti = Try(state="restarting")
    with monkeypatch.context() as patch, pytest.raises(TaskInterruptedError):
        killed_while_waiting(flow_id, "restarting", patch, ti, on_clear="adopt")
    again = Try(try_number=2, max_tries=4)
    assert begun(flow_id, monkeypatch, again, on_clear="adopt") == ti.pushed[RUN_ID_KEY]
    assert starts(vi_emulator) == [1]
