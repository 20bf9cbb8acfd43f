"""How long a call waits before a retry, and what the clock of its budget counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import FLOW_ID
from tests.transports import Clock, settings_for
from tests.unit.api.protocol_support import FLOW, HERE, play, protocol
from vi_airflow_provider.api.errors import ViTimeoutError
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Response, Send, Sleep
from vi_airflow_provider.api.protocol.retry import retry_after
from vi_airflow_provider.api.verbs import ViProtocol

NOW: Final = datetime(2026, 7, 1, 12, tzinfo=UTC)


def asked(text: str, status: int = 503) -> float | None:
    return retry_after(Response(status, {"retry-after": text}), now=NOW.timestamp)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 5 ", 5),
        ("0.25", 0.25),
        ("-1", 0),
        ("1" + "0" * 299, 1e299),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("Wed, 01 Jul 2026 14:00:30 +0200", 30),
        ("Wednesday, 01-Jul-26 12:00:30 GMT", 30),  # RFC 850
        ("Wed Jul  1 12:00:30 2026", 30),  # asctime
        ("", None),
        ("soon", None),
        ("1 2", None),
        ("1,5", None),
        ("٣", None),
        ("1" * 301, None),
        ("Wed, 01 Jul 2026 25:00:30 GMT", None),
        ("Wed, 01 Jul 2026 12:00:30 +9999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert asked(text) == seconds


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock shows the time of Tokyo."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
def test_a_date_without_a_zone_is_in_utc() -> None:
    assert datetime.fromtimestamp(0).hour == 9
    assert asked("Wed Jul  1 12:00:30 2026") == 30


@pytest.mark.parametrize("status", [200, 301, 408, 500, 502, 504])
def test_retry_after_counts_only_on_429_and_503(status: int) -> None:
    assert asked("5", status) is None
    assert asked("5", 429) == asked("5", 503) == 5


@given(st.text(st.characters(codec="latin-1")))
def test_any_retry_after_is_a_wait_or_ignored(text: str) -> None:
    seconds = asked(text)
    assert seconds is None or seconds >= 0


def test_a_failure_requests_no_wait() -> None:
    assert retry_after(Failure(FailureKind.BROKEN, status=503)) is None


@given(st.integers(0, 100), st.floats(0, 3600))
def test_the_backoff_has_full_jitter_and_doubles(tries: int, longest: float) -> None:
    drawn: list[tuple[float, float]] = []

    def middle(low: float, high: float) -> float:
        drawn.append((low, high))
        return high / 2

    settings = settings_for(HERE, max_retries=100, max_retry_delay=longest, retry_budget=86_400)
    steps = play(
        ViProtocol(settings, clock=lambda: 0.0, jitter=middle).get_flow(FLOW_ID), *[Response(500)] * tries, FLOW
    )
    assert drawn == [(0, 2.0 ** min(n, 30)) for n in range(tries)]
    assert [step.seconds for step in steps if isinstance(step, Sleep)] == [min(high / 2, longest) for _, high in drawn]


def test_time_that_requests_take_counts_against_the_budget() -> None:
    clock = Clock()
    steps = protocol(clock, retry_budget=10).get_flow("a")
    sent = next(steps)
    assert isinstance(sent, Send)
    assert sent.timeout == 10
    clock.now += 6
    wait = steps.send(Failure(FailureKind.BROKEN))
    assert wait == Sleep(1)
    clock.sleep(1)
    again = next(steps)
    assert isinstance(again, Send)
    assert again.timeout == 3
    clock.now += 3
    with pytest.raises(ViTimeoutError):
        steps.send(Failure(FailureKind.TIMEOUT))


def test_a_request_is_never_sent_without_any_time() -> None:
    clock = Clock()
    steps = protocol(clock, retry_budget=1, max_retry_delay=0.5).get_flow("a")
    next(steps)
    assert steps.send(Response(500)) == Sleep(0.5)
    clock.now += 60  # a laptop lid was closed
    late = next(steps)
    assert isinstance(late, Send)
    assert 0 < late.timeout <= 1
