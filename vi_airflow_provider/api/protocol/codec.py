"""Bytes to documents and back: pure functions whose errors name the JSON path.

A page is split into undecoded items first, and each item becomes a document when it is asked for: validating
a page as one object costs more, and a caller that stops early has not paid for the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from vi_airflow_provider.api.errors import ViError, ViResponseError, ViValidationError, one_line
from vi_airflow_provider.api.models import Flow, FlowPage, FlowSpec, FlowSpecPatch
from vi_airflow_provider.api.protocol.messages import Failure, Request, Response
from vi_airflow_provider.api.validation import describe_errors

M = TypeVar("M", bound=BaseModel)

#: What reading JSON may raise.
NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True)
class ErrorContext:
    """Where a value came from, for the errors found in it. ``redact`` takes secrets out of what a server said."""

    method: str
    path: str
    status_code: int | None = None
    trace_id: str | None = None
    attempts: int = 0
    redact: Callable[[str], str] = field(default=str, repr=False)

    @classmethod
    def of(
        cls, request: Request, outcome: Response | Failure, attempts: int, redact: Callable[[str], str]
    ) -> ErrorContext:
        """Describe the outcome of a request."""
        headers = outcome.headers if isinstance(outcome, Response) else {}
        trace_id = one_line(redact(headers.get("x-cloud-trace-context", "").partition("/")[0][:400]), 100)
        # The cursor in it is the server's.
        path = redact(request.path) if "?p=" in request.path else request.path
        return cls(request.method, path, outcome.status, trace_id or None, attempts, redact)

    def error(self, kind: type[ViError], message: str) -> ViError:
        """Build an error that says where it happened."""
        return kind(
            self.redact(message),
            status_code=self.status_code,
            method=self.method,
            path=self.path,
            trace_id=self.trace_id,
            attempts=self.attempts,
        )


class _Envelope(msgspec.Struct):
    """A page whose items stay undecoded; ``items`` is required, so that ``{"error": …}`` is never "no flows"."""

    items: list[msgspec.Raw]
    nextPage: str | None = None  # noqa: N815 - the wire's name
    prevPage: str | None = None  # noqa: N815


class FlowHeaderSpec(msgspec.Struct):
    """The part of a spec that a peek looks at."""

    name: str


class FlowHeader(msgspec.Struct):
    """Which flow an undecoded item is: a look that costs a tenth of its validation."""

    flowId: str  # noqa: N815
    spec: FlowHeaderSpec


_peek: Final = msgspec.json.Decoder(FlowHeader).decode


@dataclass(frozen=True)
class RawPage(Generic[M]):
    """A page as it was received. Its documents are validated one by one, when they are asked for."""

    raw_items: list[msgspec.Raw]
    next_page: str | None
    prev_page: str | None
    parse: Callable[[bytes, ErrorContext, str], M]
    origin: ErrorContext

    def documents(self, wanted: Callable[[FlowHeader], bool] | None = None) -> Iterator[M]:
        """Yield the validated documents, or only those of which a peek says that they are wanted.

        :raises ViResponseError: at the first one that is not what the contract says
        """
        for number, raw in enumerate(self.raw_items):
            if wanted is None or _peek_says(wanted, raw):
                yield self.parse(bytes(raw), self.origin, f"items[{number}]")


class Scan(NamedTuple):
    """What a scan of a listing found, and how much of it was read."""

    flows: list[Flow]
    pages: int
    complete: bool


def parse_page(parse: Callable[[bytes, ErrorContext, str], M], answer: Response, origin: ErrorContext) -> RawPage[M]:
    """Read the envelope of a page (VI_API.md section 4).

    :param parse: makes a document of the bytes of an item
    :raises ViResponseError: not JSON, or no ``items`` array in it
    """
    content = json_content(answer, origin, "a page")
    try:
        content.decode()  # what is not decoded now may not turn out to be no text later
        envelope = msgspec.json.decode(content, type=_Envelope)
    except NOT_JSON as error:
        reason = f"the answer is no page of a listing: {one_line(str(error))}"
    else:
        # An empty cursor ends a listing as a missing one does.
        return RawPage(envelope.items, envelope.nextPage or None, envelope.prevPage or None, parse, origin)
    raise origin.error(ViResponseError, reason)


def _peek_says(wanted: Callable[[FlowHeader], bool], raw: msgspec.Raw) -> bool:
    try:
        return wanted(_peek(raw))
    except NOT_JSON:
        return True  # not a flow: let its validation say what is wrong


def flow_page(page: RawPage[Flow]) -> FlowPage:
    """Turn a received page into the public document, all its flows validated."""
    return FlowPage(items=list(page.documents()), next_page=page.next_page, prev_page=page.prev_page)


def parse_document(model: type[M], content: bytes, origin: ErrorContext, at: str = "") -> M:
    """Validate one document.

    :raises ViResponseError: a required field is missing or of a wrong type; the message names its path
    """
    try:
        msgspec.json.decode(content)  # pydantic's parser takes NaN, and a number beyond all bounds as infinity
        return model.model_validate_json(content)
    except NOT_JSON as error:
        reason = f"the answer is no JSON: {one_line(str(error))}"
    except ValidationError as error:
        reason = f"the answer is not what the API promises: {describe_errors(error, at)}"
    raise origin.error(ViResponseError, reason)


def json_content(answer: Response, origin: ErrorContext, expected: str) -> bytes:
    """Return the body if it can be JSON; say what it is otherwise.

    :raises ViResponseError: the body is empty, or something like an HTML page
    """
    start = answer.body.lstrip()[:1]
    if not start:
        raise origin.error(ViResponseError, f"the answer is empty where {expected} was expected")
    if start not in (b"{", b"["):
        kind = one_line(answer.headers.get("content-type", "no content type"), 80)
        raise origin.error(ViResponseError, f"the answer is not JSON ({kind}) where {expected} was expected")
    return answer.body


def server_message(answer: Response) -> str:
    """Return what the server says about an error: ``message``, else ``error``, else the body; nothing of HTML."""
    text = answer.body[:1000].decode("utf-8", "replace")
    try:
        body = msgspec.json.decode(answer.body)
    except NOT_JSON:
        return "" if "<" in text else text
    if isinstance(body, dict):
        for key in ("message", "error"):
            if isinstance(body.get(key), str) and body[key]:
                return str(body[key])
    return text


def wire_spec(build: Callable[[Any], FlowSpec | FlowSpecPatch], spec: object) -> dict[str, Any]:
    """Check a spec that a user gives, and return it as the wire has it.

    :raises ViValidationError: a field is missing or of a wrong type; the message names its path
    """
    if not isinstance(spec, (Mapping, FlowSpec)):
        raise ViValidationError(f"spec: a flow spec or an object of its fields expected, {type(spec).__name__} given")
    try:
        return build(spec).to_wire()
    except ValidationError as error:
        reason = describe_errors(error, "spec")
    except ValueError as error:  # of pydantic: no JSON form, or a circular reference
        reason = one_line(f"spec: {error}")
    raise ViValidationError(reason)


def wire_metadata(attributes: Mapping[str, str | None] | None, *, removable: bool = False) -> dict[str, Any]:
    """Return the ``metadata`` part of a body, empty without attributes; ``None`` removes one where that is allowed.

    :raises ViValidationError: an attribute is not text
    """
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping):
        raise ViValidationError(f"attributes: an object of texts expected, {type(attributes).__name__} given")
    for key, value in attributes.items():
        if not isinstance(key, str) or not (isinstance(value, str) or (value is None and removable)):
            raise ViValidationError(f"attributes[{key!r:.80}]: text expected, {type(value).__name__} given")
    return {"metadata": {"attributes": dict(attributes)}}


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Write a request body: compact JSON, UTF-8 (VI_API.md section 1).

    :raises ViValidationError: NaN, infinity or half a surrogate pair, which JSON cannot carry
    """
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError) as error:
        reason = one_line(f"the document cannot be written as JSON: {error}")
    raise ViValidationError(reason)
