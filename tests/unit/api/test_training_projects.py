"""Training projects and what surrounds runs: what is returned, and which responses are refused.

The server is a function from a request to an outcome; ``test_requests`` shows what is sent.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.documents import ABSENT, FLOW_ID, wire_page, wire_spec
from tests.unit.api.request_cases import (
    ACCELERATORS,
    ORGANIZATION,
    PROJECT,
    PROJECT_ID,
    WORKSPACE,
    Call,
    answering,
    sent,
    wire_project,
)
from tests.unit.api.run_driver import Driver, ok
from vi_airflow_provider.api.errors import ViNotFoundError, ViResponseError, ViServerError
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Outcome, Request, Response

# --- what is returned ----------------------------------------------------------------------------------------------


def test_documents_are_returned() -> None:
    driver = answering(wire_project(status={"runs": ["r"]}))
    project = driver.run(driver.calls.get_training_project(PROJECT_ID))
    assert (project.training_project_id, project.spec.name, project.spec.type) == (PROJECT_ID, "Weld seams", "vqa")
    assert project.status is not None
    assert project.status.runs == ["r"]
    driver = answering(ACCELERATORS)
    for spec in (None, wire_spec()):
        found = driver.run(driver.calls.list_accelerators(FLOW_ID, spec))
        assert found.is_denied
        assert found.items[0].accelerator == {"name": "T4"}
    driver = answering(ORGANIZATION)
    assert driver.run(driver.calls.get_organization()).name == "Acme"


def test_objects_without_a_contract_are_returned_as_they_came() -> None:
    driver = answering({"credits": {"balance": 12.5}})
    assert driver.run(driver.calls.get_quota()) == {"credits": {"balance": 12.5}}
    assert driver.run(driver.calls.get_flow_statistics(FLOW_ID)) == {"credits": {"balance": 12.5}}
    assert driver.run(driver.calls.generate_flow_statistics(FLOW_ID)) is None


def test_conflicts_of_a_name_are_returned() -> None:
    driver = answering({"errors": [{"kind": "IdConflict"}, {"kind": "NameConflict", "name": "Weld seams"}]})
    found = driver.run(driver.calls.check_training_project_name(PROJECT_ID, "Weld seams"))
    assert [conflict.kind for conflict in found] == ["IdConflict", "NameConflict"]


def test_a_listing_follows_its_pages_up_to_the_limit() -> None:
    pages = {
        None: wire_page(wire_project(trainingProjectId="a"), wire_project(trainingProjectId="b"), nextPage="2"),
        "2": wire_page(wire_project(trainingProjectId="c")),
    }

    def server(request: Request) -> Outcome:
        return ok(pages["2" if "p=2" in request.url else None])

    driver = Driver(server)
    assert [each.training_project_id for each in driver.all(driver.calls.list_training_projects())] == ["a", "b", "c"]
    assert all(request.url.startswith(f"https://vi.example{WORKSPACE}/trainingProjects?") for request in driver.sent)
    driver = Driver(server)
    paginator = driver.calls.list_training_projects(page_size=2, limit=1)
    steps = paginator.next_page()
    assert steps is not None
    assert [each.training_project_id for each in paginator.documents(driver.run(steps))] == ["a"]
    assert sent(driver) == [("GET", f"{WORKSPACE}/trainingProjects", {"s": "1"}, None)]


# --- deletes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "deleted"),
    [
        ([Response(204)], True),
        ([Response(404)], False),
        ([Failure(FailureKind.BROKEN), Response(404)], True),
        ([Failure(FailureKind.CONNECT), Response(404)], False),
    ],
    ids=["deleted", "absent", "deleted by an attempt whose response was lost", "never sent, and absent"],
)
def test_delete_says_whether_it_deleted(outcomes: list[Outcome], deleted: bool) -> None:
    remaining = iter(outcomes)
    driver = Driver(lambda _: next(remaining))
    outcome = driver.run(driver.calls.delete_training_project(PROJECT_ID))
    assert (outcome.id, outcome.deleted, outcome.already_absent) == (PROJECT_ID, deleted, not deleted)
    assert {request[:2] for request in sent(driver)} == {("DELETE", PROJECT)}


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "document"),
    [
        (lambda p: p.get_training_project(PROJECT_ID), wire_project(trainingProjectId="another")),
        (lambda p: p.get_training_project(PROJECT_ID), wire_project(workspaceId="another")),
        (lambda p: p.create_training_project(PROJECT_ID, "x", "vqa"), wire_project(trainingProjectId="another")),
        (lambda p: p.update_training_project(PROJECT_ID, name="x"), wire_project(workspaceId="another")),
        (lambda p: p.list_accelerators(FLOW_ID), ACCELERATORS | {"flowId": "another"}),
        (lambda p: p.list_accelerators(FLOW_ID), ACCELERATORS | {"workspaceId": "another"}),
        (lambda p: p.get_organization(), ORGANIZATION | {"workspaceId": "another"}),
        (lambda p: p.list_training_projects().next_page(), wire_page(wire_project(workspaceId="another"))),
    ],
)
def test_response_about_something_else_is_refused(call: Call, document: Any) -> None:
    driver = answering(document)
    with pytest.raises(ViResponseError, match=r"about (training project|flow|organization) 'another', but"):
        list(driver.run(call(driver.calls)).documents())


@pytest.mark.parametrize(
    ("call", "document", "message"),
    [
        (lambda p: p.get_training_project(PROJECT_ID), wire_project(spec=ABSENT), "spec"),
        (
            lambda p: p.list_training_projects().next_page(),
            wire_page(wire_project(), wire_project(spec=ABSENT)),
            r"/trainingProjects\?s=100: the response violates the contract: items\[1\]\.spec",
        ),
        (lambda p: p.check_training_project_name(PROJECT_ID, "x"), {}, "errors"),
        (lambda p: p.check_training_project_name(PROJECT_ID, "x"), {"errors": "none"}, "errors"),
        (lambda p: p.check_training_project_name(PROJECT_ID, "x"), {"errors": [5]}, r"errors\[0\]"),
        (lambda p: p.check_training_project_name(PROJECT_ID, "x"), {"errors": [{}]}, r"errors\[0\].kind"),
        (lambda p: p.list_accelerators(FLOW_ID), {**ACCELERATORS, "items": [{}]}, r"items\[0\]"),
        (lambda p: p.get_organization(), [], "contract: document: Input should be an object"),
        (lambda p: p.get_quota(), [1], "an object expected, list given"),
        (lambda p: p.get_flow_statistics(FLOW_ID), [], "an object expected, list given"),
    ],
)
def test_response_that_violates_the_contract_is_refused(call: Call, document: Any, message: str) -> None:
    driver = answering(document)
    with pytest.raises(ViResponseError, match=message):
        list(driver.run(call(driver.calls)).documents())


@pytest.mark.parametrize("body", [b"", b"<html>", b"{"])
def test_another_body_is_refused(body: bytes) -> None:
    driver = Driver(lambda _: Response(200, {"content-type": "text/html"}, body))
    for call in (
        driver.calls.get_training_project(PROJECT_ID),
        driver.calls.get_organization(),
        driver.calls.get_quota(),
        driver.calls.check_training_project_name(PROJECT_ID, "x"),
    ):
        with pytest.raises(ViResponseError):
            driver.run(call)


def test_errors_of_the_server_are_raised() -> None:
    driver = Driver(lambda _: Response(404))
    with pytest.raises(ViNotFoundError):
        driver.run(driver.calls.get_training_project(PROJECT_ID))
    driver = Driver(lambda _: Response(500))
    with pytest.raises(ViServerError):
        driver.run(driver.calls.generate_flow_statistics(FLOW_ID))
    assert len(driver.sent) == 1  # a POST may have been carried out
