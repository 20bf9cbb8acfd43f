"""Base class of the operators. Importing it loads no library that Airflow has not loaded already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from vi_airflow_provider.links.flows import ViFlowLink
from vi_airflow_provider.provider_info import DEFAULT_CONN_ID
from vi_airflow_provider.task import ViTaskMixin, instance_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context


class ViBaseOperator(ViTaskMixin, BaseOperator):
    """Base of the operators: the connection.

    :param vi_conn_id: id of a connection of type ``vi``
    """

    template_fields: Sequence[str] = ("vi_conn_id",)
    operator_extra_links = (ViFlowLink(),)
    ui_color = "#e8e4fb"

    def __init__(self, *, vi_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vi_conn_id = vi_conn_id


def archive_prefix(context: Context, *parts: str) -> str:
    """Return the prefix of the names of a task instance's archives, the same for each of its tries."""
    from vi_airflow_provider.cleanup.archive import prefix_of

    return prefix_of(instance_of(context) if "ti" in context else "", *parts)


def earlier_archives(context: Context, folder: str, prefix: str) -> list[str]:
    """Return the archives of earlier tries of the task instance, which may have ended amid their deletes."""
    from vi_airflow_provider.cleanup.archive import archives_of

    tried_before = "ti" in context and context["ti"].try_number > 1
    return archives_of(folder, prefix) if tried_before else []
