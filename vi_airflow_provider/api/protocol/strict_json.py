"""One definition of the JSON that we read and write, whichever parser meets it, and the place of what violates it.

msgspec checks listings, pydantic reads single documents, archives and exports, and their limits differ: the nesting
that one accepts the other refuses, a number that one refuses is infinity to the other. What one of them cannot read
again must not be read, or written, in the first place. So both are used with the limits of this module.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import msgspec

from vi_airflow_provider.api.errors import ViError, one_line
from vi_airflow_provider.api.protocol.outcomes import NOT_JSON, ErrorContext

#: Levels of arrays and objects in a document, itself included. pydantic reads 200, msgspec about 1,000.
MAX_NESTING: Final = 100

#: What to do about one document that cannot be read, while the rest of the response is in order.
DOCUMENT_ADVICE: Final = "Correct or delete this flow in Vi, or report it to Datature's support."

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS: Final = re.compile(rb"[^\[\]{}]+")


class Item(NamedTuple):
    """A flow or a run, as a message names it."""

    noun: str
    document_id: str

    @classmethod
    def of(cls, document: Mapping[Any, Any]) -> Self | None:
        """Return the flow or run whose id a document has; ``None`` if it has neither id."""
        found = ((noun, document.get(f"{noun}Id")) for noun in ("flow", "run"))
        return next((cls(noun, value) for noun, value in found if isinstance(value, str) and value), None)

    def __str__(self) -> str:
        return f"{self.noun} {self.document_id!r:.80}: "

    @property
    def advice(self) -> str:
        """What to do about it: a flow can be corrected, a run cannot."""
        return DOCUMENT_ADVICE if self.noun == "flow" else "Delete this run in Vi, or report it to Datature's support."


class Flaw(NamedTuple):
    """What makes a document unreadable, where, and in which flow or run of a page."""

    json_path: str
    problem: str
    item: Item | None

    def __str__(self) -> str:
        return one_line(f"{self.item or ''}{self.json_path or 'document'}: {self.problem}")


def nests_too_deep(content: bytes) -> bool:
    """Are there more than ``MAX_NESTING`` levels in this JSON text? It must be well-formed."""
    if len(content) - len(content.translate(None, b"{[")) <= MAX_NESTING:
        return False  # almost always; the rest is a hundred times slower
    brackets = _NOT_BRACKETS.sub(b"", _STRINGS.sub(b"", content)).translate(bytes.maketrans(b"[]", b"{}"))
    for _ in range(MAX_NESTING):
        brackets = brackets.replace(b"{}", b"")  # each pass removes the innermost level
        if not brackets:
            return False
    return True


def unreadable(context: ErrorContext, flaw: Flaw | None, message: str) -> ViError:
    """Build the error for a text that a parser refused.

    :param flaw: the flow and the field that are to blame, if :func:`find_flaw` found them
    :param message: the description otherwise
    """
    if flaw is None:
        return context.response_error(message)
    advice = DOCUMENT_ADVICE if flaw.item is None else flaw.item.advice
    return context.response_error(f"the response cannot be read: {flaw}", advice=advice)


def invalid(context: ErrorContext, content: bytes, reason: str, json_path: str = "") -> ViError:
    """Build the error for a document that lacks a field or has one of a wrong type; in a page, it names the item.

    :param reason: paths and problems
    """
    item = _item_in(content) if json_path else None
    advice = None if item is None else item.advice
    return context.response_error(f"the response violates the contract: {item or ''}{reason}", advice=advice)


class _Identity(msgspec.Struct):
    flowId: str | None = None  # noqa: N815 - the wire's name
    runId: str | None = None  # noqa: N815


def _item_in(content: bytes) -> Item | None:
    try:
        return Item.of(msgspec.structs.asdict(msgspec.json.decode(content, type=_Identity)))
    except NOT_JSON:
        return None


def find_flaw(content: bytes, json_path: str = "", level: int = 1) -> Flaw | None:
    """Return the first value that JSON or our limits do not allow, in a text that is well-formed otherwise.

    :param level: the level of nesting of the outermost value
    """
    try:
        text = content.decode("utf-8", "surrogateescape")
        document = json.loads(text, parse_constant=_Constant, parse_int=_parse_int)
    except RecursionError:
        return Flaw(json_path, _TOO_DEEP, None)
    except ValueError:
        return None
    return flaw_in(document, json_path, level)


def flaw_in(value: Any, json_path: str = "", level: int = 1, item: Item | None = None) -> Flaw | None:
    """As :func:`find_flaw`, for decoded data."""
    if level > MAX_NESTING and isinstance(value, (dict, list)):
        return Flaw(f"{json_path:.100}…", _TOO_DEEP, item)
    match value:
        case dict():
            item = item or Item.of(value)  # the outermost: within it is foreign data, with any keys
            if any(map(_problem, value)):
                return Flaw(json_path, "a key with text that is not valid Unicode", item)
            members: Iterable[tuple[str, Any]] = ((f"{json_path}.{key}".lstrip("."), v) for key, v in value.items())
        case list() | tuple():
            members = ((f"{json_path}[{index}]", inner) for index, inner in enumerate(value))
        case _:
            problem = _problem(value)
            return Flaw(json_path, problem, item) if problem else None
    return next(filter(None, (flaw_in(inner, path, level + 1, item) for path, inner in members)), None)


@dataclass(frozen=True)
class _Constant:
    """``NaN`` or an infinity in a JSON text."""

    name: str


_TOO_DEEP: Final = f"more than {MAX_NESTING} levels of nesting"


def _parse_int(digits: str) -> float:
    return math.inf if len(digits) > 4300 else int(digits)  # Python's limit, and that of the parsers


def _problem(value: Any) -> str:
    match value:
        case _Constant(name):
            return f"{name} is not a JSON number"
        case float() if math.isnan(value):
            return "NaN is not a JSON number"
        case float() if math.isinf(value):
            return "a number that is too large"
        case str() if any("\ud800" <= character <= "\udfff" for character in value):
            return "text that is not valid Unicode (a lone surrogate, or not UTF-8)"
    return ""
