"""Guards: how much a cleanup may delete before a person has to look at it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

from vi_airflow_provider.selection.arguments import choice, count, fraction

if TYPE_CHECKING:
    from collections.abc import Sequence


class GuardError(Exception):
    """A guard refuses the plan; nothing was archived or deleted."""


@dataclass(frozen=True)
class Guards:
    """Limits on what a plan may delete.

    :param max_delete: most flows or runs that may be selected
    :param max_delete_fraction: largest fraction of all of them that may be selected
    :param refuse_unmatched: whether a rule that matches none refuses the plan
    """

    max_delete: int
    max_delete_fraction: Fraction
    refuse_unmatched: bool = False

    @classmethod
    def build(cls, max_delete: Any, max_delete_fraction: Any, protect_unmatched: Any) -> Self:
        """Build the guards from what a DAG author writes, or a template renders.

        :raises ViValidationError: a value is unusable; the message names the argument
        """
        return cls(
            count("max_delete", max_delete),
            fraction("max_delete_fraction", max_delete_fraction),
            choice("protect_unmatched", protect_unmatched, ("warn", "fail")) == "fail",
        )

    def refusal(
        self, selected: int, total: int | None, unmatched: Sequence[str] = (), noun: str = "flow"
    ) -> str | None:
        """Return why a plan is refused, ``None`` if it is not.

        :param selected: how many the plan would delete
        :param total: how many there are, ``None`` if that is not known; the fraction is not checked then
        :param unmatched: rules that match none
        :param noun: what is deleted, ``"flow"`` or ``"run"``
        """
        if unmatched and self.refuse_unmatched:
            return f"{len(unmatched)} rules match no {noun} ({unmatched[0]}), and protect_unmatched is 'fail'."
        found = f"{selected} {noun}s are" if total is None else f"{selected} of {total} {noun}s are"
        if selected > self.max_delete:
            return f"{found} selected, more than max_delete ({self.max_delete})."
        if total is not None and selected > self.max_delete_fraction * total:
            allowed = f"{float(self.max_delete_fraction):.6g}"
            return f"{found} selected, a larger fraction than max_delete_fraction ({allowed}) allows."
        return None
