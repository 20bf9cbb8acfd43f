"""Which flows are meant: a pure predicate, checked when it is built and the same wherever flows are selected."""

from __future__ import annotations

from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.validation import describe_errors
from vi_airflow_provider.selection.arguments import Duration, Instant, Text, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vi_airflow_provider.api.models import Flow


class FlowFilter(BaseModel):
    """What a flow must be like to be selected; what is not given does not matter.

    :param name_pattern: glob on the flow's name, case-sensitive (``fnmatch``)
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
    attributes: dict[str, str] | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    updated_after: Instant | None = None
    updated_before: Instant | None = None
    older_than: Duration | None = None

    @classmethod
    def build(cls, **criteria: Any) -> FlowFilter:
        """Build a filter from what a user gives.

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
        """Tell whether the flow is meant. Times compare as integers: milliseconds, as the wire has them."""
        spec, metadata = flow.spec, flow.metadata
        # As integers, because `now - older_than` may be before the year 1.
        latest_update = (
            None if self.older_than is None else milliseconds(now) - self.older_than // timedelta(milliseconds=1)
        )
        return (
            (self.name_pattern is None or fnmatchcase(spec.name, self.name_pattern))
            and (self.training_project is None or spec.training_project == self.training_project)
            and all(metadata.attributes.get(key) == value for key, value in (self.attributes or {}).items())
            and _within(metadata.time_created, self.created_after, self.created_before)
            and _within(metadata.last_updated, self.updated_after, self.updated_before)
            and (latest_update is None or metadata.last_updated <= latest_update)
        )


def _within(ms: int, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or ms >= milliseconds(after)) and (before is None or ms < milliseconds(before))
