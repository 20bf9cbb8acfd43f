"""What the sensors share: waiting for a gate to open, with the same pace and the same outcome in every mode.

The condition is data, evaluated by one function (``judge`` of ``gates.condition.FlowCondition`` and of
``gates.run_condition.RunCondition``). Pace, failure budget and outcome are decided in ``gates.pacing`` and
``gates.outcome``, for a worker as for the triggerer.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, TypeVar

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from vi_airflow_provider.api.errors import ViAuthenticationError, ViError
from vi_airflow_provider.api.failed_polls import MAX_FAILURES
from vi_airflow_provider.gates.outcome import WaitOutcome, WaitResult, lookup_failure, outcome_of_failure, read_event
from vi_airflow_provider.gates.pacing import CONNECTION_MAX_AGE, Pace, pause_after_failure
from vi_airflow_provider.links.flows import ViFlowLink
from vi_airflow_provider.provider_info import DEFAULT_CONN_ID
from vi_airflow_provider.selection.arguments import flag, optional_count
from vi_airflow_provider.task import ViTaskMixin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger
    from pydantic import BaseModel

    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.gates.condition import Awaited, Gate
    from vi_airflow_provider.hooks.vi import ViHook

T = TypeVar("T")

#: Seconds after the gate's own deadline at which Airflow ends a deferred task if the triggerer has not.
BACKSTOP: Final = 300.0
#: Longest time that is passed to Airflow, which computes a date from it.
_MAX_BACKSTOP: Final = timedelta(days=36_500)


class GateSensor(ViTaskMixin, BaseSensorOperator):
    """Base of the sensors: waits in any mode until a gate opens.

    :param vi_conn_id: id of a connection of type ``vi``
    :param deferrable: wait on the triggerer instead of in a worker
    :param max_failures: consecutive failed polls after which the wait ends with the last error. Wrong credentials,
        missing permission and bad values end it at once.
    """

    template_fields: Sequence[str] = ("vi_conn_id",)
    operator_extra_links = (ViFlowLink(),)
    ui_color = "#e4effb"
    #: What is waited for; the field of the trigger's event that holds it.
    _kind: ClassVar[str]

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
        self._began = math.inf
        self._connection_read_at = math.inf
        self._unusable = False

    @abstractmethod
    def gate(self) -> Any:
        """Return what this sensor waits for (``gates.condition.Awaited``), checked.

        :raises ViValidationError: an argument is unusable; the message names it
        """

    @abstractmethod
    def _find(self, hook: ViHook, target: Any) -> Any:
        """Return the document, ``None`` if it does not exist."""

    @abstractmethod
    def _value(self, context: Context, document: Any) -> dict[str, Any]:
        """Return the XCom for the document on which the gate opens."""

    @abstractmethod
    def _trigger(self, gate: BaseModel, **pace: Any) -> BaseTrigger:
        """Return the trigger that waits for the same."""

    def _absent(self) -> bool:
        """Return whether this sensor waits for the absence of a document."""
        return False

    @cached_property
    def hook(self) -> ViHook:
        """The hook of the task's connection; it retries nothing, because the sensor has a pace of its own."""
        from vi_airflow_provider.hooks.vi import ViHook

        return ViHook(self.vi_conn_id, retry=False)

    def execute(self, context: Context) -> Any:
        """Wait here, or poll once and hand the wait over to the triggerer."""
        self._began = self._waiting_since(context)
        if not self.deferrable:
            return super().execute(context)
        with self._lenient():
            found = self._poll(context, 0)
            if isinstance(found, ViError) or not found.is_done:
                self._hand_over(found if isinstance(found, ViError) else None)
        return found.xcom_value

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once; after a failed poll, poll again at the sensor's pace as long as the budget lasts.

        A failure is retried within one poke because a rescheduled sensor is another process each time, which could not
        count consecutive failures.
        """
        failures = 0
        while isinstance(found := self._poll(context, failures), ViError):
            failures += 1
            remaining = self._remaining
            if remaining <= 0:
                raise self._timed_out()
            time.sleep(min(remaining, pause_after_failure(found, self._pause)))
        if not found.is_done and self._remaining <= 0:
            raise self._timed_out()
        return found

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Take over from the triggerer: return what was found, or end as a wait in a worker ends."""
        result = read_event(event, self._kind, absent=self._absent())
        if result.found is not None:
            name = result.found.get(f"{self._kind}_id")
            self.log.info("%s %.200r meets the condition.", self._kind.capitalize(), name)
        with self._lenient():
            return self._value_of(result)

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        # Airflow's own would pass the deadline by up to one interval, and draws a backoff that a trigger cannot repeat.
        return max(0.0, min(self._pause, self._remaining))

    @contextmanager
    def _lenient(self) -> Iterator[None]:
        """Skip where ``soft_fail`` and ``never_fail`` require it, as Airflow does for exceptions of ``poke``."""
        try:
            yield
        except Exception as error:
            if self.never_fail or (self.soft_fail and isinstance(error, AirflowFailException | AirflowSensorTimeout)):
                raise AirflowSkipException(str(error)) from error
            raise

    def _poll(self, context: Context, failures: int) -> PokeReturnValue | ViError:
        """Poll once, and return the error of a failed poll unless it ends the wait.

        :param failures: consecutive failed polls before this one
        """
        unknown = self._renew_connection()
        if unknown is not None:
            return self._failed(unknown, failures + 1, self._budget)
        with self.session(context, getattr(self, "flow_id", None)):
            flag("deferrable", self.deferrable)
            gate, budget = self.gate(), self._budget
            try:
                return self._judged(context, gate, self._call(lambda hook: self._find(hook, gate.target)))
            except ViError as error:
                return self._failed(error, failures + 1, budget)

    def _judged(self, context: Context, gate: Awaited[Any, Any], document: Any) -> PokeReturnValue:
        # Reading more of a document may raise as well: those of a listing are decoded when they are read.
        verdict = gate.condition.judge(document, datetime.now(UTC))
        self.log.info("Polled %s: %s", gate.target, verdict.reason)
        if verdict.failed:
            raise AirflowFailException(verdict.reason)
        found = verdict.met and document is not None
        return PokeReturnValue(verdict.met, self._value(context, document) if found else None)

    def _failed(self, error: ViError, failures: int, budget: int | None) -> ViError:
        """Return the error of a failed poll, or raise it if it ends the wait."""
        if outcome_of_failure(error, failures, budget) is not None:
            raise error
        self.log.warning("Poll %d in a row failed: %s", failures, error)
        return error

    def _call(self, ask: Callable[[ViHook], T]) -> T:
        """Call the service; again if the key was refused and the connection has changed."""
        refused = self.hook
        try:
            return ask(refused)
        except ViAuthenticationError:
            # The key may have been rotated since the connection was read.
            refused.close()
            unknown = self._renew_connection(max_age=0.0)
            if unknown is not None:
                raise unknown from None
            if self.hook.settings == refused.settings:
                raise
        return ask(self.hook)

    def _renew_connection(self, max_age: float = CONNECTION_MAX_AGE) -> ViError | None:
        """Read the connection again if it was read long ago; return an error if no connection is known.

        An unusable connection is no error here: the session reports it.
        """
        if abs(time.time() - self._connection_read_at) < max_age:
            return None
        known = vars(self).pop("hook", None)
        error = self._lookup_error()
        if error is None:
            self._connection_read_at, self._unusable = time.time(), False
            return None
        if known is not None and max_age and (error.retryable or not self._unusable):
            # A CA file makes a connection unusable while it is replaced, so that has to be confirmed.
            self._unusable = not error.retryable
            self.log.warning("The settings in use are kept, because the connection could not be read: %s", error)
            self.hook = known
            return None
        return error if error.retryable else None

    def _lookup_error(self) -> ViError | None:
        """Read the connection with a new hook, and return what prevents that."""
        try:
            _ = self.hook.settings
        except ViError as error:
            return error
        except Exception as error:  # not defined, as Airflow reports it also while its secrets backend is down
            del self.hook
            return lookup_failure(self.vi_conn_id, error)
        return None

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
        if isinstance(first, str):  # dag.test() of Airflow 3.0
            first = datetime.fromisoformat(first)
        return first.timestamp() if first else time.time()

    def _hand_over(self, error: ViError | None) -> NoReturn:
        """Defer the wait to the triggerer, after a poll that failed with ``error`` or did not open the gate."""
        if self._remaining <= 0:
            raise self._timed_out()
        pause = self._pause if error is None else pause_after_failure(error, self._pause)
        self.defer(
            trigger=self._trigger(
                self.gate(),
                deadline=self._began + self.timeout,
                poke_interval=self.poke_interval,
                first_look=time.time() + pause,
                max_failures=self._budget,
                failures=0 if error is None else 1,
                exponential_backoff=self.exponential_backoff,
                max_wait=self._pace.max_wait,
                began=self._began,
            ),
            method_name="execute_complete",
            timeout=min(timedelta(seconds=min(self.timeout, 1e12) + BACKSTOP), _MAX_BACKSTOP),
        )
        raise AssertionError("defer() does not return")

    def _value_of(self, result: WaitResult) -> dict[str, Any] | None:
        if result.outcome is WaitOutcome.OPEN:
            return result.found
        if result.outcome is WaitOutcome.TIMEOUT:
            raise self._timed_out()
        if result.reason is not None:
            raise AirflowFailException(result.reason)
        error = result.error
        if error is None or result.outcome is WaitOutcome.REFUSED:
            raise AirflowFailException(f"{type(error).__name__}: {error}")
        raise error

    def _timed_out(self) -> AirflowSensorTimeout:
        return AirflowSensorTimeout(
            f"Sensor has timed out; it was waiting longer than the specified timeout of {self.timeout} s."
        )

    @property
    def _pace(self) -> Pace:
        return Pace(
            self.poke_interval, self.exponential_backoff, self.max_wait.total_seconds() if self.max_wait else None
        )

    @property
    def _pause(self) -> float:
        """Seconds from this poll to the next one."""
        return self._pace.pause(time.time() - self._began)

    @property
    def _remaining(self) -> float:
        """Seconds until the deadline."""
        return self._began + self.timeout - time.time()

    @property
    def _budget(self) -> int | None:
        """Number of consecutive failures that ends the wait; Airflow's ``silent_fail`` removes the limit."""
        return None if self.silent_fail else optional_count("max_failures", self.max_failures)


class FlowGateSensor(GateSensor):
    """Base of the sensors for flows: the XCom is the flow as a dict."""

    _kind = "flow"

    @abstractmethod
    def _target(self) -> dict[str, Any]:
        """Return the arguments that identify the flow."""

    def _condition(self) -> dict[str, Any]:
        """Return the arguments that the flow has to meet; by default it only has to exist."""
        return {}

    def gate(self) -> Gate:
        """Return what this sensor waits for, checked.

        :raises ViValidationError: an argument is unusable; the message names it
        """
        from vi_airflow_provider.gates.condition import Gate

        return Gate.build(self._target(), self._condition())

    def _absent(self) -> bool:
        return self.gate().condition.absent

    def _find(self, hook: ViHook, target: Any) -> Flow | None:
        return hook.find_flow(flow_id=target.flow_id, name=target.flow_name, training_project=target.training_project)

    def _value(self, _context: Context, flow: Flow) -> dict[str, Any]:
        return self.returned(flow)

    def _trigger(self, gate: BaseModel, **pace: Any) -> BaseTrigger:
        from vi_airflow_provider.triggers.flows import FlowTrigger

        stored = gate.model_dump(mode="json")
        return FlowTrigger(vi_conn_id=self.vi_conn_id, gate=stored, send_flow=self.do_xcom_push, **pace)
