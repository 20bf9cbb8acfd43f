"""Which requests a rule is for: shared by fault rules and a colleague's edits."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypedDict

from vi_airflow_provider.emulator.rule_checks import RuleError, check_integer, check_number, check_text


class RequestLine(NamedTuple):
    """What a rule can match of a request."""

    method: str
    path: str
    cursor: str | None = None


class MatchFields(TypedDict, total=False):
    """The fields of `Match`, for functions that take them as keywords."""

    method: str | None
    path: str | None
    times: int | None
    skip: int
    every: int
    probability: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Match:
    """Requests by method and path, and how many of them.

    `path` is a regular expression searched in the path. After leaving `skip` matching requests alone, a rule
    fires on `every` n-th of them, `times` in total (None: without limit). `probability` and `seed` make it fire
    now and then, the same way in each run.
    """

    method: str | None = None
    path: str | None = None
    times: int | None = 1
    skip: int = 0
    every: int = 1
    probability: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_text("method", self.method)
        check_text("path", self.path)
        if self.times is not None:
            check_integer("times", self.times, 1, note=", or null for no limit")
        check_integer("skip", self.skip, 0)
        check_integer("every", self.every, 1)
        check_integer("seed", self.seed)
        check_number("probability", self.probability)
        if not 0 < self.probability <= 1:
            raise RuleError("probability must be more than 0 and at most 1")
        if self.method is not None and not re.fullmatch("[A-Z]+", self.method):
            raise RuleError("method must be in capital letters")
        try:
            re.compile(self.path or "")
        except re.error as error:
            raise RuleError(f"path is not a regular expression: {error}") from None

    def covers(self, request: RequestLine) -> bool:
        """Whether method and path match."""
        return self.method in (None, request.method) and (self.path is None or bool(re.search(self.path, request.path)))

    def to_fields(self) -> dict[str, Any]:
        """The fields that differ from the defaults, and always `times`."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        return {field.name: value for field, value in values if field.name == "times" or value != field.default}


MATCH_FIELDS = tuple(field.name for field in fields(Match))


class Counter:
    """How often the requests of a match arrived, and how often its rule fired."""

    def __init__(self, match: Match) -> None:
        self._match = match
        self.matched = 0
        self.fired = 0
        self.rng = random.Random(match.seed)  # noqa: S311  # not a secret: it must be the same each time

    def fires(self, request: RequestLine) -> bool:
        """Whether the rule fires on this request; counts it."""
        match = self._match
        if not match.covers(request) or (match.times is not None and self.fired >= match.times):
            return False
        self.matched += 1
        if self.matched <= match.skip or (self.matched - match.skip) % match.every:
            return False
        if self.rng.random() >= match.probability:
            return False
        self.fired += 1
        return True
