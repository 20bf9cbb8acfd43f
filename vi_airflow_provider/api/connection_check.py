"""Do the settings work? One request, and one sentence about what works, or which layer does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from vi_airflow_provider.api.errors import ViError, ViNotFoundError
from vi_airflow_provider.api.settings import ViSettings

if TYPE_CHECKING:
    from vi_airflow_provider.api.client import ViClient


class ConnectionCheck(NamedTuple):
    """What was found: a sentence for a person, and the error if it does not work."""

    message: str
    error: ViError | None = None


def check_connection(settings: ViSettings, connect: Callable[[ViSettings], ViClient]) -> ConnectionCheck:
    """Read one flow, within 20 seconds and without retries: a person is waiting.

    :param connect: makes a client
    """
    quick = replace(
        settings.without_retries(),
        read_timeout=min(settings.read_timeout, 15),
        retry_budget=min(settings.retry_budget, 20),
    )
    try:
        with connect(quick) as client:
            count = len(list(client.list_flows(limit=1)))
    except ViNotFoundError as error:
        message = (
            f"{settings.endpoint} does not know organization {settings.organization_id!r} (404): check the "
            f"organization id (login) and the API endpoint (host). {error}"
        )
        return ConnectionCheck(message, error)
    except ViError as error:
        return ConnectionCheck(str(error), error)
    found = "can read its flows" if count else "can read its flows (there are none yet)"
    return ConnectionCheck(
        f"Connected to {settings.endpoint}: the key {found} in organization {settings.organization_id}."
    )
