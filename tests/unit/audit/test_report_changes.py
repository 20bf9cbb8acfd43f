"""The changes in the report: the verdict, what was removed, and what many documents have in common."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest

from tests.unit.audit.test_report import FACTS, HOSTILE, Page, flow, report
from vi_airflow_provider.audit.diff import Change, Changed, Diff, Ref, Removed
from vi_airflow_provider.audit.report.shared_changes import LEAST_SHARED

YESTERDAY: Final = replace(FACTS, compared_at=datetime(2026, 9, 29, 2, 0, tzinfo=UTC), compared_sha256="ab" * 32)
SHARED: Final = Change("spec.settings.epochs", "100", "200")


def plain(html: str) -> str:
    return re.sub("<.*?>", "", html)


def verdict(diff: Diff | None) -> str:
    (found,) = re.findall(r'<p class="verdict.*?</p>', report(diff=diff, facts=YESTERDAY))
    return plain(found)


@pytest.mark.parametrize(
    ("diff", "expected"),
    [
        (None, "Not compared with an earlier export: this is what the flows are."),
        (Diff(), "No flow has changed since 2026-09-29 02:00 UTC."),
        (Diff(added=[Ref("a", "A")]), "1 added flow since 2026-09-29 02:00 UTC."),
        (
            Diff([Ref("a", "A")], [Removed("b", "B", {})], [Changed("c", "C", [SHARED])]),
            "1 added, 1 removed and 1 changed flows since 2026-09-29 02:00 UTC.",
        ),
    ],
)
def test_verdict_is_one_sentence(diff: Diff | None, expected: str) -> None:
    assert verdict(diff) == expected


def test_date_and_checksum_of_the_other_export_are_shown() -> None:
    shown = plain(report(diff=Diff(), facts=YESTERDAY))
    assert f"Since 2026-09-29 02:00 UTC, s3://audit/2026-09-29/flows.jsonl, sha256 {'ab' * 32}" in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_last_version_of_a_removed_flow_is_shown(text: str) -> None:
    page = Page(report(diff=Diff(removed=[Removed("gone", text, {"spec": {"name": text, "x": float("nan")}})])))
    (last,) = page.texts["pre"]
    assert '"x": NaN' in last
    assert text in last or '"' in text


def changed(number: int, *own: Change) -> Changed:
    return Changed(f"id-{number}", f"Flow {number}", [SHARED, *own])


def test_change_of_several_flows_is_shown_once() -> None:
    alone = Change("spec.name", '"a"', '"b"')
    page = report(diff=Diff(changed=[changed(0, alone), *(changed(number) for number in range(1, LEAST_SHARED))]))
    assert page.count(f'<code class="path">{SHARED.path}</code>') == 1
    assert f"the same in {LEAST_SHARED} flows" in page
    (group,) = re.findall(r'<details class="changed-flow shared">.*?</ul>', page, re.DOTALL)
    assert re.findall("id-[0-9]</code>", group) == [f"id-{number}</code>" for number in range(LEAST_SHARED)]
    assert page.count("1 value, and 1 above") == 1
    assert page.count('<details class="changed-flow" open>') == 1


def test_change_of_few_flows_is_shown_with_each() -> None:
    page = report(diff=Diff(changed=[changed(number) for number in range(LEAST_SHARED - 1)]))
    assert page.count(f'<code class="path">{SHARED.path}</code>') == LEAST_SHARED - 1
    assert "the same in" not in page


def test_larger_groups_come_first() -> None:
    rare = Change("spec.rare", "1", "2")
    rows = [changed(number, *([rare] if number < LEAST_SHARED else [])) for number in range(LEAST_SHARED + 1)]
    paths = re.findall(r'shared"><summary><code class="path">(.*?)</code>', report(diff=Diff(changed=rows)))
    assert paths == [SHARED.path, rare.path]


def test_row_of_a_changed_flow_has_its_changes() -> None:
    rows = [Changed("b", "", [SHARED]), Changed("c", "", [Change("spec.name", '"x"', '"y"')])]
    flows = Page(report(flow("a"), flow("b"), flow("c"), diff=Diff(changed=rows))).flows
    assert [each.get("changes") for each in flows] == [
        None,
        [[SHARED.path, "100", "200"]],
        [["spec.name", '"x"', '"y"']],
    ]
