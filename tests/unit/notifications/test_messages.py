"""What a notification reports about each result."""

from __future__ import annotations

from typing import Any

import pytest

from vi_airflow_provider.notifications.messages import describe, escaped, is_eventful

DRY_RUN: dict[str, Any] = {"dry_run": True, "selected": 14, "deleted": 0, "spared": 2, "unmatched": [], "archive": None}
PRUNED = DRY_RUN | {"dry_run": False, "deleted": 12, "busy": 1, "failed": 1, "archive": "file:///a/x.flows.jsonl"}
IDLE = DRY_RUN | {"dry_run": False, "selected": 0, "spared": 0}
EXPORTED: dict[str, Any] = {
    "manifest_uri": "m", "count": 40, "report_uri": "file:///r.html", "added": 0, "removed": 1, "changed": 2,
}  # fmt: skip
RUN: dict[str, Any] = {
    "run_id": "r1", "state": "succeeded", "flow_name": "Weld <b>", "reason": None,
    "model": {"metrics": {"f1": 0.5}}, "best": {"metrics": {"f1": 0.91, "loss": None}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (DRY_RUN, "cleanup: dry run, 14 selected, 2 spared"),
        (PRUNED, "cleanup: 12 deleted, 1 busy, 1 failed, 2 spared; archive: file:///a/x.flows.jsonl"),
        (IDLE, "cleanup: nothing to do"),
        (DRY_RUN | {"unmatched": ["protect_ids"]}, "cleanup: dry run, 14 selected, 2 spared, unmatched rules: 1"),
        (EXPORTED, "audit: 40 exported, 1 removed, 2 changed; report: file:///r.html"),
        (EXPORTED | {"removed": 0, "changed": 0, "report_uri": None}, "audit: 40 exported, no changes"),
        (
            EXPORTED | {"added": None, "removed": None, "changed": None, "report_uri": None},
            "audit: 40 exported, nothing to compare with",
        ),
        (RUN, "run r1 of Weld &lt;b&gt;: succeeded; f1 0.91"),
        (RUN | {"state": "failed", "reason": "out of memory", "best": None, "model": None},
         "run r1 of Weld &lt;b&gt;: failed, out of memory"),
        (["ids"], None),
        (None, None),
        ({"flow_id": "f"}, None),
    ],
)  # fmt: skip
def test_result_is_described(result: Any, text: str | None) -> None:
    assert describe(result) == text


@pytest.mark.parametrize(
    ("result", "eventful"),
    [
        (DRY_RUN, True),
        (IDLE, False),
        (IDLE | {"unmatched": ["protect_ids"]}, True),
        (EXPORTED, True),
        (EXPORTED | {"removed": 0, "changed": 0}, False),
        (RUN, True),
        (None, True),
        ({"anything": 1}, True),
    ],
)
def test_only_what_changed_nothing_is_uneventful(result: Any, eventful: bool) -> None:
    assert is_eventful(result) is eventful


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@channel", "@\u200bchannel"),
        ("a-@here_@all@@x", "a-@\u200bhere_@\u200ball@@\u200bx"),
        ("s3://aws_default@bucket/key", "s3://aws_default@bucket/key"),
        ("[click](https://evil.example)", "[click]\u200b(https://evil.example)"),
        ("![](https://evil.example/t.png)", "![]\u200b(https://evil.example/t.png)"),
        ("<https://evil.example|click>", "&lt;https://evil.example|click&gt;"),
        ("f1_score (best) of [a] (b)", "f1_score (best) of [a] (b)"),
    ],
)
def test_foreign_text_mentions_and_links_nothing(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert describe(RUN | {"flow_name": text}) == f"run r1 of {shown}: succeeded; f1 0.91"


def test_foreign_text_has_no_markup_and_one_line() -> None:
    assert escaped("<!channel>\nfree & easy") == "&lt;!channel&gt; free &amp; easy"
