"""Refuse a literal that can never be right when the DAG file is parsed, and not hours later, when its task runs.

Only plain values are judged here: a text without a template, a number, a time. A template, an XCom or a mapped value
is known when the task runs, and is checked then, by the same functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.validation import checked_id
from vi_airflow_provider.selection.arguments import (
    boolean,
    choice,
    duration,
    fraction,
    instant,
    optional_count,
    optional_seconds,
)

#: A text with other characters may be a template: a DAG can choose its own delimiters.
_PLAIN_TEXT: Final = re.compile(r"[\w\s:.,+/-]*")
_PLAIN: Final = (str, int, float, datetime, timedelta)

Check: TypeAlias = Callable[[str, Any], object]


def _identifier(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ViValidationError(f"{name}: {value!r:.80} is not a text; write {str(value)!r:.80}.")
    return checked_id(value, name)


#: What an argument of this name means, unless an operator or sensor gives it another one.
CHECKS: Final[Mapping[str, Check]] = {
    **dict.fromkeys(("older_than", "unchanged_for"), duration),
    **dict.fromkeys(("created_after", "created_before", "updated_after", "updated_before"), instant),
    **dict.fromkeys(("poll_interval", "max_queue_time", "max_duration", "grace"), optional_seconds),
    **dict.fromkeys(
        ("limit", "page_size", "keep_last", "keep_best", "keep_succeeded", "max_delete", "max_kill", "max_xcom_bytes"),
        optional_count,
    ),
    **dict.fromkeys(("concurrency", "max_runs", "min_generation", "max_failures"), optional_count),
    **dict.fromkeys(
        ("dry_run", "allow_unarchived", "fail_on_drift", "html_report", "csv_bom", "outputs", "newest", "absent"),
        boolean,
    ),
    **dict.fromkeys(("wait_for_completion", "wait", "tail_logs"), boolean),
    "max_delete_fraction": fraction,
    **dict.fromkeys(("flow_id", "run_id"), _identifier),
}


def refuse_literals(
    task_id: str,
    values: Mapping[str, Any],
    choices: Mapping[str, Collection[str]],
    required: Iterable[Collection[str]],
    checks: Mapping[str, Check] = CHECKS,
) -> None:
    """Check the arguments of a task as they are written in the DAG file.

    :param values: the arguments by their names
    :param choices: the values that an argument may have
    :param required: groups of arguments of which at least one must be given
    :param checks: what the other arguments mean
    :raises ViValidationError: a literal can never be right; the message names the task and the argument
    """
    try:
        for name, value in values.items():
            if is_literal(value):
                _check(name, value, choices.get(name), checks.get(name))
        for group in required:
            if all(values.get(name, "") is None for name in group):
                raise ViValidationError(f"one of {', '.join(group)} is required")
    except ViValidationError as error:
        reason = f"task {task_id!r}: {error.args[0]}"
    else:
        return
    raise ViValidationError(reason)


def is_literal(value: Any) -> bool:
    """Return whether a value is what the task will get: neither a template, nor absent, nor an object of Airflow's."""
    if isinstance(value, str):
        return _PLAIN_TEXT.fullmatch(value) is not None
    return isinstance(value, _PLAIN)


def _check(name: str, value: Any, allowed: Collection[str] | None, check: Check | None) -> None:
    if allowed is not None:
        choice(name, value, allowed)
    elif check is not None:
        check(name, value)
