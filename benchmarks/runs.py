"""The training runs that the server offers: a flow of ``benchmarks.flows`` with conditions, about 4.7 KB of JSON each.

The same run is also served in the forms of dbt Cloud and Databricks, whose triggers ask for the state of one run.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

from benchmarks.flows import ORGANIZATION_ID, flow

#: Attribute by which the provider's trigger sees that the run is its own.
OWNER: Final = "0/1"
#: Number of different documents, apart from ids and times.
_VARIANTS: Final = 24


def run_id(number: int) -> str:
    """Return the id of the run with this number."""
    return f"{number:08x}-51c3-4e88-9d04-{number * 2_654_435_761 % 2**48:012x}"


def run(number: int, now: int, *, ended: bool) -> bytes:
    """Return the document of a run, as sent over the wire. A higher number was created later.

    :param now: reference time for its age, in milliseconds since the epoch
    """
    return _template(number % _VARIANTS, ended) % {
        b"id": run_id(number).encode(),
        b"created": b"%d" % (now - 60_000 + number),
    }


def dbt_run(number: int, *, ended: bool) -> bytes:
    """Return the run as dbt Cloud sends it."""
    return json.dumps({"data": {"id": number, "status": 10 if ended else 3}, "status": {"code": 200}}).encode()


def databricks_run(number: int, *, ended: bool) -> bytes:
    """Return the run as Databricks sends it."""
    state = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"} if ended else {"life_cycle_state": "RUNNING"}
    return json.dumps({"run_id": number, "state": {**state, "state_message": ""}}).encode()


@cache
def _template(variant: int, ended: bool) -> bytes:
    conditions: list[dict[str, Any]] = [
        {"condition": "Finished", "status": "Reached" if ended else "Waiting", "lastTransitionTime": "%(created)s"},
        {"condition": "Started", "status": "Reached", "lastTransitionTime": "%(created)s"},
    ]
    document = {
        "kind": "Run",
        "workspaceId": ORGANIZATION_ID,
        "runId": "%(id)s",
        "spec": {"flow": json.loads(flow(variant, 0))["spec"], "killedAt": None, "trainingProject": "project-1"},
        "status": {"log": "", "observedGeneration": 1, "conditions": conditions},
        "metadata": {
            "timeCreated": "%(created)s",
            "lastUpdated": "%(created)s",
            "generation": 1,
            "attributes": {"vi_airflow.owner": OWNER, "vi_airflow.try": "1"},
        },
        "selfLink": f"/workspaces/{ORGANIZATION_ID}/runs/%(id)s",
        "etag": '"1-03aa7e"',
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace('"%(created)s"', "%(created)s")
    return text.encode()
