"""Sample runs of the past and sample training projects, the same for the same seed."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence

from vi_airflow_provider.emulator.store.lifecycle import Scenario
from vi_airflow_provider.emulator.store.samples import DAY_MS, FLOW_ID_ATTRIBUTE, PROJECTS
from vi_airflow_provider.emulator.store.schema import Document

OLDEST_DAYS = 200
_SCENARIOS: tuple[Scenario, ...] = ("succeed",) * 7 + ("fail_at_end", "fail_at_start", "killed_by_person")


def past_runs(flows: Sequence[Document], count: int, seed: int | str, now_ms: int) -> list[Document]:
    """Runs of the flows that have ended, most of them well; none without flows."""
    return [_run(index, count, flows, seed, now_ms) for index in range(count if flows else 0)]


def sample_projects(now_ms: int) -> list[Document]:
    """The training projects that sample flows belong to."""
    created = now_ms - OLDEST_DAYS * DAY_MS
    return [
        {
            "trainingProjectId": project.id,
            "spec": {"name": project.task, "description": None, "type": project.kind},
            "metadata": {"timeCreated": created, "lastUpdated": created, "generation": 1, "attributes": {}},
        }
        for project in PROJECTS
    ]


def _run(index: int, count: int, flows: Sequence[Document], seed: int | str, now_ms: int) -> Document:
    rng = random.Random(f"run {seed}/{index}")  # noqa: S311  # not a secret: it must be the same each time
    flow = rng.choice(flows)
    seconds = rng.randrange(1800, 6 * 3600)
    began = now_ms - seconds * 1000 - int(OLDEST_DAYS * DAY_MS * ((index + rng.random()) / count) ** 2)
    plan = {
        "scenario": rng.choice(_SCENARIOS),
        "run_seconds": seconds,
        "queue_seconds": rng.randrange(20, 900),
        "checkpoints": rng.randrange(2, 15),
    }
    return {
        "runId": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "spec": {"flow": flow["spec"], "killedAt": None, "trainingProject": flow["spec"]["trainingProject"]},
        "metadata": {
            "timeCreated": began,
            "lastUpdated": began,
            "generation": 1,
            "attributes": {FLOW_ID_ATTRIBUTE: flow["flowId"]},
        },
        "plan": plan,
        "began": began,
    }
