"""Base class of the operators. Importing it loads no library that Airflow has not loaded already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from vi_airflow_provider.links.flows import ViFlowLink
from vi_airflow_provider.provider_info import DEFAULT_CONN_ID
from vi_airflow_provider.task import ViTaskMixin

if TYPE_CHECKING:
    from collections.abc import Sequence


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
