"""The button "Open in Vi" of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class ViFlowLink(BaseOperatorLink):
    """Opens the flow or the organization of a task in Vi's web application.

    The URL is built from the connection's ``ui_url_template``. The task stores it before its first request, so the
    button works while the task runs or waits, and after it has failed.
    """

    @property
    def name(self) -> str:
        """Text on the button."""
        return "Open in Vi"

    @property
    def xcom_key(self) -> str:
        """XCom key under which the task stores the URL; Airflow 3 reads it from there without calling the link."""
        return "vi_link"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the stored URL, or an empty text if the task failed before it stored one."""
        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""
