"""What a notification reports: one short text for the end of a task or a DAG run, made of foreign names.

Callbacks have different contexts. In a worker, the task instance has its final state, and a failure its exception. The
DAG processor calls the callbacks of tasks that were killed or lost, without state and exception, and those of DAGs,
with a ``reason``. The callback of a deadline gets nothing but the deadline and the DAG run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from airflow.providers.common.compat.sdk import redact

from vi_airflow_provider.api.errors import one_line

#: Slack reads these as markup: ``<!channel>`` would alert all members.
_MARKUP: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
#: Mattermost and Teams read these as a mention, and as the middle of a Markdown link or image. The ``@`` of an address,
#: as in ``s3://aws_default@bucket``, mentions no one.
_MENTION: Final = re.compile(r"(?<![^\W_])@")
_LINK: Final = "]("
#: Invisible, and ends both of them.
_BREAK: Final = "\u200b"
#: Outcomes of a cleanup in the order in which they are reported.
_OUTCOMES: Final = ("deleted", "killed", "busy", "changed", "failed")
_CHANGES: Final = ("added", "removed", "changed")
_MAX_METRICS: Final = 5
#: States in which a task instance has failed, for good or until its next try.
_FAILED: Final = ("failed", "up_for_retry")


def failure_of(context: Mapping[str, Any]) -> str | None:
    """Return what has failed, as the rest of a sentence; ``None`` if no failure is known.

    :param context: the context of the callback
    """
    if "deadline" in context:
        return f": {_deadline(context)}"
    ti, error, reason = context.get("ti"), context.get("exception"), context.get("reason")
    where = "" if ti is None else f" {escaped(ti.task_id)}"
    if error is not None:
        return f"{where} failed: {escaped(redact(str(error)))}"
    if reason not in (None, "success"):
        return f": DAG run {escaped(context.get('run_id'))} failed: {escaped(reason)}"
    return f"{where} failed" if getattr(ti, "state", None) in _FAILED else None


def end_of(context: Mapping[str, Any], result: Any) -> str:
    """Return how a task or a DAG run of which no failure is known has ended, as the rest of a sentence.

    :param context: the context of the callback
    :param result: what the task has returned
    """
    ti = context.get("ti")
    where = "" if ti is None else f" {escaped(ti.task_id)}"
    state = getattr(ti, "state", None)
    if (known := describe(result)) is not None:
        return f"{where}: {known}"
    if context.get("reason") == "success" or state == "success":
        return f"{where}: done"
    return f"{where}: skipped" if state == "skipped" else f"{where} ended without a result: it may have failed"


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
    """Return foreign text on one line, without mentions, links and images of chat services."""
    line = one_line(str(text), limit).translate(_MARKUP)
    return _MENTION.sub(f"@{_BREAK}", line).replace(_LINK, _BREAK.join(_LINK))


def _deadline(context: Mapping[str, Any]) -> str:
    run: Any = context.get("dag_run")
    facts = run if isinstance(run, Mapping) else {}
    name = f"DAG run {escaped(facts['dag_run_id'])}" if facts.get("dag_run_id") else "a DAG run"
    of_dag = f" of {escaped(facts['dag_id'])}" if facts.get("dag_id") else ""
    deadline: Any = context["deadline"]
    due = deadline.get("deadline_time") if isinstance(deadline, Mapping) else None
    return f"{name}{of_dag} has missed its deadline{f' of {escaped(due)}' if due else ''}"


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
