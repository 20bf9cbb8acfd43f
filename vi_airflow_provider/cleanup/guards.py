"""Guards: how much a cleanup may delete before a person has to look at it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.selection.arguments import optional_count


class GuardError(Exception):
    """A guard refuses the plan; nothing was archived or deleted."""


@dataclass(frozen=True)
class Guards:
    """Limits on the number of selected flows.

    :param max_delete: most flows that may be selected
    :param max_delete_fraction: largest fraction of all flows that may be selected
    """

    max_delete: int
    max_delete_fraction: Fraction

    @classmethod
    def build(cls, max_delete: Any, max_delete_fraction: Any) -> Self:
        """Build the guards from what a DAG author writes, or a template renders.

        :raises ViValidationError: a value is unusable; the message names the argument
        """
        count = optional_count("max_delete", max_delete)
        if count is None:
            raise ViValidationError("max_delete: None is not a whole number")
        return cls(count, _fraction("max_delete_fraction", max_delete_fraction))

    def refusal(self, selected: int, total: int | None) -> str | None:
        """Return why a plan is refused, ``None`` if it is not.

        :param selected: flows that the plan would delete
        :param total: all flows, ``None`` if their number is not known; the fraction is not checked then
        """
        flows = f"{selected} flows are" if total is None else f"{selected} of {total} flows are"
        if selected > self.max_delete:
            return f"{flows} selected, more than max_delete ({self.max_delete})."
        if total is not None and selected > self.max_delete_fraction * total:
            allowed = f"{float(self.max_delete_fraction):.6g}"
            return f"{flows} selected, a larger fraction than max_delete_fraction ({allowed}) allows."
        return None


def _fraction(name: str, value: Any) -> Fraction:
    # Exactly as it was written: in floats, 29 is more than 0.29 of 100.
    try:
        fraction = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        fraction = Fraction(-1)
    if not 0 <= fraction <= 1:
        raise ViValidationError(f"{name}: {value!r:.80} is not a number from 0 to 1")
    return fraction
