"""Each call of the protocol with what it sends and a document that it accepts as the response."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from tests.documents import (
    ABSENT,
    FLOW_ID,
    ORGANIZATION_ID,
    RUN_ID,
    wire_flow,
    wire_page,
    wire_run,
    wire_run_output,
    wire_spec,
)
from tests.unit.api.run_driver import Driver, ok
from vi_airflow_provider.api.verbs import ViProtocol

WORKSPACE: Final = f"/workspaces/{ORGANIZATION_ID}"
FLOW: Final = f"{WORKSPACE}/flows/{FLOW_ID}"
RUN: Final = f"{WORKSPACE}/runs/{RUN_ID}"
OUTPUT_ID: Final = wire_run_output()["runOutputId"]
PROJECT_ID: Final = "weld-inspection"
PROJECT: Final = f"{WORKSPACE}/trainingProjects/{PROJECT_ID}"

Call = Callable[[ViProtocol], Any]


def wire_project(**changes: Any) -> dict[str, Any]:
    """A training project as the API sends it, with changes of its outermost fields."""
    project = {
        "kind": "TrainingProject",
        "workspaceId": ORGANIZATION_ID,
        "trainingProjectId": PROJECT_ID,
        "spec": {"name": "Weld seams", "type": "vqa"},
        "metadata": wire_flow()["metadata"],
        "selfLink": PROJECT,
        "etag": '"1"',
    } | changes
    return {key: value for key, value in project.items() if value is not ABSENT}


ACCELERATORS: Final[dict[str, Any]] = {
    "kind": "FlowAcceleratorList",
    "workspaceId": ORGANIZATION_ID,
    "flowId": FLOW_ID,
    "items": [{"accelerator": {"name": "T4"}, "configurations": [{"count": 1, "action": "Deny"}]}],
}
ORGANIZATION: Final = {"workspaceId": ORGANIZATION_ID, "name": "Acme"}


def answering(document: Any) -> Driver:
    """A driver whose server sends one document to all requests."""
    return Driver(lambda _: ok(document))


def sent(driver: Driver) -> list[tuple[str, str, dict[str, str], Any]]:
    """Method, path, query and body of each request."""
    urls = [urlsplit(request.url) for request in driver.sent]
    return [
        (request.method, url.path, dict(parse_qsl(url.query)), request.body and json.loads(request.body))
        for request, url in zip(driver.sent, urls, strict=True)
    ]


def first_page(paginator: Any) -> Any:
    """Return the steps that fetch the first page of a listing."""
    return paginator.next_page()


INTENT: Final = {"intent": "sdkLocalDeploy"}

READS: Final[list[tuple[Call, str, dict[str, str], Any]]] = [
    (lambda p: p.get_flow(FLOW_ID), FLOW, {}, wire_flow()),
    (lambda p: first_page(p.list_flows()), f"{WORKSPACE}/flows", {"s": "100"}, wire_page()),
    (lambda p: first_page(p.list_flows(page_size=7)), f"{WORKSPACE}/flows", {"s": "7"}, wire_page()),
    (lambda p: first_page(p.list_flows(limit=7)), f"{WORKSPACE}/flows", {"s": "7"}, wire_page()),
    (lambda p: first_page(p.list_simple_flows(page_size=7)), f"{WORKSPACE}/simpleFlows", {"s": "7"}, wire_page()),
    (
        lambda p: first_page(p.iter_flow_pages(page_size=7, page_token="t&")),
        f"{WORKSPACE}/flows",
        {"p": "t&", "s": "7"},
        wire_page(),
    ),
    (lambda p: p.get_run(RUN_ID), RUN, {}, wire_run()),
    (lambda p: first_page(p.list_runs(page_size=7)), f"{WORKSPACE}/runs", {"s": "7"}, wire_page()),
    (lambda p: first_page(p.list_runs(limit=7)), f"{WORKSPACE}/runs", {"s": "7"}, wire_page()),
    (lambda p: first_page(p.list_simple_runs(limit=7)), f"{WORKSPACE}/simpleRuns", {"s": "7"}, wire_page()),
    (lambda p: first_page(p.list_simple_runs(page_size=7)), f"{WORKSPACE}/simpleRuns", {"s": "7"}, wire_page()),
    (
        lambda p: first_page(p.list_training_projects(page_size=7)),
        *(f"{WORKSPACE}/trainingProjects", {"s": "7"}, wire_page()),
    ),
    (lambda p: first_page(p.list_run_outputs(RUN_ID)), f"{RUN}/outputs", {**INTENT, "s": "100"}, wire_page()),
    (lambda p: first_page(p.list_run_outputs(RUN_ID, limit=7)), f"{RUN}/outputs", {**INTENT, "s": "7"}, wire_page()),
    (lambda p: p.get_run_output(RUN_ID, OUTPUT_ID), f"{RUN}/outputs/{OUTPUT_ID}", INTENT, wire_run_output()),
    (
        lambda p: p.get_run_output(RUN_ID, OUTPUT_ID, contents=True),
        f"{RUN}/outputs/{OUTPUT_ID}",
        {**INTENT, "contents": "y"},
        wire_run_output(),
    ),
    (lambda p: p.get_run_logs(RUN_ID), f"{RUN}/logs", {}, {"items": []}),
    (
        lambda p: p.get_run_logs(RUN_ID, block="trainer", since="a b", until="c", limit=1),
        f"{RUN}/logs",
        {"block": "trainer", "since": "a b", "until": "c", "limit": "1"},
        {"items": []},
    ),
]

ATTRIBUTES: Final = {"line": "3"}
BODY: Final = {"spec": wire_spec(), "metadata": {"attributes": ATTRIBUTES}}

WRITES: Final[list[tuple[Call, str, str, Any, Any]]] = [
    (lambda p: p.create_flow(wire_spec(), flow_id=FLOW_ID), "PUT", FLOW, {"spec": wire_spec()}, wire_flow()),
    (
        lambda p: p.create_flow(wire_spec(), flow_id=FLOW_ID, attributes=ATTRIBUTES),
        *("PUT", FLOW, BODY, wire_flow()),
    ),
    (lambda p: p.replace_flow(FLOW_ID, wire_spec(), attributes=ATTRIBUTES), "PUT", FLOW, BODY, wire_flow()),
    (
        lambda p: p.update_flow(FLOW_ID, spec={"name": "x"}, attributes={"line": None}),
        *("PATCH", FLOW, {"spec": {"name": "x"}, "metadata": {"attributes": {"line": None}}}, wire_flow()),
    ),
    (
        lambda p: p.update_run(RUN_ID, training_project="p", attributes={"line": None}),
        *("PATCH", RUN, {"spec": {"trainingProject": "p"}, "metadata": {"attributes": {"line": None}}}, wire_run()),
    ),
    (
        lambda p: p.update_run(RUN_ID, attributes=ATTRIBUTES),
        *("PATCH", RUN, {"metadata": {"attributes": ATTRIBUTES}}, wire_run()),
    ),
    (
        lambda p: p.update_run(RUN_ID, training_project="p"),
        *("PATCH", RUN, {"spec": {"trainingProject": "p"}}, wire_run()),
    ),
    (
        lambda p: p.start_run(wire_spec(), run_id=RUN_ID, training_project="p", attributes=ATTRIBUTES),
        "PUT",
        RUN,
        {"spec": {"flow": wire_spec(), "trainingProject": "p"}, "metadata": {"attributes": ATTRIBUTES}},
        wire_run(),
    ),
    (lambda p: p.delete_flow(FLOW_ID), "DELETE", FLOW, None, {}),
    (lambda p: p.delete_run(RUN_ID), "DELETE", RUN, None, {}),
]

SURROUNDINGS: Final[list[tuple[Call, str, str, Any, Any]]] = [
    (lambda p: p.get_training_project(PROJECT_ID), "GET", PROJECT, None, wire_project()),
    (
        lambda p: p.create_training_project(PROJECT_ID, "Weld seams", "vqa"),
        "PUT",
        PROJECT,
        {"spec": {"name": "Weld seams", "type": "vqa"}},
        wire_project(),
    ),
    (
        lambda p: p.create_training_project(PROJECT_ID, "Weld seams", "freeform", description=""),
        "PUT",
        PROJECT,
        {"spec": {"name": "Weld seams", "type": "freeform", "description": ""}},
        wire_project(),
    ),
    (
        lambda p: p.update_training_project(PROJECT_ID, name="Seams"),
        "PATCH",
        PROJECT,
        {"spec": {"name": "Seams"}},
        wire_project(),
    ),
    (
        lambda p: p.update_training_project(PROJECT_ID, description="", attributes={"line": None}),
        "PATCH",
        PROJECT,
        {"spec": {"description": ""}, "metadata": {"attributes": {"line": None}}},
        wire_project(),
    ),
    (
        lambda p: p.update_training_project(PROJECT_ID, attributes={"line": "3"}),
        "PATCH",
        PROJECT,
        {"metadata": {"attributes": {"line": "3"}}},
        wire_project(),
    ),
    (
        lambda p: p.check_training_project_name(PROJECT_ID, "Weld seams"),
        "POST",
        f"/dryRuns{WORKSPACE}/trainingProjects",
        {"trainingProjectId": PROJECT_ID, "spec": {"name": "Weld seams"}},
        {"errors": []},
    ),
    (lambda p: p.list_accelerators(FLOW_ID), "GET", f"{FLOW}/accelerators", None, ACCELERATORS),
    (
        lambda p: p.list_accelerators(FLOW_ID, wire_spec()),
        "POST",
        f"{FLOW}/accelerators",
        {"spec": wire_spec()},
        ACCELERATORS,
    ),
    (lambda p: p.get_organization(), "GET", WORKSPACE, None, ORGANIZATION),
    (lambda p: p.get_quota(), "GET", f"{WORKSPACE}/quota", None, {}),
    (
        lambda p: p.get_flow_statistics(FLOW_ID),
        "GET",
        f"{FLOW}/aggregationStatistics",
        None,
        {},
    ),
    (
        lambda p: p.generate_flow_statistics(FLOW_ID),
        "POST",
        f"{FLOW}/aggregationStatistics:generate",
        None,
        {},
    ),
]
