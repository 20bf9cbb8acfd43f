"""What the sensors share: waiting for a gate to open, the same in every mode.

What a gate waits for is data, judged by one function (``conditions.FlowCondition.judge``); what a failed look
means is decided in one place (``gating``), for a worker that pokes and for the triggerer.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from vi_airflow_provider.gates.outcome import MAX_FAILURES
from vi_airflow_provider.links.flows import ViFlowLink
from vi_airflow_provider.provider_info import DEFAULT_CONN_ID
from vi_airflow_provider.task import ViTaskMixin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.api.errors import ViError
    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.gates.condition import Gate, Target
    from vi_airflow_provider.gates.outcome import WaitResult
    from vi_airflow_provider.hooks.vi import ViHook

#: Seconds after the gate's own deadline at which Airflow ends a deferred task, should the triggerer not have.
BACKSTOP = 300.0


class FlowGateSensor(ViTaskMixin, BaseSensorOperator):
    """Base of the sensors: waits in any mode until a gate opens; the XCom is the flow as a dict.

    :param vi_conn_id: id of a connection of type ``vi``
    :param deferrable: wait on the triggerer instead of in a worker
    :param max_failures: looks that may fail one after the other before the wait ends with the last error. Wrong
        credentials, missing permission and bad values end it at once.
    """

    template_fields: Sequence[str] = ("vi_conn_id",)
    operator_extra_links = (ViFlowLink(),)
    ui_color = "#e4effb"

    def __init__(
        self,
        *,
        vi_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        max_failures: int = MAX_FAILURES,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vi_conn_id = vi_conn_id
        self.deferrable = deferrable
        self.max_failures = max_failures
        self._deadline = math.inf

    def gate(self) -> Gate:
        """Return what this sensor waits for, checked.

        :raises ViValidationError: an argument is unusable; the message names it
        """
        raise TypeError(f"{type(self).__name__} does not say what it waits for")

    @cached_property
    def hook(self) -> ViHook:
        """The hook of the task's connection; it retries nothing, because the sensor paces itself."""
        from vi_airflow_provider.hooks.vi import ViHook

        return ViHook(self.vi_conn_id, retry=False)

    def execute(self, context: Context) -> Any:
        """Wait here, or look once and hand the wait over to the triggerer."""
        self._deadline = self._waiting_since(context) + self.timeout
        if not self.deferrable:
            try:
                return super().execute(context)
            except AirflowSensorTimeout as error:
                if self.never_fail:  # to Airflow that is about errors of `poke` alone, but only in a worker
                    raise AirflowSkipException(str(error)) from error
                raise
        failures: list[ViError] = []
        with self._lenient():
            found = self._look(context, failures)
        if not found.is_done:
            self._hand_over(failures)
        return found.xcom_value

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once. A failed look is repeated here, at the sensor's pace, as long as the budget lasts.

        It is repeated within one poke because a rescheduled sensor is another process each time, which could not
        count failures in a row.
        """
        from vi_airflow_provider.gates.outcome import pause_after_failure

        failures: list[ViError] = []
        while True:
            found = self._look(context, failures)
            remaining = self._deadline - time.time()
            if not failures or remaining <= 0:
                return found
            time.sleep(min(remaining, pause_after_failure(failures[-1], self.poke_interval)))

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Take over from the triggerer: return the flow, or end as the same end would look in a worker."""
        from vi_airflow_provider.gates.outcome import read_event

        ended = read_event(event, absent=self.gate().condition.absent)
        if ended.flow is not None:
            self.log.info("Flow %.200r is there.", ended.flow.get("flow_id"))
        with self._lenient():
            return self._result(ended)

    @contextmanager
    def _lenient(self) -> Iterator[None]:
        """Skip where ``soft_fail`` and ``never_fail`` say so, as Airflow does with what ``poke`` raises."""
        try:
            yield
        except Exception as error:
            if self.never_fail or (self.soft_fail and isinstance(error, AirflowFailException | AirflowSensorTimeout)):
                raise AirflowSkipException(str(error)) from error
            raise

    def _look(self, context: Context, failures: list[ViError]) -> PokeReturnValue:
        """Look once, and keep count of failures in a row; raise when they end the wait."""
        from vi_airflow_provider.api.errors import ViError
        from vi_airflow_provider.gates.outcome import outcome_of_failure

        with self.session(context, getattr(self, "flow_id", None)):
            gate = self.gate()
            try:
                flow = self._find(gate.target)
            except ViError as error:
                failures.append(error)
                if outcome_of_failure(error, len(failures), self._budget) is not None:
                    raise
                self.log.warning("Look %d in a row failed: %s", len(failures), error)
                return PokeReturnValue(is_done=False)
        failures.clear()
        verdict = gate.condition.judge(flow, datetime.now(UTC))
        self.log.info("Looked for %s: %s", gate.target, verdict.reason)
        return PokeReturnValue(verdict.met, None if flow is None else flow.model_dump(mode="json"))

    def _find(self, target: Target) -> Flow | None:
        from vi_airflow_provider.api.errors import ViAuthenticationError

        wanted = {
            "flow_id": target.flow_id,
            "name": target.flow_name,
            "training_project": target.training_project,
        }
        try:
            return self.hook.find_flow(**wanted)
        except ViAuthenticationError:
            # The key may have been rotated while the sensor was waiting.
            refused = self.hook
            refused.close()
            del self.hook
            if self.hook.settings == refused.settings:
                raise
        return self.hook.find_flow(**wanted)

    def _waiting_since(self, context: Context) -> float:
        """Return when the wait began: for a rescheduled sensor, in an earlier process."""
        if not self.reschedule:
            return time.time()
        ti: Any = context["ti"]
        if hasattr(ti, "get_first_reschedule_date"):
            first = ti.get_first_reschedule_date(context)
        else:  # Airflow 2
            from airflow.sensors.base import _orig_start_date  # type: ignore[import-not-found]

            first = _orig_start_date(
                dag_id=ti.dag_id,
                task_id=ti.task_id,
                run_id=ti.run_id,
                map_index=ti.map_index,
                try_number=(ti.max_tries or 0) - (self.retries or 0) + 1,
            )
        return first.timestamp() if first else time.time()

    def _hand_over(self, failures: list[ViError]) -> NoReturn:
        from vi_airflow_provider.gates.outcome import pause_after_failure
        from vi_airflow_provider.triggers.flows import FlowTrigger

        pause = pause_after_failure(failures[-1], self.poke_interval) if failures else self.poke_interval
        self.defer(
            trigger=FlowTrigger(
                vi_conn_id=self.vi_conn_id,
                gate=self.gate().model_dump(mode="json"),
                deadline=self._deadline,
                poke_interval=self.poke_interval,
                first_look=time.time() + pause,
                max_failures=self._budget,
                failures=len(failures),
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout + BACKSTOP),
        )
        raise AssertionError("defer() does not return")

    def _result(self, ended: WaitResult) -> dict[str, Any] | None:
        from vi_airflow_provider.gates.outcome import WaitOutcome

        if ended.outcome is WaitOutcome.OPEN:
            return ended.flow
        if ended.outcome is WaitOutcome.TIMEOUT:
            raise AirflowSensorTimeout(
                f"Sensor has timed out; it was waiting longer than the specified timeout of {self.timeout} s."
            )
        error = ended.error
        if error is None or ended.outcome is WaitOutcome.REFUSED:
            raise AirflowFailException(f"{type(error).__name__}: {error}")
        raise error

    @property
    def _budget(self) -> int | None:
        # A sensor with `silent_fail` goes on, whatever happens.
        return None if self.silent_fail else self.max_failures
