"""Which runs are selected: a pure predicate, as ``filter`` has it for flows."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.run_state import FLOW_ID_ATTRIBUTE
from vi_airflow_provider.api.validation import checked_count, checked_id, describe_errors
from vi_airflow_provider.selection.arguments import Duration, Instant, Text
from vi_airflow_provider.selection.collection_arguments import Attributes, States
from vi_airflow_provider.selection.filter import within
from vi_airflow_provider.selection.matching import EARLIEST, attributes_match, latest_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vi_airflow_provider.api.models import Run
    from vi_airflow_provider.api.verbs import BlockingVerbs


class RunFilter(BaseModel):
    """The criteria that a run must meet to be selected; a criterion that is not given does not matter.

    :param states: one state of a run, or several
    :param flow_id: only runs that this provider started of this flow
    :param training_project: id of the training project
    :param attributes: attributes that the run must have, with these values
    :param created_after: created at this time or later
    :param created_before: created earlier than this
    :param older_than: time since the last update, at least
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    states: States | None = None
    flow_id: Text | None = None
    training_project: Text | None = None
    attributes: Attributes | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    older_than: Duration | None = None

    @classmethod
    def build(cls, **criteria: Any) -> RunFilter:
        """Build a filter from the arguments of an operator.

        :raises ViValidationError: a value is unusable; the message names the argument
        """
        try:
            wanted = cls(**criteria)
        except ValidationError as error:
            reason = describe_errors(error)
        else:
            if wanted.flow_id is not None:
                checked_id(wanted.flow_id)
            return wanted
        raise ViValidationError(reason)

    def matches(self, run: Run, now: datetime) -> bool:
        """Decide whether a run is selected. Times are compared as the API writes them: integer milliseconds."""
        metadata = run.metadata
        latest_update = None if self.older_than is None else latest_time(now, self.older_than)
        return (
            (self.states is None or run.state in self.states)
            and (self.flow_id is None or metadata.attributes.get(FLOW_ID_ATTRIBUTE) == self.flow_id)
            and (self.training_project is None or run.spec.training_project == self.training_project)
            and attributes_match(self.attributes or {}, metadata.attributes)
            and within(metadata.time_created, self.created_after, self.created_before)
            and (latest_update is None or EARLIEST <= metadata.last_updated <= latest_update)
        )


def selected_runs(source: BlockingVerbs, wanted: RunFilter, now: datetime, limit: int | None) -> Iterator[Run]:
    """Yield the runs of an organization that match at the time ``now``, read as they are consumed.

    :param limit: stop after this number of matching runs
    """
    if limit is not None:
        checked_count(limit, "limit", 0)
    # As for flows: without a filter, the listing itself can stop at the limit; with one, no page is prefetched.
    bound = limit if wanted == RunFilter() else None
    runs = source.list_runs(limit=bound, prefetch=limit == bound)
    return islice((run for run in runs if wanted.matches(run, now)), limit)
