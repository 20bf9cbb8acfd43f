"""Airflow connections, for commands. Importing this module imports Airflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

# Before Airflow is imported: without it, Airflow 3 requests connections from the supervisor of a task. A command has no
# supervisor.
os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from vi_airflow_provider.hooks.vi import ViHook

if TYPE_CHECKING:
    from vi_airflow_provider.api.settings import ViSettings


def settings_of(conn_id: str) -> ViSettings:
    """Return the settings of a connection.

    :raises LookupError: the connection does not exist
    :raises ViConfigurationError: a field is unusable
    """
    try:
        with _without_log():
            return ViHook(conn_id).settings
    except AirflowNotFoundException:
        raise LookupError(conn_id) from None


@contextmanager
def _without_log() -> Iterator[None]:
    """Log nothing: Airflow 2.11 logs why it cannot read a connection, and may quote the secret key."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)
