"""The page with data that a real Airflow seldom has: long, many, of other connections, or of runs."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, Site
from tests.browser.support import ROWS, address, flow, go, instance, listing, respond, show_tasks

FLOWS = "**/vi_default/flows"
LONG = "x" * 10_000


# --- flows -----------------------------------------------------------------------------------------------------------


def test_long_texts_do_not_fill_the_window(page: Page, site: Site) -> None:
    long = flow("a", name=LONG, project=LONG, attributes={LONG: LONG})
    page.route(FLOWS, partial(respond, listing(long, flow("b"))))
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        go(page, site)
        box = page.locator(ROWS).first.bounding_box()
        assert box is not None
        assert box["height"] < 300
        expect(page.locator(ROWS).nth(1)).to_be_visible()


def test_project_called_none_is_not_taken_for_no_project(page: Page, site: Site) -> None:
    page.route(FLOWS, partial(respond, listing(flow("a", project="none"), flow("b"))))
    go(page, site)
    for wanted, shown in (("none", "a"), ("(none)", "b")):
        page.get_by_role("combobox", name="Training project").select_option(wanted)
        expect(page.locator(ROWS)).to_have_count(1)
        expect(page.locator(f"{ROWS} bdi").first).to_have_text(shown)


def test_common_attributes_can_be_chosen_among_many_rare_ones(page: Page, site: Site) -> None:
    flows = [flow(f"f{n}", attributes={"build": str(n), "stage": "production"}) for n in range(300)]
    page.route(FLOWS, partial(respond, listing(*flows)))
    go(page, site)
    choice = page.get_by_role("combobox", name="Attribute")
    expect(choice.locator("option", has_text="101 rarer ones")).to_be_disabled()
    choice.select_option("stage=production")
    expect(page.get_by_text("300 flows", exact=True)).to_be_visible()


def test_refresh_leaves_the_focus_where_it_is(page: Page, site: Site) -> None:
    go(page, site)
    page.locator(f"{ROWS} button").nth(5).click()
    refresh = page.get_by_role("button", name="Refresh")
    refresh.focus()
    with page.expect_response(FLOWS + "?refresh=true"):
        refresh.press("Enter")
    expect(page.locator("svg.pipeline")).to_be_visible()
    expect(refresh).to_be_focused()


def test_back_and_forward_lead_through_the_views(page: Page, site: Site) -> None:
    go(page, site)
    page.get_by_role("tab", name="Cleanup preview").click()
    page.get_by_role("tab", name="Gates and runs").click()
    page.get_by_role("combobox", name="Connection").select_option("vi_large")
    expect(page.locator(ROWS).first).to_be_visible()
    for connection, tab in (("vi_default", "Gates and runs"), ("vi_default", "Cleanup preview")):
        page.go_back()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        expect(page.get_by_role("combobox", name="Connection")).to_have_value(connection)
    page.go_forward()
    expect(page.get_by_role("tab", name="Gates and runs")).to_have_attribute("aria-selected", "true")
    page.get_by_role("link", name="Dags").first.click()
    expect(page.locator("[data-testid=datature-vi]")).to_have_count(0)


# --- cleanup ---------------------------------------------------------------------------------------------------------


def test_policy_of_a_dag_is_previewed_with_its_connection(page: Page, site: Site) -> None:
    fields = {"vi_conn_id": "vi_large", "older_than": "P200D", "max_delete": 50}
    show_tasks(page, instance("PruneFlowsOperator", "prune", fields=fields))
    go(page, site, "?tab=cleanup")
    page.get_by_role("button", name="Preview its policy with vi_large").click()
    expect(page.get_by_role("heading", level=3)).to_contain_text("of 5,000 would be deleted")
    expect(page.get_by_role("combobox", name="Connection")).to_have_value("vi_large")
    assert address(page)["conn"] == ["vi_large"]
    page.go_back()
    expect(page.get_by_role("combobox", name="Connection")).to_have_value("vi_default")


def test_cleanup_of_runs_is_previewed_and_shared(page: Page, site: Site, open_as: Open) -> None:
    go(page, site, "?tab=cleanup")
    page.get_by_role("button", name="Runs", exact=True).click()
    page.get_by_label("Older than").fill("P1D")
    page.get_by_label("Keep the best").fill("1")
    page.get_by_label("The best by this metric").fill("f1 max")
    page.get_by_role("button", name="Preview", exact=True).click()
    heading = page.get_by_role("heading", level=3)
    expect(heading).to_contain_text("runs of")
    expect(page.get_by_text("kept by keep_best=1 per flow, by f1").first).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="would be deleted")).to_have_text(heading.inner_text())
    other = open_as().page
    other.goto(page.url)
    expect(other.get_by_role("heading", level=3)).to_have_text(heading.inner_text())
    expect(other.get_by_label("The best by this metric")).to_have_value("f1 max")
    assert not [request for request in site.vi.requests if request.method == "DELETE"]
    assert not [request for request in site.vi.requests if request.method != "GET" and "/runs" not in request.path]


def test_flow_of_unknown_age_is_not_listed_as_old(page: Page, site: Site) -> None:
    reason = "age unknown: its times are missing or contradict each other"
    plan = {"noun": "flow", "selected": 0, "total": 4, "young": 3, "guard": None, "unmatched": [], "outcomes": []}
    counts = {"kept_by_reason": [{"reason": reason, "count": 1}], "out_of_scope": 0, "outcomes_omitted": 0}
    spared = {"spared_flows": [{"flow_id": "a", "name": "Weld", "reason": reason}], "spared_omitted": 0}
    page.route("**/plan?*", partial(respond, {**plan, **counts, **spared}))
    go(page, site, "?tab=cleanup")
    page.get_by_role("button", name="Preview", exact=True).click()
    expect(page.get_by_role("heading", level=4)).to_have_text(["Would be deleted", "Would stay 1"])
    expect(page.locator("table.spared")).to_contain_text(reason)
    expect(page.get_by_text("Not old enough, and not listed: 3 flows.")).to_be_visible()


def test_policy_for_runs_is_taken_over(page: Page, site: Site) -> None:
    fields = {
        "older_than": "P1D",
        "states": ["failed"],
        "keep_best": 2,
        "best_metric": ["f1", "max"],
        "keep_last": None,
    }
    show_tasks(page, instance("PruneRunsOperator", "prune", map_index=3, fields=fields))
    go(page, site, "?tab=cleanup")
    expect(page.locator("li.card")).to_contain_text("prune [3]")
    page.get_by_role("button", name="Preview its policy").click()
    expect(page.get_by_role("heading", level=3)).to_contain_text("runs of")
    expect(page.get_by_label("Only in these states")).to_have_value("failed")


def test_policy_that_is_too_long_is_explained_in_a_sentence(open_as: Open, site: Site) -> None:
    window = open_as()
    window.expected = ["422"]
    go(window.page, site, "?tab=cleanup")
    window.page.get_by_label("Protect ids").fill("\n".join(f"flow-{n}" for n in range(3000)))
    window.page.get_by_role("button", name="Preview", exact=True).click()
    expect(window.page.get_by_role("alert")).to_contain_text("a preview takes up to 20,000")
    assert len(window.page.get_by_role("alert").inner_text()) < 200


# --- what Airflow knows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tab", "shown"), [("cleanup", "No cleanup is among"), ("history", "No export is among")])
def test_emptiness_of_an_incomplete_search_is_not_claimed(tab: str, shown: str, page: Page, site: Site) -> None:
    others = [instance("EmptyOperator", f"t{n}") for n in range(100)]
    show_tasks(page, *others, total=100_000)  # as Airflow 3.1 does, which ignores the operator
    go(page, site, f"?tab={tab}")
    expect(page.get_by_text(shown)).to_be_visible()


def test_archives_of_flows_and_runs_are_described(page: Page, site: Site) -> None:
    counts = {"selected": 1, "deleted": 1, "spared": 0, "dry_run": False}
    flows = {**counts, "archive": "s3://b/it's.flows.jsonl", "outcomes": [{"flow_id": "f", "outcome": "deleted"}]}
    runs = {**counts, "archive": "s3://b/a.runs.jsonl", "outcomes": [{"run_id": "r", "outcome": "deleted"}]}
    show_tasks(
        page,
        instance("PruneFlowsOperator", "of_flows", fields={"vi_conn_id": "vi_vault"}),
        instance("PruneRunsOperator", "of_runs"),
        instance("ExportRunsOperator", "export"),
        of_flows=flows,
        of_runs=runs,
        export={"count": 7, "uri": "s3://b/runs.jsonl", "added": 1, "removed": 0, "changed": 0},
    )
    go(page, site, "?tab=history")
    expect(page.get_by_role("region", name="Last exports")).to_contain_text("7 runs")
    cards = page.get_by_role("region", name="Last cleanups").locator("li.card")
    of_flows, of_runs = cards.filter(has_text="of_flows"), cards.filter(has_text="of_runs")
    of_flows.locator("summary").first.click()
    expect(of_flows).to_contain_text('if_exists="skip", vi_conn_id="vi_vault")')
    expect(of_flows).to_contain_text("restore 's3://b/it'\\''s.flows.jsonl' --if-exists skip --conn-id vi_vault")
    of_runs.locator("summary").first.click()
    expect(of_runs).to_contain_text("A run cannot be restored")
    assert "RestoreFlowsOperator" not in of_runs.inner_text()


def test_copy_selects_the_text_where_the_clipboard_is_refused(page: Page, site: Site) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")  # as over plain HTTP
    show_tasks(page, instance("ExportFlowsOperator", "export"), export={"count": 1, "uri": "s3://b/e.jsonl"})
    go(page, site, "?tab=history")
    page.get_by_role("button", name="Copy s3://b/e.jsonl").click()
    expect(page.get_by_text("Selected: press Ctrl+C")).to_be_visible()


def test_slow_airflow_is_not_blamed_on_vi(page: Page, site: Site) -> None:
    page.clock.install()
    page.route("**/api/v2/dags/~/dagRuns/~/taskInstances?*", lambda _: None)
    go(page, site, "?tab=history")
    page.clock.run_for(9_000)
    busy: Any = page.get_by_text("9 s: Airflow responds slowly.").first
    expect(busy).to_be_visible()
    assert "Vi responds" not in page.locator("main").last.inner_text()


def test_time_of_a_rescheduled_gate_is_a_bound(page: Page, site: Site) -> None:
    name = {"flow_name": "nightly"}
    since = {"start_date": "2026-01-02T03:04:05Z", "run_after": "2026-01-01T00:00:00Z"}
    gates = [
        instance("FlowExistsSensor", state, state=state, fields=name, **since)
        for state in ("up_for_reschedule", "running")
    ]
    show_tasks(page, *gates)
    go(page, site, "?tab=waiting")
    rows = page.get_by_role("region", name="What waits").get_by_role("row")
    expect(rows.filter(has_text="up_for_reschedule")).to_contain_text("2026-01-01 00:00")
    expect(rows.filter(has_text="up_for_reschedule")).to_contain_text("at most")
    expect(rows.filter(has_text="running")).to_contain_text("longer if it was rescheduled")


def test_chosen_tab_is_brought_into_view(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    go(page, site, "?tab=history")
    tab = page.get_by_role("tab", name="Audit and archives")
    expect(tab).to_be_in_viewport(ratio=0.9)
