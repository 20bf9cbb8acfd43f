"""The HTML report of runs in a browser: curves of metrics, and the comparison of the runs of a flow."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from tests.documents import wire_run, wire_run_output
from vi_airflow_provider.api.models import Run, RunOutput
from vi_airflow_provider.audit.report import ReportFacts, write_report
from vi_airflow_provider.audit.run_record import RunRecord, record_run

HOSTILE: Final = '</script><script>owned = true</script><img src=x onerror="owned = true"><!--'
EXPORTED_AT: Final = datetime(2026, 7, 10, 2, 0, tzinfo=UTC)


def record(run_id: str, values: list[float], **changes: Any) -> RunRecord:
    outputs = [
        wire_run_output(
            runOutputId=f"ckpt-{epoch}",
            spec__epoch=epoch,
            spec__evaluationMetrics={"f1": value, "val_loss": 1 - value, HOSTILE: value},
        )
        for epoch, value in enumerate(values)
    ]
    run = Run.model_validate(wire_run(runId=run_id, **changes))
    return record_run(run, [RunOutput.model_validate(output) for output in outputs])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    other = {"vi_airflow.flow_id": "other"}
    runs = [
        record("alone", [0.1], metadata__attributes=other, spec__flow__name=HOSTILE),
        record("first", [0.2, 0.8, 0.5]),
        record("second", [0.3, float("nan"), 0.6], spec__flow__settings={"seed": HOSTILE}),
    ]
    path = tmp_path_factory.mktemp("report") / "runs.html"
    facts = ReportFacts("acme", EXPORTED_AT, len(runs), "0" * 64, "file:///runs.jsonl", None, "1.0.0", noun="run")
    with Path(path).open("w", encoding="utf-8") as file:
        write_report(file, facts, runs, None)
    return path.as_uri()


def test_curve_of_a_run_follows_the_chosen_metric(page: Page, report: str) -> None:
    page.goto(f"{report}#q=first&expand=first")
    page.locator(".detail select").select_option("val_loss")
    curve = page.locator(".detail svg.curve")
    expect(curve.locator("title").first).to_have_text("val_loss over epochs")
    expect(curve.locator("circle")).to_have_count(3)
    expect(curve.locator("> desc")).to_have_text(re.compile("^first: 0.8 at epoch 0, 0.2 at epoch 1"))


def test_runs_of_a_flow_are_compared(page: Page, report: str) -> None:
    page.goto(report)
    metric = page.locator("#compared select").nth(1)
    metric.select_option("f1")
    expect(page.locator("#compared svg.curve path.line")).to_have_count(2)
    # NaN is no point of a curve.
    assert page.locator("#compared circle.series-1").count() in (2, 3)
    assert page.locator("#compared circle").count() == 5
    rows = [row.locator("td, th").all_text_contents() for row in page.locator(".compared tbody tr").all()]
    assert {row[0]: row[2] for row in rows} == {"first": "0.8", "second": "0.6"}
    assert any(f"settings.seed={HOSTILE}" in row[4] for row in rows)
    metric.select_option("val_loss")
    expect(page.locator(".compared td.number").filter(has_text=re.compile("^0.2$"))).to_be_visible()


def test_run_report_keeps_data_text_and_fits_a_phone(page: Page, report: str) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(f"{report}#expand=alone&expand=second")
    expect(page.locator(".detail svg.curve")).to_have_count(2)
    assert page.evaluate("typeof owned") == "undefined"
    assert page.evaluate("[document.scripts.length, document.images.length]") == [2, 0]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
