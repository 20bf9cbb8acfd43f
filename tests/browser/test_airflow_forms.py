"""Airflow's own forms: the connection with its Test button, and the example DAGs triggered as a person does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Response, expect

from tests.browser.conftest import EXAMPLES, Open, Site
from tests.deployed import eventually


def press_test(page: Page, conn_id: str) -> tuple[int, Any]:
    """Press the Test button of a stored connection; return the status and the JSON of the response."""
    row = page.get_by_role("row").filter(has_text=conn_id)
    with page.expect_response(re.compile("/connections/test")) as tested:
        row.get_by_role("button", name="Test Connection").click()
    return tested.value.status, tested.value.json()


def test_three_fields_of_the_form_make_a_connection(open_as: Open, site: Site) -> None:
    window = open_as()
    page = window.page
    page.goto(f"{site.airflow.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator("input[name=connection_id]").fill("vi_from_form")
    form.get_by_role("combobox").first.click()
    page.keyboard.type("Datature")
    page.get_by_role("option", name="Datature Vi").click()
    form.get_by_label("API endpoint").fill(site.vi.url)
    form.get_by_label("Organization ID").fill(site.vi.organization_id)
    form.get_by_label("Secret key").fill(site.vi.secret_key)
    form.get_by_role("button", name="Save").click()
    expect(form).to_be_hidden()
    status, listed = site.get("/vi/api/connections/vi_from_form/flows", "admin")
    assert (status, len(listed["flows"])) == (200, 60)

    # Airflow 3.3.2 takes the port 0 that its button posts for another server (docs/connection.md).
    window.expected = ["400"]
    status, refused = press_test(page, "vi_from_form")
    assert (status, "differs from the stored connection" in refused["detail"]) == (400, True)


def test_stored_connection_passes_its_test(page: Page, site: Site) -> None:
    page.goto(f"{site.airflow.url}/connections")
    site.vi.clear_requests()
    status, result = press_test(page, "vi_default")
    assert (status, result["status"]) == (200, True)
    assert "can read its flows" in result["message"]
    assert site.vi.requests


def test_failed_test_names_the_key_and_does_not_show_it(page: Page, site: Site) -> None:
    wrong = "dtvi_" + "wrong-key-here" * 7
    stored = {**site.vi.stored_connection, "password": wrong, "extra": "{}"}
    site.airflow.api("POST", "/connections", {"connection_id": "vi_wrong", **stored})
    page.goto(f"{site.airflow.url}/connections")
    status, result = press_test(page, "vi_wrong")
    assert (status, result["status"]) == (200, False)
    assert "secret key" in result["message"]
    assert wrong not in result["message"] + page.content()


def accepted(act: Callable[[], None], page: Page, method: str, path: str) -> bool:
    """Act in a window until Airflow accepts the request that it sends; return whether it did.

    With SQLite, Airflow responds 500 to a request that meets another one that writes.
    """

    def is_response(response: Response) -> bool:
        return response.request.method == method and urlsplit(response.url).path.endswith(path)

    for _ in range(5):
        with page.expect_response(is_response) as seen:
            act()
        if seen.value.status != 500:
            break
    return seen.value.ok


def trigger(page: Page, site: Site, dag_id: str) -> None:
    """Trigger a DAG from its form, with the values that the form shows."""
    page.goto(f"{site.airflow.url}/dags/{dag_id}")
    page.get_by_role("button", name="Trigger Dag").click()
    page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True).click()


@pytest.mark.parametrize("dag_id", EXAMPLES)
def test_example_is_switched_on_and_triggered(dag_id: str, open_as: Open, site: Site) -> None:
    window = open_as()
    window.expected = ["500"]
    page = window.page
    page.goto(f"{site.airflow.url}/dags/{dag_id}")
    # Otherwise the form of a DAG that is off sends two requests side by side.
    assert accepted(page.get_by_test_id("toggle-pause").click, page, "PATCH", f"/dags/{dag_id}")
    assert accepted(lambda: trigger(page, site, dag_id), page, "POST", f"/dags/{dag_id}/dagRuns")


def test_triggered_examples_do_their_work(site: Site) -> None:
    # The others wait for a flow, a decision, or the end of a training run.
    ends = {dag_id for dag_id in EXAMPLES if not dag_id.startswith(("approve_training", "gate_", "train_"))}

    def tasks(*states: str) -> list[str]:
        query = "&".join(f"state={state}" for state in states)
        found = site.airflow.api("GET", f"/dags/~/dagRuns/~/taskInstances?{query}")["task_instances"]
        return [f"{task['dag_id']}.{task['task_id']}: {task['state']}" for task in found]

    def unfinished() -> list[str]:
        site.airflow.check()
        runs = {dag_id: site.airflow.api("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"] for dag_id in EXAMPLES}
        states = {dag_id: {run["state"] for run in each} for dag_id, each in runs.items()}
        return tasks("up_for_retry") + [
            f"{dag_id}: {', '.join(sorted(found))}"
            for dag_id, found in states.items()
            if not found or "queued" in found or ("running" in found and dag_id in ends)
        ]

    # The tasks of all triggered examples come first; each is a process that imports Airflow.
    eventually(lambda: not unfinished(), "the DAG runs did not end as expected", seconds=450, seen=unfinished)
    assert tasks("failed", "upstream_failed") == []
    assert not [request for request in site.vi.requests if request.method == "DELETE"]
