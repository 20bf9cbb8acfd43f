"""What a notification reports: one short text for the result of a task, made of foreign names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vi_airflow_provider.api.errors import one_line

#: Chat services read these as markup: ``<!channel>`` would alert all members.
_MARKUP: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
#: Outcomes of a cleanup in the order in which they are reported.
_OUTCOMES: Final = ("deleted", "killed", "busy", "changed", "failed")
_CHANGES: Final = ("added", "removed", "changed")
_MAX_METRICS: Final = 5


def describe(result: Any) -> str | None:
    """Describe the result of a task in one line, ``None`` if it is not one that is known.

    :param result: the report of a cleanup, the result of an export, or the summary of a run
    """
    if not isinstance(result, Mapping):
        return None
    if "dry_run" in result and "selected" in result:
        return _cleanup(result)
    if "manifest_uri" in result and "count" in result:
        return _export(result)
    if "run_id" in result and "state" in result:
        return _run(result)
    return None


def is_eventful(result: Any) -> bool:
    """Return whether a result reports a change, so that a reader may want to hear of it. In doubt, it does."""
    if not isinstance(result, Mapping):
        return True
    if "dry_run" in result and "selected" in result:
        return bool(result["selected"] or result.get("unmatched"))
    if "manifest_uri" in result and "count" in result:
        return any(result.get(kind) for kind in _CHANGES)
    return True


def escaped(text: object, limit: int = 300) -> str:
    """Return foreign text on one line, without markup of chat services."""
    return one_line(str(text), limit).translate(_MARKUP)


def _cleanup(report: Mapping[str, Any]) -> str:
    if report["dry_run"]:
        text = f"dry run, {report['selected']} selected"
    else:
        counts = [f"{report[name]} {name}" for name in _OUTCOMES if report.get(name)]
        text = ", ".join(counts) or "nothing to do"
    spared = f", {report['spared']} spared" if report.get("spared") else ""
    unmatched = f", unmatched rules: {len(report['unmatched'])}" if report.get("unmatched") else ""
    archive = f"; archive: {escaped(report['archive'])}" if report.get("archive") else ""
    return f"cleanup: {text}{spared}{unmatched}{archive}"


def _export(result: Mapping[str, Any]) -> str:
    counts = [f"{result[kind]} {kind}" for kind in _CHANGES if result.get(kind)]
    known = any(result.get(kind) is not None for kind in _CHANGES)
    changes = ", ".join(counts) or ("no changes" if known else "nothing to compare with")
    report = f"; report: {escaped(result['report_uri'])}" if result.get("report_uri") else ""
    return f"audit: {result['count']} exported, {changes}{report}"


def _run(summary: Mapping[str, Any]) -> str:
    name = escaped(summary.get("flow_name") or summary.get("flow_id") or "a flow", 100)
    text = f"run {escaped(summary['run_id'])} of {name}: {escaped(summary['state'])}"
    reason = f", {escaped(summary['reason'])}" if summary.get("reason") else ""
    model = summary.get("best") or summary.get("model") or {}
    metrics = {name: value for name, value in (model.get("metrics") or {}).items() if isinstance(value, int | float)}
    listed = [f"{escaped(name, 40)} {value:g}" for name, value in list(metrics.items())[:_MAX_METRICS]]
    shown = f"; {', '.join(listed)}" if listed else ""
    return f"{text}{reason}{shown}"
