"""Which flows are selected: a pure predicate, checked when it is built and the same wherever flows are selected."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, TypedDict

from pydantic import BaseModel, ConfigDict, ValidationError

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.validation import checked_count, describe_errors
from vi_airflow_provider.selection.arguments import Duration, Instant, Text, milliseconds
from vi_airflow_provider.selection.collection_arguments import Attributes
from vi_airflow_provider.selection.matching import EARLIEST, attributes_match, latest_time, name_matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.api.verbs import BlockingVerbs


class FlowCriteria(TypedDict, total=False):
    """The criteria of :class:`FlowFilter` as arguments, in every form that the filter accepts."""

    name_pattern: str | None
    training_project: str | None
    attributes: Mapping[str, str] | None
    created_after: datetime | str | None
    created_before: datetime | str | None
    updated_after: datetime | str | None
    updated_before: datetime | str | None
    older_than: timedelta | str | None


class FlowFilter(BaseModel):
    """The criteria that a flow must meet to be selected; a criterion that is not given does not matter.

    :param name_pattern: glob on the flow's name, case-sensitive; the exact name always matches
    :param training_project: id of the training project
    :param attributes: attributes that the flow must have, with these values
    :param created_after: created at this time or later
    :param created_before: created earlier than this
    :param updated_after: last updated at this time or later
    :param updated_before: last updated earlier than this
    :param older_than: time since the last update, at least
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name_pattern: Text | None = None
    training_project: Text | None = None
    attributes: Attributes | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    updated_after: Instant | None = None
    updated_before: Instant | None = None
    older_than: Duration | None = None

    @classmethod
    def build(cls, **criteria: Any) -> FlowFilter:
        """Build a filter from the arguments of an operator.

        :raises ViValidationError: a value is unusable; the message names the argument
        """
        try:
            return cls(**criteria)
        except ValidationError as error:
            reason = describe_errors(error)
        raise ViValidationError(reason)

    def select(self, flows: Iterable[Flow], now: datetime) -> Iterator[Flow]:
        """Yield the flows that match at the time ``now``."""
        return (flow for flow in flows if self.matches(flow, now))

    def matches(self, flow: Flow, now: datetime) -> bool:
        """Decide whether a flow is selected. Times are compared as the API writes them: integer milliseconds."""
        spec, metadata = flow.spec, flow.metadata
        latest_update = None if self.older_than is None else latest_time(now, self.older_than)
        return (
            (self.name_pattern is None or name_matches(self.name_pattern, spec.name))
            and (self.training_project is None or spec.training_project == self.training_project)
            and attributes_match(self.attributes or {}, metadata.attributes)
            and within(metadata.time_created, self.created_after, self.created_before)
            and within(metadata.last_updated, self.updated_after, self.updated_before)
            and (latest_update is None or EARLIEST <= metadata.last_updated <= latest_update)
        )


def selected_flows(
    source: BlockingVerbs,
    wanted: FlowFilter,
    now: datetime,
    limit: int | None,
    page_size: int | None,
    *,
    prefetch: bool = True,
) -> Iterator[Flow]:
    """Yield the flows of an organization that match at the time ``now``, read as they are consumed.

    :param limit: stop after this number of matching flows
    :param page_size: flows per request; the connection's setting by default
    """
    if limit is not None:
        checked_count(limit, "limit", 0)
    # Without a filter, the listing itself can stop at the limit and request no more than that. With a filter, any page
    # may be the last one that is needed, so no page is prefetched.
    if wanted == FlowFilter():
        return source.list_flows(page_size=page_size, limit=limit, prefetch=prefetch)
    flows = source.list_flows(page_size=page_size, prefetch=prefetch and limit is None)
    return islice(wanted.select(flows, now), limit)


def within(ms: int, after: datetime | None, before: datetime | None) -> bool:
    """Return whether a wire time is in a period; of one that is not taken for a time, only a beginning is compared."""
    return (after is None or ms >= milliseconds(after)) and (before is None or EARLIEST <= ms < milliseconds(before))
