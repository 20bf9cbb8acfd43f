"""Classify the mutants of a room, and compute its score."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

#: Minimum part of the counted mutants of a room that the tests must kill.
MINIMUM: Final = 0.95
#: Status reported by mutmut, for each of which at least one test failed.
KILLED: Final = {"killed", "timeout", "caught by type check", "segfault"}

_PROSE: Final = re.compile(r"""[rf]*("[^"]*\s[^"]*"|'[^']*\s[^']*')""")


@dataclass(frozen=True, order=True)
class Survivor:
    """A mutant for which no test fails.

    :param function: dotted name of the changed function
    :param before: the changed lines, without indentation
    :param after: the same lines of the mutant
    """

    function: str
    before: str
    after: str

    @classmethod
    def of(cls, mutant: str, diff: str) -> Survivor:
        """Read the name of a mutant and the unified diff that mutmut shows for it."""
        lines = diff.splitlines()
        removed = [line[1:].strip() for line in lines if line.startswith("-") and not line.startswith("---")]
        added = [line[1:].strip() for line in lines if line.startswith("+") and not line.startswith("+++")]
        return cls(function_of(mutant), " ".join(removed), " ".join(added))

    @property
    def only_wording(self) -> bool:
        """Does the change affect only the text of a message, that is a literal with a space in it?"""
        return _PROSE.sub("None", self.before) == _PROSE.sub("None", self.after)


def function_of(mutant: str) -> str:
    """Return the function that a mutant changes: ``a.b.xǁClassǁmethod__mutmut_1`` is one of ``a.b.Class.method``."""
    module, _, name = mutant.rpartition("__mutmut_")[0].rpartition(".")
    return f"{module}.{name.removeprefix('x_').removeprefix('xǁ').replace('ǁ', '.')}"


@dataclass(frozen=True)
class Score:
    """The result of a room.

    :param total: number of mutants
    :param killed: those for which a test fails
    :param wording: survivors that change only the text of a message
    :param equivalent: survivors that make no difference, with the reason
    :param open: the other survivors
    """

    total: int
    killed: int
    wording: int
    equivalent: Mapping[Survivor, str]
    open: tuple[Survivor, ...]

    @property
    def rate(self) -> float:
        """Return the part of the counted mutants that the tests kill."""
        counted = self.killed + len(self.open)
        return self.killed / counted if counted else 1.0


def score(statuses: Mapping[str, str], survivors: Iterable[Survivor], reasons: Mapping[Survivor, str]) -> Score:
    """Compute the score of a room from the status of each mutant and the survivors among them."""
    found = sorted(survivors)
    wording = [each for each in found if each.only_wording]
    rest = [each for each in found if not each.only_wording]
    return Score(
        total=len(statuses),
        killed=sum(status in KILLED for status in statuses.values()),
        wording=len(wording),
        equivalent={each: reasons[each] for each in rest if each in reasons},
        open=tuple(each for each in rest if each not in reasons),
    )
