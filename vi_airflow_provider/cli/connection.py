"""The credentials of a command: the vendor's environment variables, or an Airflow connection. Never an argument."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.connection_check import check_connection
from vi_airflow_provider.api.errors import ViConfigurationError, ViError
from vi_airflow_provider.api.settings import DEFAULT_ENDPOINT, Secret, ViSettings
from vi_airflow_provider.cli.errors import CommandError, ExitCode, exit_code
from vi_airflow_provider.cli.lazy import load
from vi_airflow_provider.cli.progress import counting
from vi_airflow_provider.provider_info import DEFAULT_CONN_ID
from vi_airflow_provider.storage.console import print_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

    from vi_airflow_provider.api.protocol.paging import Paginator

M = TypeVar("M", bound="BaseModel")
C = TypeVar("C", bound="CountingClient")

#: The names that the vendor's SDK reads, by the field of an Airflow connection.
VARIABLES: Final = {
    "login": "DATATURE_VI_ORGANIZATION_ID",
    "password": "DATATURE_VI_SECRET_KEY",
    "host": "DATATURE_VI_API_ENDPOINT",
}
_FIELD: Final = re.compile(r"the connection's (login|password|host)")


class CountingClient(ViClient):
    """Reports each document of a listing."""

    def __init__(self, settings: ViSettings, tick: Callable[[], None]) -> None:
        super().__init__(settings)
        self._tick = tick

    def _documents(self, paginator: Paginator[M]) -> Iterator[M]:
        for document in super()._documents(paginator):
            self._tick()
            yield document


@contextmanager
def lend(kind: type[C], arguments: Any, what: str = "", *, streams: bool = False) -> Iterator[C]:
    """Lend the client of a command, of a class.

    :param what: what its listings contain, for the progress on a terminal
    :param streams: whether rows are printed as they arrive, which is progress enough on a terminal
    """
    settings = settings_of(arguments.conn_id)
    with (
        _naming_variables(arguments.conn_id),
        counting(what, streams=streams) as tick,
        kind(settings, tick) as client,
    ):
        yield client


@contextmanager
def _naming_variables(conn_id: str | None) -> Iterator[None]:
    """Let the advice of errors name the variables that were used instead of the fields of a connection."""
    try:
        yield
    except ViError as error:
        if _is_in_environment(conn_id):
            error.advice = _FIELD.sub(lambda found: VARIABLES[found[1]], error.advice)
        raise


def open_client(arguments: Any, what: str = "", *, streams: bool = False) -> AbstractContextManager[ViClient]:
    """Lend the client of a command; parameters as of :func:`lend`."""
    return lend(CountingClient, arguments, what, streams=streams)


def settings_of(conn_id: str | None) -> ViSettings:
    """Return the settings that the environment or an Airflow connection contains.

    :param conn_id: id of a connection; ``None`` for the environment, or without it the default connection
    :raises ViConfigurationError: they are unusable
    :raises CommandError: there is no such connection, or it cannot be read
    """
    if _is_in_environment(conn_id):
        return _from_environment()
    if conn_id is not None and not conn_id.strip():
        raise CommandError("--conn-id: it is empty; a shell variable may be unset", ExitCode.UNUSABLE)
    return _from_airflow(DEFAULT_CONN_ID if conn_id is None else conn_id)


def _is_in_environment(conn_id: str | None) -> bool:
    return conn_id is None and any(os.environ.get(VARIABLES[field]) for field in ("login", "password"))


def _from_environment() -> ViSettings:
    values = {field: os.environ.get(name, "").strip() for field, name in VARIABLES.items()}
    try:
        return ViSettings(
            organization_id=values["login"],
            secret_key=Secret(values["password"]),
            endpoint=values["host"] or DEFAULT_ENDPOINT,
        )
    except ViConfigurationError as error:
        field, _, reason = str(error).partition(": ")
    raise ViConfigurationError(f"{VARIABLES.get(field, field)}: {reason}")


def _from_airflow(conn_id: str) -> ViSettings:
    try:
        settings: ViSettings = load("airflow_connection.settings_of")(conn_id)
    except ViError:
        raise
    except LookupError:
        variable = f"AIRFLOW_CONN_{conn_id.upper()}"
        if os.environ.get(variable):
            reason = (
                f"{variable:.80} is set, but Airflow cannot read a connection from it; write a URI or a JSON object"
            )
            raise CommandError(reason, ExitCode.CONNECTION) from None
        reason = f"there is no Airflow connection {conn_id!r:.80}"
    except Exception as error:  # whatever the secrets backend or the database raises; its text may quote the connection
        reason = f"the Airflow connection {conn_id!r:.80} cannot be read ({type(error).__name__})"
    else:
        return settings
    variables = f"{VARIABLES['login']} and {VARIABLES['password']}"
    raise CommandError(
        f"{reason}. Add it with `airflow connections add`, name another one with --conn-id, or run vi-airflow with "
        f"{variables} in the environment.",
        ExitCode.CONNECTION,
    )


def test(arguments: Any) -> int:
    """Read one flow, and print in one sentence what works."""
    found = check_connection(settings_of(arguments.conn_id), ViClient)
    if found.error is not None:
        raise CommandError(found.message, exit_code(found.error))
    print_lines([found.message])
    return ExitCode.OK
