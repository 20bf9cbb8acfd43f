"""What a fault does to a request, as data; `http/fault_injection.py` carries it out.

An exchange passes through five slots, and a fault fills any of them with one effect each:

| slot | effects | without one |
|---|---|---|
| change | `ChangeFlows` | the collection stays as it is |
| delay | `Delay` | no time passes |
| response | `Respond`, `Redirect`, `Drop` | the emulator's own response |
| page | `RepeatCursor`, `EmptyPage`, `OtherDocument` | the page or document as it is |
| delivery | `Truncate`, `Drip` | the whole body at once |

Two effects of one slot exclude each other. An effect that leaves another slot nothing to work on excludes that
slot: a page can only be altered in the emulator's own response, and a dropped connection delivers nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from vi_airflow_provider.emulator.rule_checks import (
    RuleError,
    check_headers,
    check_integer,
    check_milliseconds,
    check_text,
)


class Effect:
    """Base of all effects. `field` is the field of the flat form by which messages name an effect."""

    slot: ClassVar[str]
    field: ClassVar[str]
    excluded_slots: ClassVar[tuple[str, ...]] = ()

    def excludes(self, other: Effect) -> bool:
        """Whether this effect leaves the other one nothing to do."""
        return other.slot == self.slot or other.slot in self.excluded_slots

    def to_fields(self) -> dict[str, Any]:
        """The fields of the flat form."""
        return _given(self._flat())

    def _flat(self) -> dict[str, Any]:
        return {self.field: True}


@dataclass(frozen=True)
class ChangeFlows(Effect):
    """Somebody else creates or deletes flows just before the request."""

    slot = "change"
    field = "create_flows"
    _: KW_ONLY
    create: int = 0
    delete: int = 0

    def __post_init__(self) -> None:
        check_integer("create_flows", self.create, 0)
        check_integer("delete_flows", self.delete, 0)

    def _flat(self) -> dict[str, Any]:
        return {"create_flows": self.create or None, "delete_flows": self.delete or None}


@dataclass(frozen=True)
class Delay(Effect):
    """Time passes, before the request is carried out or (`when="after"`) after it."""

    slot = "delay"
    field = "latency_ms"
    ms: float

    def __post_init__(self) -> None:
        check_milliseconds("latency_ms", self.ms)

    def _flat(self) -> dict[str, Any]:
        return {"latency_ms": self.ms}


@dataclass(frozen=True)
class Respond(Effect):
    """Send this response instead of the emulator's own; headers and body go out verbatim.

    Without a body, a status of 400 or more carries an error document.
    """

    slot = "response"
    field = "status"
    excluded_slots = ("page",)
    status: int
    _: KW_ONLY
    retry_after: str | None = None
    headers: Mapping[str, str] | None = None
    body: str | None = None
    content_type: str | None = None

    def __post_init__(self) -> None:
        check_integer("status", self.status)
        if not 200 <= self.status <= 599:
            raise RuleError("status must be from 200 to 599")
        for name in ("retry_after", "body", "content_type"):
            check_text(name, getattr(self, name))
        if not isinstance(self.headers, Mapping | None):
            raise RuleError("headers must be an object")
        check_headers({**(self.headers or {}), **self._own_headers()})
        if self.status in (204, 304) and self.body:
            raise RuleError(f"a response {self.status} has no body")

    def all_headers(self) -> dict[str, str]:
        """The headers, those that have fields of their own included."""
        headers = {name.lower(): value for name, value in (self.headers or {}).items()}
        return {**headers, **_given(self._own_headers())}

    def _own_headers(self) -> dict[str, str | None]:
        return {"retry-after": self.retry_after, "content-type": self.content_type}

    def _flat(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("status", "retry_after", "headers", "body", "content_type")}


@dataclass(frozen=True)
class Redirect(Respond):
    """Send the client elsewhere."""

    field = "redirect"
    status: int = 307
    _: KW_ONLY
    location: str

    def __post_init__(self) -> None:
        check_text("redirect", self.location)
        super().__post_init__()
        if not 300 <= self.status <= 399:
            raise RuleError("a redirect has a status from 300 to 399 (307 by default)")

    def _own_headers(self) -> dict[str, str | None]:
        return {**super()._own_headers(), "location": self.location}

    def _flat(self) -> dict[str, Any]:
        return {**super()._flat(), "redirect": self.location, "status": None if self.status == 307 else self.status}


@dataclass(frozen=True)
class Drop(Effect):
    """Send nothing: the connection is reset."""

    slot = "response"
    field = "drop"
    excluded_slots = ("page", "delivery")


@dataclass(frozen=True)
class RepeatCursor(Effect):
    """A page whose `nextPage` is the cursor it was requested with."""

    slot = "page"
    field = "repeat_cursor"


@dataclass(frozen=True)
class EmptyPage(Effect):
    """A page without items, in front of the page that was requested."""

    slot = "page"
    field = "empty_page"


@dataclass(frozen=True)
class OtherDocument(Effect):
    """The document of another flow or run than the one that was requested."""

    slot = "page"
    field = "other_document"


@dataclass(frozen=True)
class Truncate(Effect):
    """Announce the whole body, send half of it, close the connection."""

    slot = "delivery"
    field = "truncate"


@dataclass(frozen=True)
class Drip(Effect):
    """Send the body byte by byte, with a pause after each."""

    slot = "delivery"
    field = "drip_ms"
    pause_ms: float

    def __post_init__(self) -> None:
        check_milliseconds("drip_ms", self.pause_ms)

    def _flat(self) -> dict[str, Any]:
        return {"drip_ms": self.pause_ms}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
