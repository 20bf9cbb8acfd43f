"""Fault rules: which requests the emulator responds to badly, and how.

A rule is a `Match` and the effects on the requests that match (`effects.py`). It has three spellings:

* `Fault(Match(method="DELETE"), Respond(503), when="after")`, with the effects as values;
* `Fault(method="DELETE", status=503, when="after")`, with flat fields;
* `{"method": "DELETE", "status": 503, "when": "after"}`, the same as JSON, for the control API.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeVar, Unpack, cast, overload

from vi_airflow_provider.emulator.effects import (
    ChangeFlows,
    Delay,
    Drip,
    Drop,
    Effect,
    EmptyPage,
    OtherDocument,
    Redirect,
    RepeatCursor,
    Respond,
    Truncate,
)
from vi_airflow_provider.emulator.matching import MATCH_FIELDS, Counter, Match, MatchFields, RequestLine
from vi_airflow_provider.emulator.rule_checks import RuleError, check_flag, check_known

E = TypeVar("E", bound=Effect)
When = Literal["before", "after"]


class FaultFields(MatchFields, total=False):
    """The flat form of a fault."""

    when: When
    create_flows: int
    delete_flows: int
    latency_ms: float
    status: int | None
    retry_after: str | None
    headers: Mapping[str, str] | None
    body: str | None
    content_type: str | None
    redirect: str | None
    drop: bool
    truncate: bool
    drip_ms: float | None
    repeat_cursor: bool
    empty_page: bool
    other_document: bool


class Fault:
    """One rule: its effects on the requests that match.

    With `when="after"` the request is carried out first: the change is made, and then the client waits, or gets
    another response, or none.
    """

    @overload
    def __init__(self, match: Match, /, *effects: Effect, when: When = "before") -> None: ...
    @overload
    def __init__(self, /, **fields: Unpack[FaultFields]) -> None: ...
    def __init__(self, match: Match | None = None, /, *effects: Effect, when: When = "before", **fields: Any) -> None:
        if match is None:
            match, effects = _from_fields(fields)
        elif fields:
            raise TypeError("a Fault is given as a match and effects, or as flat fields, not as both")
        _check_combination(effects, when)
        self.match: Final = match
        self.effects: Final = effects
        self.when: Final = when

    def __repr__(self) -> str:
        return f"Fault({', '.join(f'{name}={value!r}' for name, value in self.to_json().items())})"

    def find(self, kind: type[E]) -> E | None:
        """The effect of this kind, if the rule has one."""
        return next((effect for effect in self.effects if isinstance(effect, kind)), None)

    def in_slot(self, slot: str) -> Effect | None:
        """The effect in a slot, if the rule has one."""
        return next((effect for effect in self.effects if effect.slot == slot), None)

    def applies_to(self, request: RequestLine) -> bool:
        """Whether the effects can do anything to this request: a first page has no cursor to repeat."""
        return request.cursor is not None or self.find(RepeatCursor) is None

    @classmethod
    def from_json(cls, value: object) -> Fault:
        """Read the flat form; unknown fields are refused."""
        if not isinstance(value, dict):
            raise RuleError("a fault must be a JSON object")
        return cls(**cast("FaultFields", value))

    def to_json(self) -> dict[str, Any]:
        """The flat form: the fields that differ from the defaults, and always `times`."""
        fields = self.match.to_fields()
        for effect in self.effects:
            fields |= effect.to_fields()
        return fields if self.when == "before" else {**fields, "when": self.when}


class ActiveFault:
    """A rule with its counters."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self._counter = Counter(fault.match)
        self.rng = self._counter.rng

    @property
    def matched(self) -> int:
        """How many requests it was for, those left alone included."""
        return self._counter.matched

    @property
    def fired(self) -> int:
        """How often it had its effect."""
        return self._counter.fired

    def fires(self, request: RequestLine) -> bool:
        """Whether the rule fires on this request; counts it."""
        return self.fault.applies_to(request) and self._counter.fires(request)

    def to_json(self) -> dict[str, Any]:
        """The rule and its counters."""
        return {"id": self.number, "rule": self.fault.to_json(), "matched": self.matched, "fired": self.fired}


class FaultBook:
    """The rules in force; if several would fire on a request, only the first one added does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._active: list[ActiveFault] = []

    def add(self, fault: Fault | None = None, /, **fields: Unpack[FaultFields]) -> ActiveFault:
        """Put a rule in force, given as a Fault or as its flat fields."""
        active = ActiveFault(next(self._numbers), Fault(**fields) if fault is None else fault)
        with self._lock:
            self._active.append(active)
        return active

    def clear(self) -> None:
        """Remove all rules."""
        with self._lock:
            self._active.clear()

    def rules(self) -> list[ActiveFault]:
        """All rules, spent ones included."""
        with self._lock:
            return list(self._active)

    def match(self, request: RequestLine) -> ActiveFault | None:
        """The rule that fires on this request."""
        with self._lock:
            return next((active for active in self._active if active.fires(request)), None)


# -- the flat form ------------------------------------------------------------------------------------

_FLAGS: Final[Mapping[str, type[Effect]]] = {
    kind.field: kind for kind in (Drop, Truncate, RepeatCursor, EmptyPage, OtherDocument)
}
_DETAILS: Final = ("retry_after", "headers", "body", "content_type")
_DEFAULTS: Final[Mapping[str, Any]] = {"create_flows": 0, "delete_flows": 0, "latency_ms": 0} | dict.fromkeys(
    _FLAGS, False
)


def _from_fields(fields: Mapping[str, Any]) -> tuple[Match, tuple[Effect, ...]]:
    check_known("fault", fields, FaultFields.__annotations__)
    match = Match(**cast("MatchFields", {name: fields[name] for name in MATCH_FIELDS if name in fields}))
    given = {name: value for name, value in fields.items() if not _is_default(name, value)}
    return match, tuple(_effects(given))


def _is_default(name: str, value: object) -> bool:
    default = _DEFAULTS.get(name)
    return type(value) is type(default) and value == default


def _effects(given: Mapping[str, Any]) -> Iterator[Effect]:
    if "create_flows" in given or "delete_flows" in given:
        yield ChangeFlows(create=given.get("create_flows", 0), delete=given.get("delete_flows", 0))
    if "latency_ms" in given:
        yield Delay(given["latency_ms"])
    yield from _response(given)
    for name, kind in _FLAGS.items():
        if name in given:
            check_flag(name, given[name])
            yield kind()
    if "drip_ms" in given:
        yield Drip(given["drip_ms"])


def _response(given: Mapping[str, Any]) -> Iterator[Respond]:
    details = {name: given[name] for name in ("status", *_DETAILS) if name in given}
    if "redirect" in given:
        yield Redirect(**details, location=given["redirect"])
    elif "status" in given:
        yield Respond(**details)
    elif details:
        raise RuleError(f"{', '.join(_DETAILS[:-1])} and {_DETAILS[-1]} belong to a response: set status as well")


def _check_combination(effects: tuple[Effect, ...], when: object) -> None:
    if when not in ("before", "after"):
        raise RuleError('when must be "before" or "after"')
    if not effects:
        raise RuleError("a fault must have an effect, such as status, drop or latency_ms")
    for one, other in itertools.combinations(effects, 2):
        if one.excludes(other) or other.excludes(one):
            raise RuleError(f"{one.field} and {other.field} exclude each other")
    if when == "after" and not {effect.slot for effect in effects} & {"response", "delay"}:
        raise RuleError('when="after" needs an effect that follows: status, redirect, drop or latency_ms')
