"""Each sample of the vendor's flows page has an equivalent in ``docs/vi-sdk-to-airflow.md`` that works."""

from __future__ import annotations

from typing import Final

import pytest

from tests.unit.docs.pages import blocks
from tests.unit.docs.samples import run
from tests.unit.docs.vi_server import Vi

PAGE: Final = "vi-sdk-to-airflow.md"

#: Title of each sample of the vendor, and what its equivalents must print or return.
VENDOR_SAMPLES: Final = {
    "Basic listing": ["Flow: flow_abc123", "Created: 1782864000123"],
    "Iterate through all pages with details": ["  Name: Weld seam defects", "  Blocks: 3", "2 flows, next page: 2"],
    "Find recent flows (last 7 days)": ["Found 1 recent flows", "'flow_id': 'new'"],
    "Collect all flows": ["Total flows: 4", "['flow_abc123', 'flow_in_use', 'tmp-1', 'new']"],
    "Basic usage": ["Flow ID: flow_abc123", "Name: Weld seam defects", "Blocks: 3", "'kind': 'Flow'"],
    "Display detailed information": ["Flow: Weld seam defects", "  Training project: weld-inspection"],
    "Inspect flow blocks": ["Blocks (3):", "  3. vlm-model", "      splitRatio: 0.2"],
    "Access flow settings": ["Global Settings:", "  seed: 7", "Tolerations:"],
    "Access specific properties": ["Organization: acme-vision", "Training Project: weld-inspection", "project: 'weld"],
    "Delete a flow": ["flow_abc123: deleted=True, already absent=False", "'outcome': 'deleted'"],
    "Delete with confirmation": ["Kept.\n", "Deleted.\n", "'outcome': 'would_delete'", "'outcome': 'deleted'"],
    "Response types": [],
}


@pytest.mark.parametrize("title", VENDOR_SAMPLES)
def test_each_vendor_sample_has_a_working_equivalent(
    title: str, busy_vi: Vi, capsys: pytest.CaptureFixture[str]
) -> None:
    equivalents = blocks(PAGE, "python", title)
    assert equivalents
    for block in equivalents:
        busy_vi.add("flow_abc123")  # an earlier block may have deleted it
        run(block)
    printed = capsys.readouterr().out
    for expected in VENDOR_SAMPLES[title]:
        assert expected in printed


def test_only_delete_samples_delete_flows(busy_vi: Vi) -> None:
    for block in blocks(PAGE, "python"):
        if not block.section.startswith("Delete"):
            run(block)
    assert list(busy_vi.flows) == ["flow_abc123", "flow_in_use", "tmp-1", "new"]
