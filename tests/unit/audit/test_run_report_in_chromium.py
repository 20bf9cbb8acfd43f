"""The HTML report of runs in a browser: curves of metrics, and the comparison of the runs of a flow."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from tests.documents import wire_run, wire_run_output
from tests.unit.audit.browser import Tab, needs_chromium
from vi_airflow_provider.api.models import Run, RunOutput
from vi_airflow_provider.audit.report import ReportFacts, write_report
from vi_airflow_provider.audit.run_record import RunRecord, record_run

pytestmark = needs_chromium

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


async def choose(tab: Tab, selector: str, value: str) -> None:
    await tab.evaluate(
        f"(() => {{ const list = {selector}; list.value = {value!r}; list.dispatchEvent(new Event('change')); }})()"
    )


async def test_curve_of_a_run_follows_the_chosen_metric(tab: Tab, report: str) -> None:
    await tab.open(f"{report}#q=first&expand=first")
    await choose(tab, "document.querySelector('.detail select')", "val_loss")
    await tab.until("document.querySelector('.detail svg.curve title')?.textContent === 'val_loss over epochs'")
    assert await tab.evaluate("document.querySelectorAll('.detail svg.curve circle').length") == 3
    assert (await tab.texts(".detail svg.curve > desc"))[0].startswith("first: 0.8 at epoch 0, 0.2 at epoch 1")


async def test_runs_of_a_flow_are_compared(tab: Tab, report: str) -> None:
    await tab.open(report)
    await choose(tab, "document.querySelectorAll('#compared select')[1]", "f1")
    await tab.until("document.querySelectorAll('#compared svg.curve path.line').length === 2")
    # NaN is no point of a curve.
    assert await tab.evaluate("document.querySelectorAll('#compared circle.series-1').length") in (2, 3)
    assert await tab.evaluate("document.querySelectorAll('#compared circle').length") == 5
    rows = await tab.evaluate(
        "[...document.querySelectorAll('.compared tbody tr')].map((row) => [...row.cells].map((c) => c.textContent))"
    )
    assert {row[0]: row[2] for row in rows} == {"first": "0.8", "second": "0.6"}
    assert any(f"settings.seed={HOSTILE}" in row[4] for row in rows)
    await choose(tab, "document.querySelectorAll('#compared select')[1]", "val_loss")
    rows = await tab.evaluate("[...document.querySelectorAll('.compared td.number')].map((c) => c.textContent)")
    assert "0.2" in rows


async def test_run_report_keeps_data_text_and_fits_a_phone(tab: Tab, report: str) -> None:
    await tab.call("Emulation.setDeviceMetricsOverride", width=390, height=900, deviceScaleFactor=1, mobile=False)
    await tab.open(f"{report}#expand=alone&expand=second")
    await tab.until("document.querySelectorAll('.detail svg.curve').length === 2")
    assert await tab.evaluate("typeof owned") == "undefined"
    assert await tab.evaluate("[document.scripts.length, document.images.length]") == [2, 0]
    assert await tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.events_of("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled") == []
