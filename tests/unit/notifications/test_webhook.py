"""`ViReportNotifier` posts to a webhook, and shows its URL nowhere."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp.test_utils
import aiohttp.web
import pytest
import requests
import requests_mock

from tests.dripping_server import dripping
from vi_airflow_provider.api.errors import ViNetworkError, ViValidationError
from vi_airflow_provider.notifications import webhook as webhook_module
from vi_airflow_provider.notifications.webhook import ViReportNotifier

SECRET = "/services/T000/B000/never-shown"
REPORT = {"dry_run": False, "selected": 3, "deleted": 3, "spared": 0}


class TaskInstance:
    task_id, map_index = "prune", -1

    def __init__(self, state: str | None, **values: Any) -> None:
        self.state, self.values = state, values

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.values.get(key)


def context(error: Exception | None = None, **values: Any) -> Any:
    """Return what a worker passes to a callback."""
    ti = TaskInstance("success" if error is None else "failed", **values)
    return {"ti": ti, "dag": SimpleNamespace(dag_id="cleanup"), "exception": error}


def define(monkeypatch: pytest.MonkeyPatch, host: str, **fields: Any) -> None:
    connection = {"conn_type": "http", "host": host, "password": SECRET, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_VI_WEBHOOK", json.dumps(connection))


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[requests_mock.Mocker]:
    define(monkeypatch, "https://chat.example")
    with requests_mock.Mocker() as mocker:
        mocker.post(f"https://chat.example{SECRET}", text="ok")
        yield mocker


def notifier(**options: Any) -> ViReportNotifier:
    made = ViReportNotifier(**options)
    made.title = "cleanup"  # Airflow renders it
    return made


def test_result_is_posted_as_text(webhook: requests_mock.Mocker) -> None:
    notifier().notify(context(return_value=REPORT))
    assert [sent.json() for sent in webhook.request_history] == [{"text": "cleanup prune: cleanup: 3 deleted"}]


def test_failure_is_posted_with_its_error(webhook: requests_mock.Mocker) -> None:
    notifier(only_changes=True).notify(context(ValueError("<!here> no\nluck")))
    assert webhook.request_history[0].json() == {"text": "cleanup prune failed: &lt;!here&gt; no luck"}


def test_report_that_a_failed_cleanup_left_is_read(webhook: requests_mock.Mocker) -> None:
    notifier().notify(context(report=REPORT))
    assert webhook.request_history[0].json()["text"].endswith("3 deleted")


def test_success_without_changes_can_be_left_out(webhook: requests_mock.Mocker) -> None:
    notifier(only_changes=True).notify(context(return_value=IDLE))
    assert webhook.request_history == []


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "chat.internal", "port": 8065}, "https://chat.internal:8065"),
        ({"host": "chat.internal", "schema": "http", "port": 8065}, "http://chat.internal:8065"),
        ({"host": "https://chat.internal", "port": 8065}, "https://chat.internal:8065"),
        ({"host": "https://chat.internal/hooks", "port": 8065}, "https://chat.internal:8065/hooks"),
        ({"host": "https://chat.internal:8065/hooks", "port": 8065}, "https://chat.internal:8065/hooks"),
        ({"host": "https://chat.internal:8065"}, "https://chat.internal:8065"),
        ({"host": "[::1]", "port": 8065}, "https://[::1]:8065"),
        ({"host": "http://[::1]:8065", "port": 8065}, "http://[::1]:8065"),
        ({"host": "::1", "schema": "http", "port": 8065}, "http://[::1]:8065"),
        ({"host": "::1"}, "https://[::1]"),
    ],
)
def test_port_of_the_connection_is_used(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], url: str) -> None:
    define(monkeypatch, **fields)
    with requests_mock.Mocker() as mocker:
        mocker.post(requests_mock.ANY)
        notifier().notify(context(return_value=REPORT))
    assert [sent.url for sent in mocker.request_history] == [f"{url}{SECRET}"]


@pytest.mark.parametrize("host", ["https://chat.internal:443", "chat.internal:443/hooks", "http://[::1]:443"])
def test_two_ports_are_refused_without_the_url(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    define(monkeypatch, host, port=8065)
    with pytest.raises(ViNetworkError, match="its host has another port") as raised:
        notifier().notify(context(return_value=REPORT))
    assert "never-shown" not in shown_by(raised.value)


def shown_by(error: BaseException) -> str:
    """Return what a log with tracebacks and their locals shows of an error, without the frame of the test."""
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next
    found = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(found.format())


@pytest.mark.parametrize(
    "response",
    [
        {"status_code": 404, "text": SECRET},
        {"status_code": 302, "headers": {"Location": "https://elsewhere.example"}},
        {"exc": requests.ConnectionError(f"Max retries exceeded with url: {SECRET}")},
        {"exc": requests.ReadTimeout(f"https://chat.example{SECRET}")},
    ],
)
def test_refusal_names_the_connection_and_not_the_url(webhook: requests_mock.Mocker, response: dict[str, Any]) -> None:
    webhook.post(f"https://chat.example{SECRET}", **response)
    with pytest.raises(ViNetworkError, match="connection 'vi_webhook'") as raised:
        notifier().notify(context(return_value=REPORT))
    assert "never-shown" not in shown_by(raised.value)


def test_response_that_never_ends_does_not_hold_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if a byte arrives now and then."""
    monkeypatch.setattr(webhook_module, "_DEADLINE", 0.2)
    with dripping(b"HTTP/1.1 200 OK\r\n", b"X-Drop: 1\r\n") as url:
        define(monkeypatch, url)
        with pytest.raises(ViNetworkError, match="not accept the message: ReadTimeout"):
            notifier().notify(context(return_value=REPORT))


def test_body_of_the_response_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"x") as url:
        define(monkeypatch, url)
        notifier().notify(context(return_value=REPORT))


@pytest.mark.parametrize("status", [200, 500])
async def test_triggerer_posts_without_blocking(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    received = []

    async def receive(request: aiohttp.web.Request) -> aiohttp.web.Response:
        received.append((request.path, await request.json()))
        return aiohttp.web.Response(status=status)

    app = aiohttp.web.Application()
    app.router.add_post("/{path:.*}", receive)
    async with aiohttp.test_utils.TestServer(app) as server:
        define(monkeypatch, f"http://127.0.0.1:{server.port}")
        if status == 200:
            await notifier().async_notify(context(return_value=REPORT))
        else:
            with pytest.raises(ViNetworkError, match="status 500") as raised:
                await notifier().async_notify(context(return_value=REPORT))
            assert "never-shown" not in shown_by(raised.value)
    assert received == [(SECRET, {"text": "cleanup prune: cleanup: 3 deleted"})]


IDLE = REPORT | {"selected": 0, "deleted": 0}
#: As of `airflow.models.deadline` and `airflow.dag_processing.processor`.
MISSED: dict[str, Any] = {
    "dag_run": {"dag_run_id": "scheduled__2026", "dag_id": "audit", "state": "running"},
    "deadline": {"id": "x", "deadline_time": "2026-07-02T02:00:00Z"},
}


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (MISSED, ": DAG run scheduled__2026 of audit has missed its deadline of 2026-07-02T02:00:00Z"),
        ({"dag_run": None, "deadline": {}}, ": a DAG run has missed its deadline"),
        ({"ti": TaskInstance(None)}, " prune ended without a result: it may have failed"),
        ({"ti": TaskInstance("failed")}, " prune failed"),
        ({"ti": TaskInstance("up_for_retry", return_value=IDLE)}, " prune failed"),
        ({"dag": None, "run_id": "r1", "reason": "task_failure"}, ": DAG run r1 failed: task_failure"),
        (
            {"ti": TaskInstance(None, return_value=IDLE), "run_id": "r1", "reason": "timed_out"},
            ": DAG run r1 failed: timed_out",
        ),
        ({"dag": None, "run_id": "r1", "reason": "success"}, ": done"),
        ({"ti": TaskInstance("success"), "exception": None}, " prune: done"),
        ({"ti": TaskInstance("skipped"), "exception": None}, " prune: skipped"),
        ({}, " ended without a result: it may have failed"),
    ],
)
def test_only_a_known_success_is_done(webhook: requests_mock.Mocker, facts: Any, text: str) -> None:
    notifier(only_changes=True).notify(facts)
    assert webhook.request_history[0].json() == {"text": f"cleanup{text}"}


async def test_deadline_without_a_task_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    async def receive(request: aiohttp.web.Request) -> aiohttp.web.Response:
        sent.append(await request.json())
        return aiohttp.web.Response()

    app = aiohttp.web.Application()
    app.router.add_post("/{path:.*}", receive)
    async with aiohttp.test_utils.TestServer(app) as server:
        define(monkeypatch, f"http://127.0.0.1:{server.port}")
        facts: Any = MISSED
        await notifier().async_notify(facts)
    assert len(sent) == 1
    assert "missed its deadline" in sent[0]["text"]


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_interruption_shows_the_url_in_no_frame(monkeypatch: pytest.MonkeyPatch, ending: type[BaseException]) -> None:
    define(monkeypatch, "https://chat.example")

    def send(*_: Any, **__: Any) -> Any:
        raise ending

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    with pytest.raises(ending) as raised:
        notifier().notify(context(return_value=REPORT))
    frames = [frame for frame, _ in traceback.walk_tb(raised.value.__traceback__)]
    assert {"notify", "_post"} <= {frame.f_code.co_name for frame in frames}
    assert SECRET not in repr([frame.f_locals for frame in frames])


async def test_proxy_that_is_excluded_gets_nothing_from_the_triggerer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks in ``NO_PROXY`` have one meaning for all clients."""

    async def receive(_: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response()

    app = aiohttp.web.Application()
    app.router.add_post(SECRET, receive)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    async with aiohttp.test_utils.TestServer(app) as server:
        define(monkeypatch, str(server.make_url("")).rstrip("/"))
        await notifier().async_notify(context(return_value=REPORT))


def test_flag_that_is_not_true_or_false_is_refused() -> None:
    with pytest.raises(ViValidationError, match="only_changes: 'no' is not True or False"):
        notifier(only_changes="no")
