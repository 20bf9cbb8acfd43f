"""The page: what a person does with it, and what it does when Vi is slow, broken, empty or large."""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MANY, Open, Site
from tests.browser.support import ROWS, address, go, listing, respond
from vi_airflow_provider.emulator import Fault

HOSTILE = '<img src=x onerror="owned = true"><script>owned = true</script>'


def sideways(page: Page) -> Any:
    """How far the page is wider than its place."""
    return page.evaluate(
        "(({scrollWidth, clientWidth}) => scrollWidth - clientWidth)"
        "(document.querySelector('[data-testid=datature-vi]'))"
    )


# --- flows -----------------------------------------------------------------------------------------------------------


def test_menu_leads_to_the_page_and_back(page: Page, site: Site) -> None:
    page.goto(f"{site.airflow.url}/dags")
    for _ in range(2):
        page.get_by_role("button", name="Browse").click()
        page.get_by_role("menuitem", name="Datature Vi").click()
        expect(page.locator(ROWS).first).to_be_visible()
        page.get_by_role("link", name="Dags").first.click()
        expect(page.locator("[data-testid=datature-vi]")).to_have_count(0)


def test_flows_are_searched_sorted_and_opened(page: Page, site: Site) -> None:
    go(page, site)
    expect(page.get_by_text("60 flows", exact=True)).to_be_visible()
    page.get_by_role("searchbox").fill("weld")
    expect(page.get_by_text("of 60 flows")).to_be_visible()
    page.get_by_role("button", name="Flow", exact=True).click()
    names = page.locator(f"{ROWS} bdi").first
    expect(names).to_contain_text("Weld seam")
    first = page.locator(f"{ROWS} button").first
    first.click()
    expect(page.locator("svg.pipeline")).to_be_visible()
    expect(page.get_by_role("region", name="Spec as JSON")).to_contain_text('"blocks"')
    assert (page.get_by_role("link", name="Open in Vi").get_attribute("href") or "").startswith(site.vi.url)
    assert {"q": ["weld"], "sort": ["name"]}.items() <= address(page).items()


def test_address_restores_the_view(page: Page, site: Site, open_as: Open) -> None:
    go(page, site)
    page.get_by_role("combobox", name="Training project").select_option(index=1)
    page.get_by_role("combobox", name="Age").select_option(">30")
    page.locator(f"{ROWS} button").first.click()
    expect(page.locator("svg.pipeline")).to_be_visible()
    shown = page.locator(ROWS).all_inner_texts()
    other = open_as().page
    other.goto(page.url)
    expect(other.locator("svg.pipeline")).to_be_visible()
    assert other.locator(ROWS).all_inner_texts() == shown


def test_text_of_a_flow_is_never_markup(page: Page, site: Site) -> None:
    times = {"generation": 1, "created": 0, "updated": 0}
    flow = {"id": "x", "name": HOSTILE, "project": HOSTILE, "attributes": {HOSTILE: HOSTILE}, "blocks": 1, **times}
    block = {"block": HOSTILE, "settings": {HOSTILE: HOSTILE}}
    spec = {"name": HOSTILE, "schema": HOSTILE, "tolerations": {HOSTILE: [HOSTILE]}, "blocks": [block]}
    answers = {"flows": listing({**flow, "url": "https://vi.example.com"}), "flows/x": {"spec": spec}}
    for path, answer in answers.items():
        page.route(f"**/vi_default/{path}", partial(respond, answer))
    go(page, site, "?open=x")
    expect(page.locator(f"{ROWS} bdi").first).to_have_text(HOSTILE)
    expect(page.locator("svg.pipeline")).to_be_visible()
    assert page.evaluate("typeof owned") == "undefined"


def test_five_thousand_flows_stay_smooth(page: Page, site: Site) -> None:
    go(page, site, "?conn=vi_large")
    expect(page.get_by_text(f"{MANY:,} flows", exact=True)).to_be_visible()
    assert page.locator(ROWS).count() <= 200
    took = page.evaluate("""() => {
        const root = document.querySelector("[data-testid=datature-vi]").shadowRoot;
        const start = performance.now();
        root.querySelector("th[data-sort=name] button").click();
        return performance.now() - start;
    }""")
    assert took < 1000
    expect(page.get_by_role("combobox", name="Connection")).to_have_value("vi_large")


# --- cleanup ---------------------------------------------------------------------------------------------------------


def test_typed_policy_is_previewed_and_deletes_nothing(page: Page, site: Site) -> None:
    go(page, site, "?tab=cleanup")
    page.get_by_label("Older than").fill("P1D")
    page.get_by_label("Protect names like").fill("Weld*\nno-such-name*")
    page.get_by_label("Guard: at most this many").fill("3")
    page.get_by_role("button", name="Preview", exact=True).click()
    expect(page.get_by_role("heading", level=3)).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("more than max_delete (3)")
    expect(page.get_by_text("protected by name (Weld*)").first).to_be_visible()
    expect(page.get_by_text("protect_names: no-such-name*")).to_be_visible()
    assert json.loads(address(page)["policy"][0])["older_than"] == "P1D"
    # Only runs are written, by the example DAGs.
    assert not [request for request in site.vi.requests if request.method != "GET" and "/runs" not in request.path]


def test_shared_policy_is_previewed_at_once(page: Page, site: Site) -> None:
    go(page, site, f"?tab=cleanup&policy={quote(json.dumps({'keep_last': '1'}))}")
    expect(page.get_by_role("heading", level=3)).to_be_visible()
    expect(page.get_by_label("Keep the last … per project")).to_have_value("1")
    expect(page.get_by_label("Older than")).to_have_value("")


def test_unusable_policy_is_explained(open_as: Open, site: Site) -> None:
    window = open_as()
    window.expected = ["422"]
    go(window.page, site, "?tab=cleanup")
    window.page.get_by_label("Older than").fill("ninety")
    window.page.get_by_role("button", name="Preview", exact=True).click()
    expect(window.page.get_by_role("alert")).to_contain_text("older_than")


# --- what Airflow knows; test_airflow_forms has triggered the DAGs ---------------------------------------------------


def test_policy_of_the_last_cleanup_is_taken_over(page: Page, site: Site) -> None:
    go(page, site, "?tab=cleanup")
    card = page.locator("li.card").filter(has_text="prune_stale_flows")
    card.get_by_role("button", name="Preview its policy").click()
    expect(page.get_by_role("heading", level=3)).to_be_visible()
    expect(page.get_by_label("Older than")).to_have_value("P90D")
    link = card.get_by_role("link", name="Open the DAG to trigger it")
    expect(link).to_have_attribute("href", f"{site.airflow.url}/dags/prune_stale_flows")


def test_waiting_gate_is_shown_with_its_flow(page: Page, site: Site) -> None:
    go(page, site, "?tab=waiting")
    row = page.get_by_role("region", name="What waits").get_by_role("row").filter(has_text="gate_training_on_flow")
    expect(row).to_contain_text("Weld seam defects - nightly")
    expect(row).to_contain_text("vi_default")


def test_last_export_and_cleanup_are_shown(page: Page, site: Site) -> None:
    go(page, site, "?tab=history")
    exports = page.get_by_role("region", name="Last exports").locator("li.card")
    expect(exports.filter(has_text="audit_flow_specs").first).to_contain_text("60 flows")
    cleanups = page.get_by_role("region", name="Last cleanups").locator("li.card")
    expect(cleanups.filter(has_text="prune_stale_flows").first).to_contain_text("dry run")


def test_runs_are_filtered_and_opened(page: Page, site: Site) -> None:
    go(page, site, "?tab=waiting")
    page.get_by_role("button", name="succeeded", exact=False).first.click()
    expect(page.locator(f"{ROWS} .pill").first).to_have_text("succeeded")
    page.locator(f"{ROWS} button").first.click()
    expect(page.get_by_role("region", name="Checkpoints")).to_be_visible()
    expect(page.locator("svg.curve").first).to_be_visible()
    expect(page.get_by_role("region", name="Metrics").locator("tbody tr").first).to_be_visible()
    assert address(page)["state"] == ["succeeded"]


# --- slowness, errors, emptiness -------------------------------------------------------------------------------------


def test_slow_listing_shows_its_progress(page: Page, site: Site) -> None:
    site.large.configure(latency_ms=150)
    try:
        page.goto(f"{site.airflow.url}/plugin/vi?conn=vi_large")
        page.get_by_role("button", name="Refresh").click()
        expect(page.get_by_text("so far.")).to_be_visible()
        expect(page.get_by_text(f"{MANY:,} flows", exact=True)).to_be_visible()
    finally:
        site.large.configure(latency_ms=0)


def test_error_is_shown_and_can_be_tried_again(open_as: Open, site: Site) -> None:
    window = open_as()
    window.expected = ["502"]
    page = window.page
    go(page, site, "?conn=vi_large")  # no DAG reads it, and would use up the fault
    expect(page.locator(ROWS).first).to_be_visible()
    site.large.faults.add(Fault(status=503, times=1))
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("alert")).to_contain_text("The service has a problem")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(ROWS).first).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_organization_without_flows_is_described(page: Page, site: Site) -> None:
    page.route("**/vi_default/flows", partial(respond, listing()))
    go(page, site)
    expect(page.get_by_text("The organization acme has no flows.")).to_be_visible()


# --- keyboard, themes, widths ----------------------------------------------------------------------------------------


def test_tabs_and_rows_work_with_the_keyboard(page: Page, site: Site) -> None:
    go(page, site)
    page.get_by_role("tab", name="Flows").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Cleanup preview")).to_be_focused()
    expect(page.get_by_role("tab", name="Cleanup preview")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Home")
    expect(page.get_by_role("tab", name="Flows")).to_be_focused()
    page.locator(f"{ROWS} button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(f"{ROWS} button").first).to_have_attribute("aria-expanded", "true")


def test_colours_follow_the_theme_of_airflow(page: Page, site: Site) -> None:
    go(page, site)
    colour = "getComputedStyle(document.querySelector('[data-testid=datature-vi]')).backgroundColor"
    seen = {}
    for theme in ("light", "dark"):
        page.evaluate(f"localStorage.setItem('theme', '{theme}')")
        page.reload()
        expect(page.locator(ROWS).first).to_be_visible()
        seen[theme] = page.evaluate(colour)
    assert seen["light"] != seen["dark"]


@pytest.mark.parametrize("tab", ["Flows", "Cleanup preview", "Gates and runs", "Audit and archives"])
def test_nothing_is_wider_than_the_window(tab: str, page: Page, site: Site) -> None:
    go(page, site)
    page.get_by_role("tab", name=tab).click()
    if tab == "Cleanup preview":
        page.get_by_role("button", name="Preview", exact=True).click()
        expect(page.get_by_role("heading", level=3)).to_be_visible()
    elif tab == "Audit and archives":
        expect(page.get_by_role("region", name="Last exports").locator("li.card").first).to_be_visible()
    else:
        page.locator(f"{ROWS} button").first.click()
        expect(page.locator("tr.detail dl").first).to_be_visible()
    for width in (390, 768, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("width => innerWidth === width", arg=width)
        assert sideways(page) <= 0, width
