"""Bytes to the documents of runs: like ``codec``, for a contract that leaves more open.

* A metric of a checkpoint may be NaN or infinite, which JSON has no words for, and servers write all the same. Such a
  document is read with Python's own parser.
* One checkpoint comes as a document or as a page of one; logs come as JSON of several shapes or as plain text.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import ValidationError

from vi_airflow_provider.api import models
from vi_airflow_provider.api.errors import ViResponseError, one_line, refusing
from vi_airflow_provider.api.protocol import codec
from vi_airflow_provider.api.protocol.messages import Response
from vi_airflow_provider.api.protocol.outcomes import NOT_JSON, ErrorContext
from vi_airflow_provider.api.protocol.resource_calls import Parse
from vi_airflow_provider.api.protocol.strict_json import MAX_NESTING, nests_too_deep
from vi_airflow_provider.api.validation import describe_errors

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Run, RunLogLine, RunLogs, RunOutput

#: Where the lines of a log may stand, and the text within a line.
_LINE_KEYS: Final = ("line", "message", "text", "data")

#: How the escape of a surrogate begins.
_SURROGATE: Final = b"\\ud"


class _Header(msgspec.Struct):
    """The id of an undecoded run."""

    runId: str  # noqa: N815 - the wire's name


_header_of: Final = msgspec.json.Decoder(_Header).decode


def wanted_runs(page: codec.RawPage[Run], run_ids: Collection[str]) -> Iterator[Run]:
    """Yield the runs of a page with these ids; an item that is no run is validated, to find out what is wrong."""
    for number, raw in enumerate(page.raw_items):
        try:
            wanted = _header_of(raw).runId in run_ids
        except NOT_JSON:
            wanted = True
        if wanted:
            yield page.parse(bytes(raw), page.context, f"items[{number}]")


def run_in(response: Response, context: ErrorContext, run_id: str, organization_id: str) -> Run:
    """Read a run, and check that it is the requested one."""
    run = codec.parse_document(models.Run, codec.json_content(response, context, "a run"), context)
    codec.check_identity("run", run.run_id, run_id, context)
    codec.check_identity("organization", run.organization_id, organization_id, context)
    return run


def output_in(
    response: Response, context: ErrorContext, run_id: str, run_output_id: str, organization_id: str
) -> RunOutput:
    """Read a checkpoint from a document or from a page of one, and check that it is the requested one."""
    value = _lenient_json(codec.json_content(response, context, "a checkpoint"), context)
    if isinstance(value, dict) and isinstance(value.get("items"), list):
        matching = [
            item for item in value["items"] if isinstance(item, dict) and item.get("runOutputId") == run_output_id
        ]
        if len(matching) != 1:
            raise context.response_error(f"a page with {len(matching)} checkpoints of this id, where one was expected")
        value = matching[0]
    output = _output(value, context, "", run_id=run_id, organization_id=organization_id)
    codec.check_identity("checkpoint", output.run_output_id, run_output_id, context)
    return output


def parse_output(
    content: bytes, context: ErrorContext, json_path: str, *, run_id: str, organization_id: str
) -> RunOutput:
    """Read a checkpoint of a page."""
    value = _lenient_json(content, context)
    return _output(value, context, json_path, run_id=run_id, organization_id=organization_id)


def parse_page(parse: Parse[RunOutput], response: Response, context: ErrorContext) -> codec.RawPage[RunOutput]:
    """Read the envelope of a page of checkpoints, also of one with numbers that JSON cannot represent."""
    try:
        return codec.parse_page(parse, response, context)
    except ViResponseError:
        page = _lenient_json(codec.json_content(response, context, "a page"), context)
        if not isinstance(page, dict) or not isinstance(page.get("items"), list):
            raise
        if not all(isinstance(page.get(key), str | None) for key in ("nextPage", "prevPage")):
            raise
        items = [msgspec.Raw(json.dumps(item, ensure_ascii=False).encode()) for item in page["items"]]
        return codec.RawPage(items, page.get("nextPage") or None, page.get("prevPage") or None, parse, context)


def parse_logs(response: Response, context: ErrorContext) -> RunLogs:
    """Read a part of a log: ``{"items": [{"line": …}]}``, ``{"data": text}``, a list of lines, or plain text."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    start = response.body.lstrip()[:1]
    if kind == "text/html" or start == b"<":
        raise context.response_error("the response is a web page where a log was expected")
    if kind == "text/plain" or (start and start not in (b"{", b"[") and not kind.endswith("json")):
        text = response.body.decode("utf-8", "replace")
        return models.RunLogs(lines=[models.RunLogLine(line=line) for line in text.splitlines()], raw=text)
    raw = _lenient_json(codec.json_content(response, context, "a log"), context)
    return models.RunLogs(lines=[_line(item) for item in _log_items(raw)], raw=raw)


def parse_object(response: Response, context: ErrorContext) -> dict[str, Any]:
    """Read a JSON object of which no contract is known."""
    value = _lenient_json(codec.json_content(response, context, "an object"), context)
    if not isinstance(value, dict):
        raise context.response_error(
            f"the response violates the contract: an object expected, {type(value).__name__} given"
        )
    return value


def _log_items(raw: Any) -> Iterator[Any]:
    found = models.RunLogs.lines_in(raw)
    yield from found.splitlines() if isinstance(found, str) else found or ()


def _line(item: Any) -> RunLogLine:
    if isinstance(item, Mapping):
        text = next((item[key] for key in _LINE_KEYS if isinstance(item.get(key), str)), None)
        extra = {key: value for key, value in item.items() if key != "line"}
        return models.RunLogLine.model_validate({**extra, "line": json.dumps(item) if text is None else text})
    return models.RunLogLine(line=item if isinstance(item, str) else json.dumps(item))


def _output(value: Any, context: ErrorContext, json_path: str, *, run_id: str, organization_id: str) -> RunOutput:
    def describe(error: Exception) -> str:
        assert isinstance(error, ValidationError)  # noqa: S101 - the only one that is refused here
        return f"the response violates the contract: {describe_errors(error, json_path)}"

    with refusing(context.response_error, ValidationError, describe=describe):
        output = models.RunOutput.model_validate(value)
    codec.check_identity("run", output.run_id, run_id, context)
    codec.check_identity("organization", output.organization_id, organization_id, context)
    return output


def _lenient_json(content: bytes, context: ErrorContext) -> Any:
    """Parse JSON in which NaN, Infinity and -Infinity may stand for numbers; the other limits of JSON apply."""

    def describe(error: Exception) -> str:
        return f"the response is not JSON: {one_line(str(error))}"

    with refusing(context.response_error, ValueError, RecursionError, describe=describe):
        value = json.loads(content)
        if _SURROGATE in content.lower():
            json.dumps(value, ensure_ascii=False).encode()  # refuses a surrogate without its pair
    if nests_too_deep(content):
        raise context.response_error(f"the response cannot be read: more than {MAX_NESTING} levels of nesting")
    return value
