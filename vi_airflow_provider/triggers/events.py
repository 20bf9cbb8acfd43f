"""Triggers for asset watchers (Airflow 3): they start DAGs when flows change, or training runs start and end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vi_airflow_provider.api.failed_polls import MAX_FAILURES
from vi_airflow_provider.api.validation import checked_id
from vi_airflow_provider.gates import flow_changes, run_changes
from vi_airflow_provider.gates.flow_changes import FlowChangeDetector
from vi_airflow_provider.gates.run_changes import RunChangeDetector
from vi_airflow_provider.gates.run_condition import RunTarget
from vi_airflow_provider.provider_info import DEFAULT_CONN_ID
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.training.summary import summarize_listed
from vi_airflow_provider.triggers.change_events import ChangeEventTrigger

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Run


class FlowEventTrigger(ChangeEventTrigger):
    """Watches flows for an ``AssetWatcher``, and yields an event for up to 100 changes between two polls.

    It fires on changes, not on states: flows that exist when it starts to watch cause no event. On Airflow 3.3, what
    it has seen is kept in the asset's state store, so that a restart of the triggerer misses no change; before 3.3, it
    starts over. Each change is reported at least once: a triggerer that is killed before the poll that follows an event
    reports the changes again. The trigger never ends; an outage slows it down.

    :param vi_conn_id: id of a connection of type ``vi``
    :param flow_id: watch this flow only
    :param name_pattern: watch flows whose name matches this glob
    :param training_project: watch flows of this training project
    :param attributes: watch flows that have these attributes
    :param events: which of ``created``, ``updated`` and ``deleted`` to report
    :param spec_changes_only: leave out updates after which the flow trains the same (layout, attributes)
    :param poke_interval: seconds between two polls
    :param max_failures: consecutive failed polls after which the pauses begin to grow, up to an hour
    """

    _kind = "flows"
    _watched = (
        *("vi_conn_id", "flow_id", "name_pattern", "training_project", "attributes", "events"),
        "spec_changes_only",
    )
    _pace = ("poke_interval", "max_failures")

    def __init__(
        self,
        *,
        vi_conn_id: str = DEFAULT_CONN_ID,
        flow_id: str | None = None,
        name_pattern: str | None = None,
        training_project: str | None = None,
        attributes: Mapping[str, str] | None = None,
        events: Sequence[str] = flow_changes.EVENTS,
        spec_changes_only: bool = False,
        poke_interval: float = 60.0,
        max_failures: int = MAX_FAILURES,
    ) -> None:
        super().__init__(vi_conn_id, events, poke_interval, max_failures)
        self.flow_id = flow_id
        self.name_pattern = name_pattern
        self.training_project = training_project
        self.attributes = None if attributes is None else dict(attributes)
        self.spec_changes_only = spec_changes_only
        self.poke_interval = self._interval
        # Checked here, unlike in an operator: a watcher has no templates, and an error in the triggerer goes unnoticed.
        self._check_events(flow_changes.EVENTS)
        if flow_id is not None:
            checked_id(flow_id)
        self._filter = FlowFilter.build(
            name_pattern=name_pattern, training_project=training_project, attributes=self.attributes
        )

    def _detector(self) -> FlowChangeDetector:
        return FlowChangeDetector(
            self._filter, flow_id=self.flow_id, events=self.events, spec_changes_only=self.spec_changes_only
        )


class RunEventTrigger(ChangeEventTrigger):
    """Watches training runs for an ``AssetWatcher``, and yields an event for up to 100 changes between two polls.

    Runs may be started by anyone. What happened before it begins to watch causes no event; each later event of a run is
    reported once. On Airflow 3.3, what it has seen is kept in the asset's state store, so that a restart of the
    triggerer misses nothing; before 3.3, it starts over. A triggerer that is killed before the poll that follows an
    event reports it again. The trigger never ends; an outage slows it down.

    :param vi_conn_id: id of a connection of type ``vi``
    :param flow_id: watch runs that this provider started of this flow
    :param training_project: watch runs of this training project
    :param attributes: watch runs that have these attributes
    :param events: which of ``started``, ``succeeded``, ``failed`` and ``killed`` to report
    :param poll_interval: seconds between two polls, each of which reads the whole listing
    :param max_failures: consecutive failed polls after which the pauses begin to grow, up to an hour
    """

    _kind = "runs"
    _watched = ("vi_conn_id", "flow_id", "training_project", "attributes", "events")
    _pace = ("poll_interval", "max_failures")

    def __init__(
        self,
        *,
        vi_conn_id: str = DEFAULT_CONN_ID,
        flow_id: str | None = None,
        training_project: str | None = None,
        attributes: Mapping[str, str] | None = None,
        events: Sequence[str] = run_changes.EVENTS,
        poll_interval: float = 60.0,
        max_failures: int = MAX_FAILURES,
    ) -> None:
        super().__init__(vi_conn_id, events, poll_interval, max_failures)
        self.flow_id = flow_id
        self.training_project = training_project
        self.attributes = None if attributes is None else dict(attributes)
        self.poll_interval = self._interval
        self._check_events(run_changes.EVENTS)
        self._target = RunTarget.watched(flow_id, training_project, self.attributes)

    def _detector(self) -> RunChangeDetector:
        return RunChangeDetector(self._target, events=self.events, summarize=_summary)


def _summary(run: Run, url: str) -> dict[str, Any]:
    return summarize_listed(run, url=url)
