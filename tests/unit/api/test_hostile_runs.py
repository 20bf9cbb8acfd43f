"""Run documents that are hostile, and secrets in them: each is read or refused, and no secret is shown."""

from __future__ import annotations

import json
import logging
import traceback
from typing import Any, Final

import pytest

from tests.documents import RUN_ID, wire_bytes, wire_page, wire_run, wire_run_output
from tests.unit.api.run_driver import Driver, ok
from vi_airflow_provider.api.errors import ViError, ViResponseError
from vi_airflow_provider.api.models import RunLogs, RunOutput
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Outcome, Response

URL: Final = "https://storage.example/ckpt?X-Signature=pre-s1gned-s3cret"
EXPIRES: Final = 1_783_300_000_000
OUTPUT: Final = wire_run_output(status__contents={"downloadUrl": {"url": URL, "expiresAt": EXPIRES}})


def read_output(outcome: Outcome) -> RunOutput:
    driver = Driver(lambda _: outcome, max_retries=0)
    return driver.run(driver.calls.get_run_output(RUN_ID, "ckpt-40", contents=True))


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def with_metric(text: str) -> bytes:
    """A checkpoint with a metric as it is written in JSON."""
    return wire_bytes(wire_run_output(spec__evaluationMetrics={"f1": "?"})).replace(b'"?"', text.encode())


FLAWED: Final = {
    "deep nesting": with_metric("[" * 150 + "]" * 150),
    "nesting beyond the parser": with_metric("[" * 100_000 + "]" * 100_000),
    "a number of 5,000 digits": with_metric("9" * 5_000),
    "a lone surrogate": with_metric('"\\ud800"'),
    "invalid UTF-8": with_metric('"?"').replace(b"?", b"\xff"),
    "trailing text": with_metric("1") + b"}",
}


@pytest.mark.parametrize("content", FLAWED.values(), ids=FLAWED)
@pytest.mark.parametrize("nan", [False, True])
def test_flawed_checkpoint_is_refused(content: bytes, nan: bool) -> None:
    if nan:
        content = content.replace(b"0.412", b"NaN").replace(b'"epoch"', b'"x":NaN,"epoch"')
    with pytest.raises(ViResponseError):
        read_output(Response(200, {}, content))
    page = b'{"items":[%s]}' % content
    driver = Driver(lambda _: Response(200, {}, page))
    with pytest.raises(ViResponseError):
        driver.all(driver.calls.list_run_outputs(RUN_ID))


def test_cursor_that_is_no_text_is_refused_beside_nan() -> None:
    page = wire_page(wire_run_output(spec__evaluationMetrics={"f1": float("nan")}), nextPage={"a": 1})
    driver = Driver(lambda _: ok(page))
    with pytest.raises(ViResponseError):
        driver.all(driver.calls.list_run_outputs(RUN_ID))


HOSTILE_TEXTS: Final = ("a\nERROR forged", "\x1b[31m", "\u202egnp", "x" * 10_000_000, "\x00")


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=lambda text: repr(text[:20]))
def test_run_with_a_hostile_name_is_read_unchanged(text: str) -> None:
    document = wire_run(spec__flow__name=text)
    driver = Driver(lambda request: ok(document if request.path.endswith(RUN_ID) else wire_page(document)))
    assert driver.run(driver.calls.get_run(RUN_ID)).to_wire() == document
    assert [run.to_wire() for run in driver.all(driver.calls.list_runs())] == [document]


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=lambda text: repr(text[:20]))
def test_error_about_another_run_is_one_short_line(text: str) -> None:
    driver = Driver(lambda _: ok(wire_run(runId=text)))
    with pytest.raises(ViResponseError) as caught:
        driver.run(driver.calls.get_run(RUN_ID))
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("key", ["line", "raw", "model_dump", "model_config", "__class__", "__dict__", "", "text"])
def test_reserved_key_in_a_log_line_is_harmless(key: str) -> None:
    driver = Driver(lambda _: ok({"items": [{"message": "a", key: "a"}]}))
    logs = driver.run(driver.calls.get_run_logs(RUN_ID))
    assert logs.text == "a"


FAILURES: Final[dict[str, Outcome]] = {
    "a field is missing": ok({key: value for key, value in OUTPUT.items() if key != "etag"}),
    "the expiry is no number": ok(wire_run_output(status__contents={"downloadUrl": {"url": URL, "expiresAt": URL}})),
    "the URL stands elsewhere": ok(wire_run_output(status__contents=URL)),
    "another run": ok({**OUTPUT, "runId": "other"}),
    "cut off": Response(200, {}, wire_bytes(OUTPUT)[:-40]),
    "trailing text": Response(200, {}, wire_bytes(OUTPUT) + b"x"),
    "timeout": Failure(FailureKind.TIMEOUT, status=200),
}


@pytest.mark.parametrize("outcome", FAILURES.values(), ids=FAILURES)
def test_failure_with_a_presigned_url_does_not_show_it(outcome: Outcome, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ViError) as caught:
        read_output(outcome)
    shown = [str(caught.value), repr(caught.value), caplog.text, *traceback.format_exception(caught.value)]
    assert not [text for text in shown if "s3cret" in text]


def test_presigned_url_is_in_no_log_repr_or_dump(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    output = read_output(ok(OUTPUT))
    assert output.status.contents is not None
    assert output.status.contents.download_url is not None
    assert output.status.contents.download_url.url.get_secret_value() == URL
    odd = read_output(ok(wire_run_output(status__contents={"url": URL})))
    shown = [caplog.text, repr(output), str(output), output.model_dump_json(), repr(odd), str(odd)]
    assert not [text for text in shown if "s3cret" in text]


def test_log_location_of_a_run_is_in_no_log_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    document = wire_run(status__log=URL)
    driver = Driver(lambda request: ok(document if request.path.endswith(RUN_ID) else wire_page(document)))
    runs = [driver.run(driver.calls.get_run(RUN_ID)), *driver.all(driver.calls.list_runs())]
    shown = [caplog.text, *map(repr, runs), *map(str, runs)]
    assert not [text for text in shown if "s3cret" in text]


def read_log(kind: str, body: bytes) -> RunLogs:
    driver = Driver(lambda _: Response(200, {"content-type": kind} if kind else {}, body), max_retries=0)
    return driver.run(driver.calls.get_run_logs(RUN_ID))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", b""),
        ("application/json", b""),
        ("application/json", b"plain text"),
        ("application/json; charset=utf-8", b"\xff\xfe"),
        ("application/problem+json", b"plain text"),
        ("text/html", b"<html>Sign in</html>"),
        ("text/html", b"Sign in"),
        ("", b"  <html>Sign in</html>"),
    ],
)
def test_response_that_is_no_log_is_refused(kind: str, body: bytes) -> None:
    """A cleanup would archive it as the log, and delete the run."""
    with pytest.raises(ViResponseError):
        read_log(kind, body)


@pytest.mark.parametrize(
    ("kind", "body", "lines"),
    [
        ("text/plain", b"", []),
        ("text/plain; charset=utf-8", b"[info] a\n{b", ["[info] a", "{b"]),
        ("application/octet-stream", b"a", ["a"]),
        ("", b"a \xff", ["a \ufffd"]),
        ("application/json", b'{"items":[]}', []),
        ("", b'{"items":[{"line":"a"}]}', ["a"]),
        ("application/json", b'{"items":null,"lines":["a"]}', ["a"]),
        ("application/json", b'{"data":{},"logs":"a\\nb"}', ["a", "b"]),
    ],
)
def test_log_is_text_or_json(kind: str, body: bytes, lines: list[str]) -> None:
    logs = read_log(kind, body)
    assert [item.line for item in logs.lines] == lines
    assert not logs.has_unknown_shape


@pytest.mark.parametrize("body", [b'{"items":{"line":"a"}}', b'{"chunks":["a"]}', b'{"items":null}', b'{"lines":7}'])
def test_log_without_lines_has_an_unknown_shape(body: bytes) -> None:
    """So that a cleanup archives it as it is, and not as a log without lines."""
    logs = read_log("application/json", body)
    assert (logs.lines, logs.has_unknown_shape, logs.raw) == ([], True, json.loads(body))
