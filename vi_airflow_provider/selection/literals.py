"""Refuse a literal that can never be right when the DAG file is parsed, and not hours later, when its task runs.

Only plain values are judged here: a text without a template, a number, a time. A template, an XCom or a mapped value
is known when the task runs, and is checked then, by the same functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.validation import checked_attributes
from vi_airflow_provider.selection.arguments import (
    boolean,
    choice,
    count,
    duration,
    flag,
    fraction,
    identifier,
    instant,
    optional_count,
    optional_seconds,
    optional_text,
    seconds,
    text,
)
from vi_airflow_provider.selection.best_metric import best_metric
from vi_airflow_provider.selection.collection_arguments import (
    Attributes,
    ProtectedAttributes,
    ProtectedTexts,
    States,
    Texts,
    check_of,
    document_list,
)
from vi_airflow_provider.selection.combinations import Combination

#: A text with other characters may be a template if a DAG has chosen its own delimiters.
_PLAIN_TEXT: Final = re.compile(r"[\w\s:.,+/-]*")
_PLAIN: Final = (str, int, float, datetime, timedelta, type(None))
#: Choices of which ``None`` means the default.
_OPTIONAL_CHOICES: Final = frozenset({"age_of", "format"})

Check: TypeAlias = Callable[[str, Any], object]


def optional(check: Check) -> Check:
    """Return a check that accepts ``None``, too."""

    def checked(name: str, value: Any) -> object:
        return None if value is None else check(name, value)

    return checked


def wire_attributes(_name: str, value: Any, *, removable: bool = False) -> object:
    """Check the attributes that a document is to have."""
    return None if value is None else checked_attributes(value, removable=removable)


#: What an argument of this name means, unless an operator or sensor gives it another one.
CHECKS: Final[Mapping[str, Check]] = {
    **dict.fromkeys(("older_than", "unchanged_for"), optional(duration)),
    **dict.fromkeys(("created_after", "created_before", "updated_after", "updated_before"), optional(instant)),
    **dict.fromkeys(("max_queue_time", "max_duration"), optional_seconds),
    **dict.fromkeys(
        ("limit", "keep_last", "keep_best", "keep_succeeded", "max_xcom_bytes", "min_generation", "max_failures"),
        optional_count,
    ),
    **dict.fromkeys(("max_delete", "max_kill"), count),
    **dict.fromkeys(("concurrency", "max_runs"), partial(count, low=1)),
    **dict.fromkeys(("dry_run", "fail_on_drift", "html_report", "csv_bom", "outputs", "newest"), boolean),
    **dict.fromkeys(("wait_for_completion", "wait", "tail_logs"), boolean),
    **dict.fromkeys(("allow_unarchived", "cancel_on_kill", "deferrable"), flag),
    **dict.fromkeys(("flow_id", "run_id"), optional(identifier)),
    **dict.fromkeys(("name_pattern", "training_project", "flow_name", "namespace"), optional_text),
    **dict.fromkeys(("expected_digest", "expected_etag"), optional_text),
    "vi_conn_id": text,
    **dict.fromkeys(("protect_ids", "protect_names"), check_of(ProtectedTexts)),
    **dict.fromkeys(("required_blocks", "flow_ids"), check_of(Texts)),
    "absent": optional(boolean),
    "attributes": check_of(Attributes),
    "best_metric": best_metric,
    "grace": seconds,
    "max_delete_fraction": fraction,
    "page_size": partial(optional_count, low=1),
    "plan": optional(document_list),
    "protect_attributes": check_of(ProtectedAttributes),
    "states": check_of(States),
}


def is_plain_text(text: str) -> bool:
    """Return whether a text is no template, whatever the delimiters are."""
    return _PLAIN_TEXT.fullmatch(text) is not None


def is_literal(value: Any, is_text: Callable[[str], bool] = is_plain_text) -> bool:
    """Return whether a value is what the task will get: no template or object of Airflow's, and none within it.

    :param is_text: whether a text is no template
    """
    if isinstance(value, str):
        return is_text(value)
    if isinstance(value, Mapping):
        return all(is_literal(item, is_text) for pair in value.items() for item in pair)
    if type(value) in (list, tuple, set, frozenset):
        return all(is_literal(item, is_text) for item in value)
    return isinstance(value, _PLAIN)


def refuse_literals(
    task_id: str,
    values: Mapping[str, Any],
    *,
    choices: Mapping[str, Collection[str]],
    required: Iterable[Collection[str]] = (),
    checks: Mapping[str, Check] = CHECKS,
    combinations: Iterable[Combination] = (),
    is_text: Callable[[str], bool] = is_plain_text,
) -> None:
    """Check the arguments of a task as they are written in the DAG file.

    :param values: the arguments by their names
    :param choices: the values that an argument may have
    :param required: groups of arguments of which at least one must be given
    :param checks: what the other arguments mean
    :param combinations: arguments that exclude or require each other
    :param is_text: whether a text is no template
    :raises ViValidationError: a literal can never be right; the message names the task and the argument
    """
    literals = {name: value for name, value in values.items() if is_literal(value, is_text)}
    try:
        for group in required:
            if all(values.get(name, "") is None for name in group):
                raise ViValidationError(f"{' or '.join(group)} is required")
        for name, value in literals.items():
            _check(name, value, choices.get(name), checks.get(name))
        for names, check, also in combinations:
            if literals.keys() >= set(names):
                check(**{name: values[name] for name in (*names, *also)})
    except ViValidationError as error:
        reason = f"task {task_id!r}: {error.args[0]}"
    else:
        return
    raise ViValidationError(reason)


def _check(name: str, value: Any, allowed: Collection[str] | None, check: Check | None) -> None:
    try:
        if allowed is not None and (value is not None or name not in _OPTIONAL_CHOICES):
            choice(name, value, allowed)
        elif check is not None:
            check(name, value)
    except ViValidationError as error:
        reason = str(error.args[0])
    else:
        return
    raise ViValidationError(reason if reason.startswith(name) else f"{name}: {reason}")
