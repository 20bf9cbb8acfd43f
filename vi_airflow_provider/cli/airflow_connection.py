"""Airflow connections, for commands. Importing this module imports Airflow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# Before Airflow is imported: without it, Airflow 3 asks the supervisor of a task for connections, and there is none.
os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from vi_airflow_provider.hooks.vi import ViHook

if TYPE_CHECKING:
    from vi_airflow_provider.api.settings import ViSettings


def settings_of(conn_id: str) -> ViSettings:
    """Return the settings of a connection.

    :raises LookupError: there is none
    :raises ViConfigurationError: a field is unusable
    """
    try:
        return ViHook(conn_id).settings
    except AirflowNotFoundException:
        raise LookupError(conn_id) from None
