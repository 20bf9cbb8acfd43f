"""A start whose response is lost: its try owns the run that it then reads, unless it may have replaced another one."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import pytest

from tests.documents import wire_run
from tests.tries import deferred
from vi_airflow_provider.api.models import Run
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.training.identity import OWNER, TaskIdentity
from vi_airflow_provider.training.killing import reason_to_leave
from vi_airflow_provider.training.starting import _may_be_replaced

#: When a run was requested and created, in milliseconds since the epoch.
AT: Final = 1_790_000_000_000
IDENTITY: Final = TaskIdentity("", "dag", "run", "task", -1, "", 3, 1)


@pytest.mark.vi_emulator(flows=1, runs=0)
def test_run_whose_state_has_changed_since_can_still_be_killed(
    vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = vi_emulator.connection
    connection["extra"] |= {"max_retries": 3}
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps(connection))
    # The run leaves the queue between the request that starts it and the read that follows.
    vi_emulator.plans.add(queue_seconds=0.001, run_seconds=3600)
    vi_emulator.faults.add(status=500, when="after", method="PUT", path="/runs/", times=1)
    trigger = deferred(vi_emulator.store.flow_ids()[0])
    assert vi_emulator.store.get_run(trigger.run_id)["metadata"]["attributes"][OWNER] == trigger.owner
    asyncio.run(trigger.on_kill())
    assert vi_emulator.store.get_run(trigger.run_id)["spec"]["killedAt"] is not None


def run(attributes: dict[str, str] | None = None, **changes: Any) -> Run:
    times = {"metadata__timeCreated": AT, "metadata__lastUpdated": AT, "metadata__generation": 1}
    return Run.model_validate(wire_run(metadata__attributes=attributes or {}, **{**times, **changes}))


def conditions(*times: int) -> list[dict[str, Any]]:
    return [{"condition": "Running", "status": "Reached", "lastTransitionTime": time} for time in times]


@pytest.mark.parametrize(
    ("changes", "replaced"),
    [
        ({}, False),
        ({"metadata__timeCreated": AT - 10**9, "metadata__lastUpdated": AT - 10**9}, False),  # clocks differ
        ({"metadata__lastUpdated": AT + 5, "status__conditions": conditions(AT, AT + 5)}, False),
        ({"metadata__lastUpdated": AT + 5, "status__conditions": conditions(AT)}, True),
        ({"metadata__lastUpdated": AT + 5, "status__conditions": []}, True),
        ({"metadata__lastUpdated": AT + 5, "status__conditions": conditions(AT + 5), "metadata__generation": 2}, True),
        # An earlier run has changed its state after it was replaced.
        ({"metadata__timeCreated": AT - 90_000, "status__conditions": conditions(AT)}, True),
    ],
)
def test_run_that_may_have_been_replaced(changes: dict[str, Any], replaced: bool) -> None:
    assert _may_be_replaced(run(**changes), AT) is replaced


@pytest.mark.parametrize(
    ("owner", "changes", "reason"),
    [
        ("3/1", {}, None),
        ("3/2", {}, "a later try has taken it over"),
        ("", {}, "its owner stamp is not the one of this try"),
        ("3/1", {"spec__killedAt": 7}, "its kill was requested before"),
        (
            "3/1",
            {"status__conditions": [{"condition": "Succeeded", "status": "Reached", "lastTransitionTime": AT}]},
            "it has ended",
        ),
    ],
)
def test_reason_to_leave_a_run_is_the_true_one(owner: str, changes: dict[str, Any], reason: str | None) -> None:
    given = {"status__conditions": conditions(AT), **changes}
    assert reason_to_leave(run({OWNER: owner}, **given), IDENTITY.owner) == reason
