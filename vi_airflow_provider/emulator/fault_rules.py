"""Fault rules: which requests the emulator shall answer badly, and how.

A rule is data. What it does to a request is in `misbehaviour.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# The server writes these from what it really sends; a body that is cut short is what `truncate` is for.
_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding"})


class FaultError(ValueError):
    """A rule that makes no sense; the message names the field."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One rule. It fires on matching requests: `times` of them, after leaving `skip` of them alone.

    Which requests: `method` (any when None) and `path`, a regular expression searched in the path.
    `probability` and `seed` let it fire now and then, the same way in each run.

    What happens, in this order: `create_flows` / `delete_flows` change the collection; `latency_ms`
    passes; the request is answered; the answer is spoilt. An answer is replaced by `status` (with
    `retry_after`, `headers`, `body` and `content_type`, all verbatim) or by a `redirect` to a location
    (307 unless a status is given), or it is lost because the connection is reset (`drop`).

    With `when="after"` the request is carried out first: the change is made, then the client waits, or
    learns something else, or nothing. `truncate` announces the whole body and sends half of it;
    `drip_ms` sends it byte by byte. On pages of a listing, `repeat_cursor` hands out the cursor again
    that the page was asked with, and `empty_page` puts a page without items in front of the page that
    was asked for.
    """

    method: str | None = None
    path: str | None = None
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    seed: int = 0

    when: Literal["before", "after"] = "before"
    create_flows: int = 0
    delete_flows: int = 0
    latency_ms: float = 0
    status: int | None = None
    retry_after: str | None = None
    headers: Mapping[str, str] | None = None
    body: str | None = None
    content_type: str | None = None
    redirect: str | None = None
    drop: bool = False
    truncate: bool = False
    drip_ms: float | None = None
    repeat_cursor: bool = False
    empty_page: bool = False

    def __post_init__(self) -> None:
        _check_types(self)
        _check_values(self)
        _check_combination(self)

    @property
    def replaces_answer(self) -> bool:
        """Whether the client gets something else than the emulator's answer, or nothing."""
        return self.status is not None or self.redirect is not None or self.drop

    @classmethod
    def from_json(cls, value: object) -> Fault:
        """A rule from its JSON form; unknown fields are refused."""
        if not isinstance(value, dict):
            raise FaultError("a fault must be a JSON object")
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(value) - known):
            raise FaultError(f"unknown fault field {unknown[0]!r}; known are {', '.join(sorted(known))}")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """The fields that differ from the defaults, and `times`, which everybody asks for."""
        fields = ((field, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {field.name: value for field, value in fields if field.name == "times" or value != field.default}


class ActiveFault:
    """A rule with its counters."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.matched = 0
        self.fired = 0
        self.rng = random.Random(fault.seed)  # noqa: S311  # not a secret: it must be the same each time

    def fires(self, method: str, path: str, has_cursor: bool) -> bool:
        """Whether this request is one for the rule; counts it."""
        fault = self.fault
        if fault.method not in (None, method) or (fault.path is not None and not re.search(fault.path, path)):
            return False
        if fault.repeat_cursor and not has_cursor:  # a first page has no cursor to repeat
            return False
        if fault.times is not None and self.fired >= fault.times:
            return False
        self.matched += 1
        if self.matched <= fault.skip or self.rng.random() >= fault.probability:
            return False
        self.fired += 1
        return True

    def to_json(self) -> dict[str, Any]:
        """The rule and what became of it so far."""
        return {"id": self.number, "rule": self.fault.to_json(), "matched": self.matched, "fired": self.fired}


class FaultBook:
    """The rules in force; of several that would fire, the one that was added first does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._active: list[ActiveFault] = []

    def add(self, fault: Fault | None = None, /, **rule: Any) -> ActiveFault:
        """Put a rule in force, given as a Fault or as its fields."""
        active = ActiveFault(next(self._numbers), Fault(**rule) if fault is None else fault)
        with self._lock:
            self._active.append(active)
        return active

    def clear(self) -> None:
        """Behave well again."""
        with self._lock:
            self._active.clear()

    def rules(self) -> list[ActiveFault]:
        """All rules, spent ones as well."""
        with self._lock:
            return list(self._active)

    def match(self, method: str, path: str, has_cursor: bool) -> ActiveFault | None:
        """The rule that fires on this request."""
        with self._lock:
            return next((active for active in self._active if active.fires(method, path, has_cursor)), None)


# -- validation ---------------------------------------------------------------------------------------

_STRING = ("method", "path", "retry_after", "body", "content_type", "redirect")
_FLAG = ("drop", "truncate", "repeat_cursor", "empty_page")
_INTEGER = ("times", "skip", "seed", "create_flows", "delete_flows", "status")
_NUMBER = ("probability", "latency_ms", "drip_ms")
_NULLABLE = frozenset({*_STRING, "times", "status", "drip_ms", "headers"})


def _check_types(fault: Fault) -> None:
    kinds: list[tuple[tuple[str, ...], type | tuple[type, ...], str]] = [
        (_STRING, str, "a string"),
        (_INTEGER, int, "an integer"),
        (_NUMBER, (int, float), "a number"),
        (("headers",), Mapping, "an object"),
    ]
    for names, types, expected in kinds:
        for name in names:
            value = getattr(fault, name)
            if value is None and name in _NULLABLE:
                continue
            if not isinstance(value, types) or isinstance(value, bool):
                raise FaultError(f"{name} must be {expected}")
    for name in _FLAG:
        if not isinstance(getattr(fault, name), bool):
            raise FaultError(f"{name} must be true or false")
    if fault.when not in ("before", "after"):
        raise FaultError('when must be "before" or "after"')


def _check_values(fault: Fault) -> None:
    for name in ("skip", "create_flows", "delete_flows", "latency_ms", "drip_ms"):
        value = getattr(fault, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise FaultError(f"{name} must be zero or more")
    if fault.times is not None and fault.times < 1:
        raise FaultError("times must be 1 or more, or null for ever")
    if not 0 < fault.probability <= 1:
        raise FaultError("probability must be more than 0 and at most 1")
    if fault.status is not None and not 200 <= fault.status <= 599:
        raise FaultError("status must be from 200 to 599")
    if fault.method is not None and not re.fullmatch("[A-Z]+", fault.method):
        raise FaultError("method must be in capital letters")
    try:
        re.compile(fault.path or "")
    except re.error as error:
        raise FaultError(f"path is not a regular expression: {error}") from None
    verbatim = {"retry-after": fault.retry_after, "content-type": fault.content_type, "location": fault.redirect}
    for name, value in [*verbatim.items(), *(fault.headers or {}).items()]:
        if not isinstance(name, str) or not _TOKEN.fullmatch(name) or name.lower() in _FRAMING_HEADERS:
            raise FaultError(f"headers must not contain {name!r}")
        if value is not None and not (isinstance(value, str) and _HEADER_VALUE.fullmatch(value)):
            raise FaultError(f"{name} must be a header value: latin-1 without control characters")


def _check_combination(fault: Fault) -> None:
    details = (fault.retry_after, fault.headers, fault.body, fault.content_type)
    if fault.status is None and any(detail is not None for detail in details):
        raise FaultError("retry_after, headers, body and content_type belong to an answer: give its status")
    if fault.status in (204, 304) and fault.body:
        raise FaultError(f"an answer {fault.status} has no body")
    if fault.drop and (fault.status is not None or fault.redirect is not None):
        raise FaultError("a dropped connection has no answer: drop excludes status and redirect")
    if fault.redirect is not None and fault.status is not None and not 300 <= fault.status <= 399:
        raise FaultError("a redirect has a status from 300 to 399 (307 unless given)")
    if sum((fault.drop, fault.truncate, fault.drip_ms is not None)) > 1:
        raise FaultError("drop, truncate and drip_ms exclude each other")
    if fault.replaces_answer and (fault.repeat_cursor or fault.empty_page):
        raise FaultError("repeat_cursor and empty_page need the emulator's own answer")
    if fault.repeat_cursor and fault.empty_page:
        raise FaultError("repeat_cursor and empty_page exclude each other")
    if fault.when == "after" and not (fault.replaces_answer or fault.latency_ms):
        raise FaultError('when="after" needs something that comes after: status, redirect, drop or latency_ms')
    effects = (
        fault.replaces_answer, fault.create_flows, fault.delete_flows, fault.latency_ms, fault.truncate,
        fault.drip_ms is not None, fault.repeat_cursor, fault.empty_page,
    )  # fmt: skip
    if not any(effects):
        raise FaultError("a fault must do something, such as status, drop or latency_ms")
