"""The runs that `make airflow` shows."""

from __future__ import annotations

import pytest

from demo.ui import add_runs
from vi_airflow_provider.api.models import RunState
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.operators.runs import KillOverdueRunsOperator


@pytest.mark.vi_emulator(flows=40, runs=20)
def test_runs_of_all_states_and_an_orphan_can_be_seen(vi_emulator: Emulator) -> None:
    add_runs(vi_emulator)
    assert {run.state for run in ViHook().list_runs()} == set(RunState)
    report = KillOverdueRunsOperator(task_id="kill").execute({"ti": None})  # type: ignore[typeddict-item]
    assert report["selected"] == 1
