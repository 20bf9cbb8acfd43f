"""The HTML report: what is in the page, and that data cannot become anything but text."""

from __future__ import annotations

import hashlib
import io
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.audit.diff import ABSENT, Change, Changed, Diff, Ref, Removed
from vi_airflow_provider.audit.report import MOST_AT_ONCE, OPEN_CHANGES, ReportFacts, embedded_json, write_report
from vi_airflow_provider.emulator.store.samples import sample_flows

EXPORTED_AT: Final = datetime(2026, 9, 30, 2, 0, tzinfo=UTC)
EXPORTED_MS: Final = int(EXPORTED_AT.timestamp() * 1000)
DAY_MS: Final = 86_400_000
FACTS: Final = ReportFacts(
    organization_id="acme-vision",
    exported_at=EXPORTED_AT,
    count=2,
    sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    uri="s3://audit/2026-09-30/flows.jsonl",
    compared_to="s3://audit/2026-09-29/flows.jsonl",
    provider_version="1.2.3",
)
HOSTILE: Final = (
    "<script>owned()</script>",
    "</script><script>owned()</script>",
    "<!--<script>",
    "]]>\u2028\u2029",
    '" onmouseover="owned()',
    "&lt;b&gt;&amp;",
    "{{documents}} {{script}}",
)


def flow(flow_id: str = "flow-1", *, updated: int = EXPORTED_MS, **spec: Any) -> Flow:
    return Flow.model_validate(
        {
            "kind": "Flow",
            "workspaceId": "acme-vision",
            "flowId": flow_id,
            "spec": {"name": "Weld", "schema": "v1", "tolerations": {}, "settings": {}, "blocks": [], **spec},
            "metadata": {"timeCreated": 0, "lastUpdated": updated, "generation": 1, "attributes": {}},
            "selfLink": "",
            "etag": "",
        }
    )


def report(*flows: Flow, diff: Diff | None = None, facts: ReportFacts = FACTS) -> str:
    file = io.StringIO()
    write_report(file, facts, iter(flows), diff)
    return file.getvalue()


class Page(HTMLParser):
    """What a browser would see: elements, their attributes, and the text of each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.elements: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in {"meta", "link", "input"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "each element is closed, in order"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    @property
    def flows(self) -> list[dict[str, Any]]:
        data, _code = self.texts["script"]
        flows: list[dict[str, Any]] = json.loads(data)
        return flows


def attributes_of(text: str, tag: str) -> list[str]:
    return [value for of, _name, value in Page(text).attributes if of == tag]


# --- data stays text -------------------------------------------------------------------------------------------------


def json_values(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    exact = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    texts |= st.sampled_from(HOSTILE)
    return st.recursive(
        st.none() | st.booleans() | exact | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    )


@given(json_values(st.text(st.characters(exclude_categories=()))))
def test_embedded_json_keeps_the_value_and_cannot_end_its_script(value: Any) -> None:
    text = embedded_json(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert not set("<>&\n") & set(text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2**53, "9007199254740992"), (-(10**20), "-100000000000000000000"), (float("inf"), "inf"), (float("nan"), "nan")],
)
def test_numbers_that_javascript_would_round_or_refuse_are_text(value: float, shown: str) -> None:
    assert json.loads(embedded_json({"deep": [value]})) == {"deep": [shown]}


def page_of(text: str, setting: Any) -> Page:
    """A page that has a text everywhere a text can be."""
    diff = Diff(
        added=[Ref(text, text)],
        removed=[Removed(text, text, {"spec": {"name": text}})],
        changed=[Changed(text, text, [Change(text, "1", text)])],
    )
    facts = replace(FACTS, organization_id=text, uri=text, compared_to=text or "-", sha256=text, provider_version=text)
    one = flow(name=text, blocks=[{"block": text, "settings": {"value": setting}, "style": {}}])
    return Page(report(one, diff=diff, facts=facts))


@given(st.text(max_size=100) | st.sampled_from(HOSTILE), json_values(st.text()))
def test_content_of_a_flow_does_not_change_the_elements_of_the_page(text: str, setting: Any) -> None:
    plain, page = page_of("plain", 1), page_of(text, setting)
    assert page.elements == plain.elements
    assert [(tag, name) for tag, name, _ in page.attributes] == [(tag, name) for tag, name, _ in plain.attributes]
    assert page.flows[0]["spec"]["blocks"] == [{"block": text, "settings": {"value": setting}}]


@pytest.mark.parametrize("text", [*HOSTILE, "\ud800"])
def test_names_and_values_of_changes_are_shown_verbatim(text: str) -> None:
    page = Page(report(diff=Diff(changed=[Changed("id", text, [Change("spec.name", text, ABSENT)])])))
    shown = text.encode("utf-8", "replace").decode()
    assert shown in page.texts["bdi"]
    assert shown in page.texts["code"]
    assert "absent" in page.texts["em"]


# --- self-contained --------------------------------------------------------------------------------------------------


def test_page_refers_to_nothing_outside_itself() -> None:
    text = report(flow(), diff=Diff(added=[Ref("flow-1", "Weld")]))
    references = {value for _tag, name, value in Page(text).attributes if name in {"href", "src", "srcset", "action"}}
    assert references == {"data:,", "#documents", "#added", "#expand=flow-1"}
    style = "".join(Page(text).texts["style"])
    assert "url(" not in style
    assert "@import" not in style


def test_content_security_policy_allows_one_style_and_one_script() -> None:
    text = report(flow())
    page = Page(text)
    policy = next(value for value in attributes_of(text, "meta") if "default-src" in value)
    (style,), (_data, script) = page.texts["style"], page.texts["script"]
    for directive, content in (("style-src", style), ("script-src", script)):
        digest = b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not [name for _tag, name, _value in page.attributes if name == "style" or name.startswith("on")]


def test_script_never_turns_text_into_markup() -> None:
    _data, script = Page(report()).texts["script"]
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("):
        assert way not in script


# --- streaming -------------------------------------------------------------------------------------------------------


def test_each_flow_is_written_before_the_next_is_read() -> None:
    file = io.StringIO()

    def flows() -> Iterator[Flow]:
        assert "Content-Security-Policy" in file.getvalue()
        for number in range(50):
            yield flow(f"flow-{number}")
            assert f'"flow-{number}"' in file.getvalue()

    write_report(file, FACTS, flows(), None)
    assert [shown["id"] for shown in Page(file.getvalue()).flows] == [f"flow-{number}" for number in range(50)]


def test_same_input_gives_the_same_page() -> None:
    flows = [Flow.model_validate(document) for document in sample_flows(20, "seed", "acme-vision", EXPORTED_MS)]
    again = [Flow.model_validate(dict(reversed(one.to_wire().items()))) for one in flows]
    diff = Diff(added=[Ref(flows[0].flow_id, flows[0].spec.name)])
    assert report(*flows, diff=diff) == report(*again, diff=diff)


def test_time_zone_of_the_caller_does_not_matter() -> None:
    elsewhere = replace(FACTS, exported_at=EXPORTED_AT.astimezone(ZoneInfo("Asia/Singapore")))
    assert report(flow(), facts=elsewhere) == report(flow())


# --- what the page shows ---------------------------------------------------------------------------------------------


def cards(text: str) -> dict[str, str]:
    found = re.findall(r'<div class="card[^"]*"><dt>(.*?)</dt><dd>(.*?)</dd>', text)
    return {label: re.sub(r"<.*?>", "", value) for label, value in found}


def test_cards_show_counts_and_identity_of_the_export() -> None:
    diff = Diff([Ref("a", "A")], [], [Changed("b", "B", [Change("spec.name", '"A"', '"B"')])])
    assert cards(report(diff=diff, facts=replace(FACTS, count=5000))) == {
        "Flows": "5,000",
        "Added": "1",
        "Removed": "0",
        "Changed": "1",
        "Organization": "acme-vision",
        "Exported": "2026-09-30 02:00 UTC",
        "SHA-256": "9f86d081884c…",
    }


def test_selection_and_caveats_are_a_banner() -> None:
    page = report(flow(), facts=replace(FACTS, selection=f"name_pattern={HOSTILE[0]!r}", caveats=HOSTILE))
    assert "Not the whole organization." in page
    assert page.count('<p class="caveat" role="note">') == 1 + len(HOSTILE)
    assert Page(page).elements.count("script") == 2
    assert 'class="caveat"' not in report(flow())
    assert "<dt>Selection</dt><dd><code>all flows</code></dd>" in report(flow())


def test_report_without_comparison_does_not_claim_no_changes() -> None:
    text = report(flow(), facts=replace(FACTS, compared_to=None))
    assert cards(text)["Added"] == "–"  # noqa: RUF001 - a dash
    assert "This export was not compared with an earlier one." in text
    assert "Nothing was added" not in text


def test_comparison_without_changes_names_the_other_export() -> None:
    text = report(flow(), diff=Diff())
    assert "Nothing was added, removed or changed." in text
    assert "<p class=\"quiet\">Since <code>s3://audit/2026-09-29/flows.jsonl</code></p>" in text  # fmt: skip


def test_long_value_is_folded_with_the_difference_in_view() -> None:
    old, new = (f'"{"same words " * 40}{word} and the same end"' for word in ("before", "after"))
    text = report(diff=Diff(changed=[Changed("id", "Weld", [Change("spec.prompt", old, new)])]))
    for kind, value, differs in (("del", old, "before"), ("ins", new, "after")):
        summary, whole = re.findall(rf"<{kind}>.*?<summary><code>(.*?)</code>.*?</summary><code>(.*?)</code>", text)[0]
        assert f"<b>{differs}</b>" in summary
        assert f"<b>{differs}</b>" in whole
        assert len(summary) < 200
        assert re.sub("<.*?>", "", whole).replace("&quot;", '"') == value


@pytest.mark.parametrize(
    ("old", "new"), [("a" * 500, "a" * 501), ("a" * 500, ABSENT), ("x" * 200, "y" * 200), ("1", "2")]
)
def test_both_values_of_a_change_are_complete(old: str, new: str) -> None:
    text = report(diff=Diff(changed=[Changed("id", "Weld", [Change("path", old, new)])]))
    for kind, value in (("del", old), ("ins", new)):
        side = re.findall(rf"<{kind}>(.*?)</{kind}>", text)[0]
        assert value.strip("()") in re.sub("<.*?>", "", side)


def test_many_changed_flows_are_folded() -> None:
    changes = [Changed(f"id-{number}", "", [Change("a", "1", f"{number}")]) for number in range(OPEN_CHANGES + 1)]
    assert '<details class="changed-flow" open>' in report(diff=Diff(changed=changes[1:]))
    assert '<details class="changed-flow" open>' not in report(diff=Diff(changed=changes))


def test_table_marks_added_and_changed_flows() -> None:
    diff = Diff([Ref("b", "")], [Removed("z", "", {})], [Changed("c", "", [Change("a", "1", "2")])])
    flows = Page(report(flow("a"), flow("b"), flow("c"), diff=diff)).flows
    assert [shown["change"] for shown in flows] == ["", "added", "changed"]


def test_page_contains_the_canonical_spec() -> None:
    one = flow(blocks=[{"block": "dataset", "settings": {"n": 1}, "style": {"x": 1}}], futureField=[1])
    assert Page(report(one)).flows[0]["spec"] == one.spec.canonical()


@pytest.mark.parametrize(
    ("days", "bar"),
    [(-1, 0), (0, 0), (1, 1), (7, 1), (8, 2), (30, 2), (31, 3), (91, 4), (180, 4), (365, 5), (366, 6), (10**9, 6)],
)
def test_histogram_counts_flows_by_their_last_update(days: int, bar: int) -> None:
    (description,) = Page(report(flow(updated=EXPORTED_MS - days * DAY_MS))).texts["desc"]
    counts = [part.rpartition(": ")[2] for part in description.split("; ")]
    assert counts == ["1" if at == bar else "0" for at in range(7)]


def test_histogram_of_no_flows_is_drawn() -> None:
    text = report()
    assert Page(text).flows == []
    assert 'height="0"' in text


def test_time_just_under_a_day_is_less_than_a_day() -> None:
    almost = EXPORTED_AT - timedelta(days=1) + timedelta(milliseconds=1)
    assert "&lt; 1 days: 1" in report(flow(updated=round(almost.timestamp() * 1000)))


def test_many_changes_are_folded_after_the_first() -> None:
    for number, folds in ((MOST_AT_ONCE, 0), (MOST_AT_ONCE + 1, 3)):
        refs = [Ref(f"id-{each}", "") for each in range(number)]
        removed = [Removed(each.id, "", {}) for each in refs]
        page = report(diff=Diff(refs, removed, [Changed(each.id, "", [Change(each.id, "1", "2")]) for each in refs]))
        assert page.count('<details class="rest">') == folds
