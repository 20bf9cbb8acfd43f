"""Whatever a server sends, each call returns a value or raises an error of this package: never one of a library."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.documents import FLOW_ID, RUN_ID, wire_flow, wire_page, wire_run, wire_run_output
from tests.unit.api.request_cases import ACCELERATORS, ORGANIZATION, OUTPUT_ID, PROJECT_ID, Call, wire_project
from tests.unit.api.run_driver import Driver
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.models import Document
from vi_airflow_provider.api.protocol.messages import Response
from vi_airflow_provider.api.protocol.paging import Paginator

REMOVED: Final = object()
VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    5,
    -1.5,
    10**400,
    float("nan"),
    "",
    "x",
    "\ud800",
    [],
    [5],
    {},
    {"x": None},
    REMOVED,
)
CASES: Final[dict[str, tuple[Call, Any]]] = {
    "flow": (lambda p: p.get_flow(FLOW_ID), wire_flow()),
    "run": (lambda p: p.get_run(RUN_ID), wire_run()),
    "checkpoint": (lambda p: p.get_run_output(RUN_ID, OUTPUT_ID), wire_run_output()),
    "page of one checkpoint": (lambda p: p.get_run_output(RUN_ID, OUTPUT_ID), wire_page(wire_run_output())),
    "log": (lambda p: p.get_run_logs(RUN_ID), {"items": [{"line": "a", "time": 1}, "b"]}),
    "training project": (lambda p: p.get_training_project(PROJECT_ID), wire_project(status={"runs": ["r"]})),
    "conflicts": (lambda p: p.check_training_project_name(PROJECT_ID, "x"), {"errors": [{"kind": "IdConflict"}]}),
    "accelerators": (lambda p: p.list_accelerators(FLOW_ID), ACCELERATORS),
    "organization": (lambda p: p.get_organization(), ORGANIZATION),
    "quota": (lambda p: p.get_quota(), {"credits": {"balance": 12.5}}),
    "statistics": (lambda p: p.get_flow_statistics(FLOW_ID), {"images": 3}),
    "flows": (lambda p: p.list_flows(limit=5), wire_page(wire_flow())),
    "found flow": (lambda p: p.find_flow(name=wire_flow()["spec"]["name"]), wire_page(wire_flow())),
    "names of flows": (lambda p: p.list_simple_flows(limit=5), wire_page({"flowId": "f", "name": "x"})),
    "runs": (lambda p: p.list_runs(limit=5), wire_page(wire_run())),
    "found runs": (lambda p: p.find_runs(state="running"), wire_page(wire_run())),
    "names of runs": (lambda p: p.list_simple_runs(limit=5), wire_page({"runId": "r", "name": "x"})),
    "checkpoints": (lambda p: p.list_run_outputs(RUN_ID, limit=5), wire_page(wire_run_output())),
    "training projects": (lambda p: p.list_training_projects(limit=5), wire_page(wire_project())),
}


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each part of a document."""
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in members:
        yield from paths_of(inner, (*path, key))


def damaged(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a document of which one part is another value, or missing."""
    if not path:
        return None if value is REMOVED else value
    document = copy.deepcopy(document)
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is REMOVED:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


def read(value: Any) -> None:
    """Read all of what a call returned."""
    for document in value if isinstance(value, list) else [value]:
        repr(document)
        if isinstance(document, Document):
            document.to_wire()
            document.model_dump(mode="json")


def carry_out(call: Call, body: bytes) -> None:
    """Carry out a call of which each response has this body, and read what it returns."""
    driver = Driver(lambda _: Response(200, {"content-type": "application/json"}, body), max_retries=0)
    begun = call(driver.calls)
    if not isinstance(begun, Paginator):
        read(driver.run(begun))
    elif steps := begun.next_page():
        read(list(begun.documents(driver.run(steps))))


@pytest.mark.parametrize("name", CASES)
def test_a_document_with_one_wrong_part_is_read_or_refused(name: str) -> None:
    call, document = CASES[name]
    carry_out(call, json.dumps(document).encode())
    refused = 0
    for path in paths_of(document):
        for value in VALUES:
            try:
                carry_out(call, json.dumps(damaged(document, path, value)).encode())
            except ViError:
                refused += 1
            except Exception as error:
                raise AssertionError(f"{path} = {value!r}") from error
    assert refused
