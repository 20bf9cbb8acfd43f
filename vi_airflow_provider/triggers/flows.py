"""``FlowTrigger``: a gate that waits on the triggerer."""

from __future__ import annotations

import math
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.gates import timers
from vi_airflow_provider.gates.condition import Gate
from vi_airflow_provider.gates.outcome import (
    MAX_FAILURES,
    MAX_PAUSE,
    WaitOutcome,
    WaitResult,
    build_event,
    next_tick,
    outcome_of_failure,
)
from vi_airflow_provider.gates.poller import MAX_SPREAD, MIN_INTERVAL, SPREAD, SharedPoller
from vi_airflow_provider.triggers.shared import shared_poller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class FlowTrigger(BaseTrigger):
    """Waits until a gate may open, and yields exactly one event, made by ``gating.build_event``.

    Its arguments are stored in plain text in Airflow's database: the connection's id is among them, no secret.

    :param vi_conn_id: id of a connection of type ``vi``
    :param gate: target and condition (``conditions.Gate``) as JSON data
    :param deadline: end of waiting in seconds since the epoch. It is absolute, so a triggerer that is started again
        does not start the wait again; ``None`` for none
    :param poke_interval: seconds between two looks
    :param first_look: not before this time, in seconds since the epoch
    :param max_failures: failed looks in a row that end the wait; ``None`` for no bound
    :param failures: failed looks in a row before it began
    """

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
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vi_conn_id = vi_conn_id
        self.gate = gate
        self.deadline = deadline
        self.poke_interval = max(poke_interval, MIN_INTERVAL)
        self.first_look = first_look
        self.max_failures = max_failures
        self.failures = failures
        self._said = ""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "vi_conn_id": self.vi_conn_id,
                "gate": self.gate,
                "deadline": self.deadline,
                "poke_interval": self.poke_interval,
                "first_look": self.first_look,
                "max_failures": self.max_failures,
                "failures": self.failures,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield how it ended."""
        gate = Gate.model_validate(self.gate)
        async with shared_poller(self.vi_conn_id) as lookout, lookout.watching(gate.target):
            ended = await self._wait(gate, lookout)
        yield TriggerEvent(build_event(ended))  # type: ignore[no-untyped-call]

    async def _wait(self, gate: Gate, lookout: SharedPoller) -> WaitResult:
        spread = min(self.poke_interval * SPREAD, MAX_SPREAD)
        offset = random.uniform(0, spread)  # noqa: S311 - not for secrets
        deadline = math.inf if self.deadline is None else self.deadline
        failures = self.failures
        earliest = self.first_look
        while True:
            tick = next_tick(max(earliest, time.time()), self.poke_interval)
            # The deadline is worth a last look: what came just before it still counts.
            moment = min(tick + offset, deadline)
            await timers.sleep(moment - time.time())
            earliest = min(tick, time.time()) + self.poke_interval  # the clock may have been set back
            try:
                ended = await self._look(gate, lookout, max_age=spread)
                failures = 0
            except ViError as error:
                failures += 1
                self.log.warning("Look %d in a row failed: %s", failures, error)
                outcome = outcome_of_failure(error, failures, self.max_failures)
                ended = None if outcome is None else WaitResult(outcome, error=error)
                earliest = max(earliest, time.time() + min(error.retry_after or 0.0, MAX_PAUSE))
            if ended is None and max(moment, time.time()) >= deadline:
                ended = WaitResult(WaitOutcome.TIMEOUT)
            if ended is not None:
                return ended

    async def _look(self, gate: Gate, lookout: SharedPoller, max_age: float) -> WaitResult | None:
        flow = await lookout.look(gate.target, max_age, certain=gate.condition.absent)
        verdict = gate.condition.judge(flow, datetime.now(UTC))
        if verdict.reason != self._said:  # not each time: a thousand gates would fill the triggerer's logs
            self.log.info("Looked for %s: %s", gate.target, verdict.reason)
            self._said = verdict.reason
        if not verdict.met:
            return None
        return WaitResult(WaitOutcome.OPEN, None if flow is None else flow.model_dump(mode="json"))
