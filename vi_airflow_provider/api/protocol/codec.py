"""Bytes to documents and back: pure functions whose errors name the JSON path.

A page is split into undecoded items first, and each item becomes a document when it is requested: validating
a page as one object costs more, and a caller that stops early does not pay for the rest.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from vi_airflow_provider.api.errors import ViError, ViValidationError, one_line, refusing
from vi_airflow_provider.api.models import Flow, FlowPage, FlowSpec, FlowSpecPatch
from vi_airflow_provider.api.protocol.messages import Response
from vi_airflow_provider.api.protocol.outcomes import NOT_JSON, ErrorContext
from vi_airflow_provider.api.protocol.strict_json import find_flaw, flaw_in, invalid, nests_too_deep, unreadable
from vi_airflow_provider.api.validation import checked_attributes, checked_object, describe_errors

M = TypeVar("M", bound=BaseModel)


class _Envelope(msgspec.Struct):
    """A page whose items stay undecoded; ``items`` is required, so that ``{"error": …}`` never reads as no flows."""

    items: list[msgspec.Raw]
    nextPage: str | None = None  # noqa: N815 - the wire's name
    prevPage: str | None = None  # noqa: N815


class FlowHeaderSpec(msgspec.Struct):
    """The part of a spec that a header holds."""

    name: str


class FlowHeaderMetadata(msgspec.Struct):
    """The part of the metadata that a header holds."""

    timeCreated: Any = None  # noqa: N815


class FlowHeader(msgspec.Struct):
    """Id, name and time of creation of an undecoded item; reading them costs a tenth of its validation."""

    flowId: str  # noqa: N815
    spec: FlowHeaderSpec
    metadata: FlowHeaderMetadata | None = None

    @property
    def created(self) -> Any:
        """The time of creation as it was sent, which may be anything."""
        return None if self.metadata is None else self.metadata.timeCreated


#: Bytes that are decoded at a time.
_PIECE: Final = 1 << 16

_utf_8: Final = codecs.getincrementaldecoder("utf-8")

_header_of: Final = msgspec.json.Decoder(FlowHeader).decode


@dataclass(frozen=True)
class RawPage(Generic[M]):
    """A page as it was received. Its documents are validated one by one, when they are requested.

    :param walk: number of the walk that it belongs to (``page_sizes``)
    """

    raw_items: list[msgspec.Raw]
    next_page: str | None
    prev_page: str | None
    parse: Callable[[bytes, ErrorContext, str], M]
    context: ErrorContext
    walk: int = 0

    def documents(self, wanted: Callable[[FlowHeader], bool] | None = None) -> Iterator[M]:
        """Yield the validated documents, or only those whose header is wanted.

        :raises ViResponseError: at the first document that violates the contract
        """
        for number, raw in enumerate(self.raw_items):
            if wanted is None or _is_wanted(wanted, raw):
                yield self.parse(bytes(raw), self.context, f"items[{number}]")


class Scan(NamedTuple):
    """What a scan of a listing found, how much of it was read, and the cursor of the page behind that."""

    flows: list[Flow]
    pages: int
    complete: bool
    next_page: str | None = None


def parse_page(parse: Callable[[bytes, ErrorContext, str], M], response: Response, context: ErrorContext) -> RawPage[M]:
    """Read the envelope of a page (VI_API.md section 4).

    :param parse: makes a document of the bytes of an item
    :raises ViResponseError: not JSON, or without an ``items`` array
    """
    content = json_content(response, context, "a page")

    def refuse(reason: str) -> ViError:
        flaw = find_flaw(content, level=-1)  # the levels of the envelope do not count
        return unreadable(context, flaw, f"the response is not a page of a listing: {reason}")

    with refusing(refuse, *NOT_JSON, describe=one_line_of):
        _check_text(content)  # what is decoded later must be known to be text
        envelope = msgspec.json.decode(content, type=_Envelope)
    # An empty cursor ends a listing as a missing one does.
    return RawPage(envelope.items, envelope.nextPage or None, envelope.prevPage or None, parse, context)


def _check_text(content: bytes) -> None:
    """Raise ``UnicodeDecodeError`` unless these are UTF-8; as a whole, they would be held twice."""
    if not content.isascii():
        decoder = _utf_8()
        for start in range(0, len(content), _PIECE):
            decoder.decode(content[start : start + _PIECE])
        decoder.decode(b"", final=True)


def _is_wanted(wanted: Callable[[FlowHeader], bool], raw: msgspec.Raw) -> bool:
    try:
        return wanted(_header_of(raw))
    except NOT_JSON:
        return True  # not a flow: its validation describes what is wrong


def flow_page(page: RawPage[Flow]) -> FlowPage:
    """Turn a received page into the public document, all its flows validated."""
    return FlowPage(items=list(page.documents()), next_page=page.next_page, prev_page=page.prev_page)


def parse_document(model: type[M], content: bytes, context: ErrorContext, json_path: str = "") -> M:
    """Validate one document.

    :raises ViResponseError: a required field is missing or of a wrong type; the message names its path
    """

    def refuse_text(reason: str) -> ViError:
        return unreadable(context, find_flaw(content, json_path), f"the response is not JSON: {reason}")

    def refuse_document(reason: str) -> ViError:
        return invalid(context, content, reason, json_path)

    with refusing(refuse_text, *NOT_JSON, describe=one_line_of):
        msgspec.json.decode(content)  # pydantic's parser accepts NaN, and reads huge numbers as infinity
    if nests_too_deep(content):
        raise refuse_text("nested too deeply")
    with refusing(refuse_document, ValidationError, describe=partial(describe_errors, json_path=json_path)):
        return model.model_validate_json(content)


#: What to do if a response is about another document than the request.
_IDENTITY_ADVICE: Final = (
    "Check the organization id (the connection's login), and that no proxy or cache mixes up the responses."
)


def check_identity(kind: str, found: str, requested: str, context: ErrorContext, json_path: str = "") -> None:
    """Refuse a response about another document, or of another organization, than the requested one.

    :param kind: what the two ids belong to
    :param json_path: where the document is in the response, for the message
    :raises ViResponseError: the ids differ
    """
    if found != requested:
        shown = one_line(repr(found), 80)
        message = f"{json_path or 'the response'} is about {kind} {shown}, but {kind} {requested!r} was requested"
        raise context.response_error(message, advice=_IDENTITY_ADVICE)


def one_line_of(error: BaseException) -> str:
    """Return the message of a library's exception, safe for a message of ours."""
    return one_line(str(error))


def json_content(response: Response, context: ErrorContext, expected: str) -> bytes:
    """Return the body if it can be JSON; describe it otherwise.

    :raises ViResponseError: the body is empty, or something like an HTML page
    """
    start = response.body.lstrip()[:1]
    if not start:
        raise context.response_error(f"the response is empty where {expected} was expected")
    if start not in (b"{", b"["):
        kind = one_line(response.headers.get("content-type", "no content type"), 80)
        raise context.response_error(f"the response is not JSON ({kind}) where {expected} was expected")
    return response.body


def wire_spec(build: Callable[[Any], FlowSpec | FlowSpecPatch], spec: object) -> dict[str, Any]:
    """Check a spec that a user gives, and return it in its wire form.

    :raises ViValidationError: a field is missing or of a wrong type; the message names its path
    """
    if not isinstance(checked_object("spec", spec, "a flow spec"), (Mapping, FlowSpec)):
        raise ViValidationError(f"spec: a flow spec or an object of its fields expected, {type(spec).__name__} given")

    def describe(error: ValueError) -> str:
        if isinstance(error, ValidationError):
            return describe_errors(error, "spec")
        return one_line(f"spec: {error}")  # of pydantic: no JSON form, or a circular reference

    with refusing(ViValidationError, ValueError, describe=describe):
        built = build(spec)
        wire = built.to_wire()  # first, as it refuses what refers to itself
        _refuse_sets(built.model_dump(), "spec")
        return wire


def _refuse_sets(value: Any, path: str) -> None:
    """Refuse a value without an order: each process would write another document of it, with another digest."""
    if isinstance(value, set | frozenset):
        raise ValueError(f"{path.removeprefix('spec.')}: a set has no order; write a list")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, item in items:
        _refuse_sets(item, f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}")


def wire_metadata(attributes: Mapping[str, str | None] | None, *, removable: bool = False) -> dict[str, Any]:
    """Return the ``metadata`` part of a body, empty without attributes.

    :param removable: accept ``None`` as a value; it removes the attribute
    :raises ViValidationError: an attribute is not text
    """
    if attributes is None:
        return {}
    return {"metadata": {"attributes": dict(checked_attributes(attributes, removable=removable))}}


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Write a request body: compact JSON, UTF-8 (VI_API.md section 1).

    :raises ViValidationError: NaN, infinity, a lone surrogate or nesting that could not be read again
    """

    def describe(error: Exception) -> str:
        return one_line(f"the document cannot be written as JSON: {flaw_in(body) or error}")

    with refusing(ViValidationError, ValueError, TypeError, RecursionError, describe=describe):
        content = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    if nests_too_deep(content):
        raise ViValidationError(describe(ValueError("nested too deeply")))
    return content
