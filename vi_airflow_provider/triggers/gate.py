"""``GateTrigger``: what the triggers of the sensors share, whatever kind of document they wait for."""

from __future__ import annotations

import math
import random
import time
from abc import abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.failed_polls import MAX_FAILURES, retry_after
from vi_airflow_provider.gates import timers
from vi_airflow_provider.gates.outcome import WaitOutcome, WaitResult, build_event, outcome_of_failure
from vi_airflow_provider.gates.pacing import MAX_SPREAD, MIN_INTERVAL, SPREAD, Pace, next_poll
from vi_airflow_provider.triggers.shared import shared_poller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vi_airflow_provider.gates.condition import Awaited
    from vi_airflow_provider.gates.poller import SharedPoller
    from vi_airflow_provider.gates.source import Source

K = TypeVar("K")
D = TypeVar("D")


class GateTrigger(BaseTrigger, Generic[K, D]):
    """Waits until a gate opens, and yields exactly one event, made by :func:`build_event`.

    Airflow stores the arguments in its database in plain text, across updates of this package: they hold the id of the
    connection and no secret, they keep their names, and new ones have defaults and are stored only if they are used.

    :param vi_conn_id: id of a connection of type ``vi``
    :param gate: target and condition (:class:`Gate` or :class:`RunGate`) as JSON data
    :param deadline: end of the wait in seconds since the epoch, ``None`` for no end. It is absolute, so that a restart
        of the triggerer does not extend the wait
    :param poke_interval: seconds between two polls
    :param first_look: time of the first poll, in seconds since the epoch
    :param max_failures: consecutive failed polls that end the wait; ``None`` for no limit
    :param failures: consecutive failed polls before it was started
    :param exponential_backoff: double the pause after each poll
    :param max_wait: longest pause in seconds with ``exponential_backoff``
    :param began: begin of the wait in seconds since the epoch, from which the pauses of ``exponential_backoff`` follow
    """

    #: The field of the event that holds what was found, and where documents come from.
    _kind: ClassVar[str]
    _source: ClassVar[Source[Any, Any]]

    def __init__(
        self,
        *,
        vi_conn_id: str,
        gate: dict[str, Any],
        deadline: float | None = None,
        poke_interval: float = 60.0,
        first_look: float = 0.0,
        max_failures: int | None = MAX_FAILURES,
        failures: int = 0,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        began: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vi_conn_id = vi_conn_id
        self.gate = gate
        self.deadline = deadline
        self.poke_interval = max(poke_interval, MIN_INTERVAL)
        self.first_look = first_look
        self.max_failures = max_failures
        self.failures = failures
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.began = began
        self._last_reason = ""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in self._stored_arguments()}

    def _stored_arguments(self) -> list[str]:
        names = ["vi_conn_id", "gate", "deadline", "poke_interval", "first_look", "max_failures", "failures"]
        return names + (["exponential_backoff", "max_wait", "began"] if self.exponential_backoff else [])

    @abstractmethod
    def _read_gate(self) -> Awaited[K, D]:
        """Return what is waited for."""

    @abstractmethod
    async def _carried(self, document: D) -> dict[str, Any]:
        """Return what the event carries of the document on which the gate opens."""

    def _certain(self, gate: Awaited[K, D]) -> bool:
        """Return whether a listing alone must not prove that the document does not exist."""
        return False

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield how the wait ended."""
        gate = self._read_gate()
        async with shared_poller(self.vi_conn_id, self._source) as poller, poller.subscribe(gate.target):
            result = await self._wait(gate, poller)
        yield TriggerEvent(build_event(result, self._kind))  # type: ignore[no-untyped-call]

    async def _wait(self, gate: Awaited[K, D], poller: SharedPoller[K, D]) -> WaitResult:
        pace = Pace(self.poke_interval, self.exponential_backoff, self.max_wait)
        spread = min(self.poke_interval * SPREAD, MAX_SPREAD)
        offset = random.uniform(0, spread)  # noqa: S311 - not for secrets
        deadline = math.inf if self.deadline is None else self.deadline
        now = time.time()
        began = now if self.began is None else self.began
        # The first poll follows the worker's last one at the usual pace. After a restart it is overdue.
        due = self.first_look if self.first_look > now else next_poll(now, self.poke_interval, offset)
        failures = self.failures
        while True:
            # The deadline is worth a last poll: a document that appeared just before it still counts.
            moment = min(due, deadline)
            await timers.sleep(moment - time.time())
            polled_at = min(moment, time.time())  # the clock may have been set back
            earliest = polled_at + pace.pause(polled_at - began)
            try:
                result = await self._poll(gate, poller, max_age=spread)
                failures = 0
            except ViError as error:
                failures += 1
                result = self._failed(error, failures)
                earliest = max(earliest, time.time() + retry_after(error))
            if result is None and max(moment, time.time()) >= deadline:
                result = WaitResult(WaitOutcome.TIMEOUT)
            if result is not None:
                return result
            due = next_poll(max(earliest, time.time()), self.poke_interval, offset)

    async def _poll(self, gate: Awaited[K, D], poller: SharedPoller[K, D], max_age: float) -> WaitResult | None:
        document = await poller.poll(gate.target, max_age, certain=self._certain(gate))
        verdict = gate.condition.judge(document, datetime.now(UTC))
        if verdict.reason != self._last_reason:  # not each time: a thousand gates would fill the triggerer's logs
            self.log.info("Polled %s: %s", gate.target, verdict.reason)
            self._last_reason = verdict.reason
        if verdict.failed:
            return WaitResult(WaitOutcome.FAILED, reason=verdict.reason)
        if not verdict.met:
            return None
        return WaitResult(WaitOutcome.OPEN, None if document is None else await self._carried(document))

    def _failed(self, error: ViError, failures: int) -> WaitResult | None:
        self.log.warning("Poll %d in a row failed: %s", failures, error)
        outcome = outcome_of_failure(error, failures, self.max_failures)
        return None if outcome is None else WaitResult(outcome, error=error)
