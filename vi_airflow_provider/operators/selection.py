"""Base of the operators that read many flows: which flows are selected, and how they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.selection.arguments import optional_count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime, timedelta

    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.hooks.vi import ViHook

_CRITERIA: Final = (
    "name_pattern",
    "training_project",
    "attributes",
    "created_after",
    "created_before",
    "updated_after",
    "updated_before",
    "older_than",
)


class FlowSelectionOperator(ViBaseOperator):
    """Base of operators that read all flows of an organization, or those that match.

    :param name_pattern: glob on the flow's name, case-sensitive; the exact name always matches
    :param training_project: id of the training project
    :param attributes: attributes that the flow must have, with these values
    :param created_after: created at this time (aware datetime or ISO 8601 text) or later
    :param created_before: created earlier than this
    :param updated_after: last updated at this time or later
    :param updated_before: last updated earlier than this
    :param older_than: time since the last update, at least (timedelta or ISO 8601 duration like ``P90D``)
    :param limit: stop after this number of matching flows
    :param page_size: flows per request; the connection's setting by default
    """

    template_fields = (*ViBaseOperator.template_fields, *_CRITERIA, "limit", "page_size")

    def __init__(
        self,
        *,
        name_pattern: str | None = None,
        training_project: str | None = None,
        attributes: Mapping[str, str] | None = None,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        updated_after: datetime | str | None = None,
        updated_before: datetime | str | None = None,
        older_than: timedelta | str | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name_pattern = name_pattern
        self.training_project = training_project
        self.attributes = attributes
        self.created_after = created_after
        self.created_before = created_before
        self.updated_after = updated_after
        self.updated_before = updated_before
        self.older_than = older_than
        self.limit = limit
        self.page_size = page_size
        self.refuse_literals()

    def limiting_fields(self) -> Collection[str]:
        """Return the criteria: without one of them, other flows would be selected."""
        return (*_CRITERIA, "limit")

    def criteria(self) -> dict[str, Any]:
        """Return the arguments that select flows, as they were given."""
        given = {name: getattr(self, name) for name in (*_CRITERIA, "limit")}
        return {name: value for name, value in given.items() if value is not None}

    def selected(self, hook: ViHook) -> Iterator[Flow]:
        """Return the selected flows, read as they are consumed.

        :raises ViValidationError: an argument is unusable; the message names it
        """
        criteria: Any = {name: getattr(self, name) for name in _CRITERIA}
        limit, page_size = optional_count("limit", self.limit), optional_count("page_size", self.page_size, 1)
        return hook.list_flows(page_size=page_size, limit=limit, **criteria)
