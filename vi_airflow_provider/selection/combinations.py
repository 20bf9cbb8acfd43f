"""Arguments that exclude or require each other: checked when a DAG file is parsed, and again when its task runs.

Each function takes the arguments as they were written, by their names, and raises :class:`ViValidationError`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.selection.arguments import boolean, choice, flag, optional_count

FORMATS: Final = ("jsonl", "csv", "parquet")
#: The format that a suffix of the destination implies, if none is given.
_IMPLIED: Final = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}


class Combination(NamedTuple):
    """Arguments of an operator that are checked together.

    :param names: the arguments, all of which must be literals
    :param check: takes them by their names, and raises
    :param also: further arguments that it takes, which Airflow never renders
    """

    names: tuple[str, ...]
    check: Callable[..., Any]
    also: tuple[str, ...] = ()


def exactly_one(**values: Any) -> None:
    """Require one of several arguments, and refuse more of them."""
    given = {name: value for name, value in values.items() if value is not None}
    if len(given) != 1:
        raise ViValidationError(f"give either {' or '.join(values)}{_not_all(given)}")


def both_or_neither(**values: Any) -> None:
    """Refuse one of two arguments without the other."""
    given = {name: value for name, value in values.items() if value is not None}
    if given and len(given) < len(values):
        raise ViValidationError(f"{', '.join(values)}: give both or neither, not only {_shown(given)}")


def target_of_run(*, run_id: Any, flow_id: Any, training_project: Any, attributes: Any, newest: Any) -> None:
    """Require the id of a run, or what the newest run of several has in common."""
    criteria = {"flow_id": flow_id, "training_project": training_project, "attributes": attributes}
    given = {name: value for name, value in criteria.items() if value}
    if (run_id is None) != bool(given):
        names = "flow_id, training_project and attributes"
        excess = _not_all({"run_id": run_id, **given}) if given else ""
        raise ViValidationError(f"give either run_id, or at least one of {names}{excess}")
    if boolean("newest", newest) != bool(given):
        raise ViValidationError(
            "newest: set it to True: of the runs that match, the newest one is waited for"
            if given
            else f"newest: leave it out: run_id={run_id!r:.80} names the only run that can be meant"
        )


def absence(*, absent: Any, **required: Any) -> None:
    """Refuse to require anything of a flow that must not exist."""
    given = {name: value for name, value in required.items() if value is not None and value != () and value != {}}
    if absent is not None and boolean("absent", absent) and given:
        raise ViValidationError(
            f"absent: nothing else can be required of a flow that must not exist; leave out {_shown(given)}"
        )


def some_limit(noun: str, *, older_than: Any, **places: Any) -> None:
    """Require something that limits what a cleanup selects: an age, or places of which some are spared."""
    if older_than is None and not any(places.values()):
        alternatives = " or both" if len(places) == 1 else " or some of them"
        given = ", ".join(("older_than", *places))
        raise ViValidationError(f"give {given}{alternatives}: without them every {noun} would be deleted")


def limits_of_flows(*, plan: Any, **limits: Any) -> None:
    """Require a plan, or a limit of the policy for flows."""
    _limits_or_plan("flow", plan, limits)


def limits_of_runs(*, plan: Any, **limits: Any) -> None:
    """Require a plan, or a limit of the policy for runs."""
    _limits_or_plan("run", plan, limits)


def _limits_or_plan(noun: str, plan: Any, limits: dict[str, Any]) -> None:
    if plan is None:
        places = {name: optional_count(name, value) for name, value in limits.items() if name != "older_than"}
        some_limit(noun, older_than=limits["older_than"], **places)


def archive_or_consent(*, dry_run: Any, archive_to: Any, allow_unarchived: Any) -> None:
    """Require a folder for what is deleted, or the consent to delete without an archive."""
    consents = flag("allow_unarchived", allow_unarchived)
    if archive_to is None and not consents and not boolean("dry_run", dry_run):
        raise ViValidationError(
            "archive_to: give a folder for what is deleted, or allow_unarchived=True to delete without an archive"
        )


def metric_of_best(*, select: Any, best_metric: Any) -> None:
    """Require a metric for the best checkpoint."""
    if select == "best" and best_metric is None:
        raise ViValidationError('best_metric: needed for select="best", like ("f1", "max")')


def export_format(*, format: Any, destination: Any) -> str:  # noqa: A002 - the argument's name
    """Return the format that is given, or that the name of the file implies."""
    name = str(destination).lower()
    suffix = PurePosixPath(name.removesuffix(".gz")).suffix
    implied = _IMPLIED.get(suffix)
    if format is not None and implied not in (None, choice("format", format, FORMATS)):
        raise ViValidationError(
            f"format: {format!r} contradicts {suffix} at the end of destination; write {implied!r}, or change the name"
        )
    chosen = format or implied or "jsonl"
    if chosen == "parquet" and name.endswith(".gz"):
        raise ViValidationError(
            f"destination: a parquet file is compressed internally; write {destination[:-3]!r:.200}"
        )
    return str(chosen)


def comparison(*, compare_to: Any, fail_on_drift: Any, format: Any, destination: Any) -> None:  # noqa: A002
    """Refuse a comparison that no export of this format allows, and drift without a comparison."""
    chosen = export_format(format=format, destination=destination)
    if compare_to is not None and chosen != "jsonl":
        raise ViValidationError(
            f'compare_to: only exports with format="jsonl" can be compared, and this one is {chosen!r}'
        )
    if boolean("fail_on_drift", fail_on_drift) and compare_to is None:
        raise ViValidationError(
            'fail_on_drift: give compare_to, too, like compare_to="previous"; there is no drift without a comparison'
        )


def _shown(given: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r:.80}" for name, value in given.items())


def _not_all(given: dict[str, Any]) -> str:
    return f", not {' and '.join(f'{name}={value!r:.80}' for name, value in given.items())}" if given else ""
