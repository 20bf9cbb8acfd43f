"""``ViHook``: the client of the Vi API for an Airflow connection."""

from __future__ import annotations

import asyncio
import json
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, mask_secret

from vi_airflow_provider import __version__, get_provider_info
from vi_airflow_provider.api.connection_check import check_connection
from vi_airflow_provider.api.errors import ViConfigurationError, ViError
from vi_airflow_provider.api.settings import DEFAULT_ENDPOINT, Secret, ViSettings, possible_secrets
from vi_airflow_provider.api.verbs import BlockingVerbs
from vi_airflow_provider.provider_info import DEFAULT_CONN_ID
from vi_airflow_provider.selection.arguments import text
from vi_airflow_provider.selection.filter import FlowCriteria, FlowFilter, selected_flows

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection
    from pydantic import BaseModel

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.client import ViClient
    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.api.protocol.messages import Steps
    from vi_airflow_provider.api.protocol.paging import Paginator
    from vi_airflow_provider.api.verbs import ViProtocol

T = TypeVar("T")
M = TypeVar("M", bound="BaseModel")

USER_AGENT = f"vi-airflow-provider/{__version__} (Airflow {airflow_version}; Python {platform.python_version()})"


class ViHook(BlockingVerbs, BaseHook):
    """Calls the Vi API with the credentials of an Airflow connection.

    Nothing is read or sent before the first call. A method that fails raises a :class:`ViError`, whose subclass states
    the cause (``vi_airflow_provider.api.errors``). A child process that inherits a hook opens connections of its own.

    :param vi_conn_id: id of a connection of type ``vi``
    :param retry: with False, each call is one request (a page, for a listing): for a caller that paces itself
    """

    conn_name_attr = "vi_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "vi"
    hook_name = "Datature Vi"

    def __init__(self, vi_conn_id: str = default_conn_name, *, retry: bool = True) -> None:
        super().__init__()
        self.vi_conn_id = vi_conn_id
        self._retry = retry
        self._settings: ViSettings | None = None
        self._client: ViClient | None = None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form shows the standard fields (Airflow before 3.2)."""
        behaviour = _connection_type()["ui-field-behaviour"]
        return {key.replace("-", "_"): value for key, value in behaviour.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's fields for the extra (Airflow before 3.2)."""
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from wtforms import BooleanField, IntegerField, PasswordField, StringField
        from wtforms.validators import Optional

        def widget(label: str, description: str, schema: Mapping[str, Any]) -> Any:
            kind = schema["type"][0]
            if kind == "boolean":
                return BooleanField(label, description=description)
            if schema.get("format") == "password":
                return PasswordField(label, description=description, widget=BS3PasswordFieldWidget())
            field = IntegerField if kind == "integer" else StringField
            return field(label, description=description, validators=[Optional()], widget=BS3TextFieldWidget())

        return {name: widget(**field) for name, field in _connection_type()["conn-fields"].items()}

    # --- clients -----------------------------------------------------------------------------------------------

    @property
    def settings(self) -> ViSettings:
        """The connection's fields, checked; read on first access.

        :raises ViConfigurationError: a field is missing or unusable; the message names it
        :raises ViValidationError: the id of the connection is empty, or no text
        :raises AirflowNotFoundException: there is no such connection
        """
        if self._settings is None:
            found, secrets = self._checked(self.get_connection(text("vi_conn_id", self.vi_conn_id)))
            for secret in secrets:
                mask_secret(str(secret))
            self._settings = _usable(found)
        return self._settings

    def get_conn(self) -> ViClient:
        """Return the client of this hook; there is one, and it keeps its connections open."""
        if self._client is None:
            self._client = _new_client(self.settings)
        return self._client

    async def get_async_conn(self) -> AsyncViClient:
        """Return a new asynchronous client, which the caller closes; the event loop is not blocked."""
        from vi_airflow_provider.api.async_client import AsyncViClient

        if self._settings is None:
            found, secrets = self._checked(await get_async_connection(text("vi_conn_id", self.vi_conn_id), hook=self))
            for secret in secrets:
                await _mask_secret_async(str(secret))
            self._settings = _usable(found)
        return AsyncViClient(self._settings)

    def _checked(self, connection: Connection) -> tuple[ViSettings | BaseException, tuple[Secret, ...]]:
        """Return the settings of a connection, or why it cannot be used, and in either case the secrets to mask."""
        secrets: tuple[Secret, ...] = ()
        try:
            secrets = _possible_secrets(connection)
            settings = settings_from_connection(connection)
            return settings if self._retry else settings.without_retries(), settings.secrets()
        except BaseException as error:
            # Without its frames: they hold the connection, whose repr may show its password.
            return error.with_traceback(None), secrets

    def close(self) -> None:
        """Close the connections to the server; the next call opens new ones."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def test_connection(self) -> tuple[bool, str]:
        """Read one flow, and report in one sentence what works, or which layer does not."""
        try:
            found = check_connection(self.settings, _new_client)
        except (ViError, AirflowNotFoundException) as error:
            return False, str(error)
        return found.error is None, found.message

    # --- the verbs ---------------------------------------------------------------------------------------------

    def list_flows(
        self,
        *,
        page_size: int | None = None,
        limit: int | None = None,
        prefetch: bool = True,
        **criteria: Unpack[FlowCriteria],
    ) -> Iterator[Flow]:
        """Yield all flows, or those that match, newest first, one page at a time as they are consumed.

        :param page_size: flows per request; the connection's setting by default, or else pages that begin small and
            grow
        :param limit: stop after this many
        :param prefetch: fetch the next page (never more) while a page is consumed; False for a consumer that stops
            once it has found what it searches for
        :param criteria: those of ``ListFlowsOperator``: ``name_pattern``, ``training_project``, ``attributes``,
            ``created_after``, ``created_before``, ``updated_after``, ``updated_before``, ``older_than``
        :raises ViValidationError: a criterion is unusable; the message names it
        """
        wanted = FlowFilter.build(**criteria)
        return selected_flows(self.get_conn(), wanted, datetime.now(UTC), limit, page_size, prefetch=prefetch)

    @property
    def _calls(self) -> ViProtocol:
        return self.get_conn()._calls

    def _run(self, steps: Steps[T]) -> T:
        return self.get_conn()._run(steps)

    def _documents(self, paginator: Paginator[M]) -> Iterator[M]:
        return self.get_conn()._documents(paginator)


def _new_client(settings: ViSettings) -> ViClient:
    from vi_airflow_provider.api.client import ViClient

    return ViClient(settings)


def _usable(found: ViSettings | BaseException) -> ViSettings:
    if isinstance(found, ViSettings):
        return found
    raise found from None


def settings_from_connection(connection: Connection) -> ViSettings:
    """Read and check the fields of a connection.

    :raises ViConfigurationError: a field is missing, unknown or unusable; the message names it
    """
    if connection.conn_type not in (None, "", ViHook.conn_type):
        raise ViConfigurationError(
            f"connection type: {connection.conn_type!r:.80}, expected {ViHook.conn_type!r}; "
            f"name a connection of type {ViHook.hook_name} in vi_conn_id"
        )
    return ViSettings.from_extra(
        _extra(connection.extra),
        endpoint=_endpoint(connection),
        organization_id=(connection.login or "").strip(),
        secret_key=Secret(connection.password or ""),
        user_agent=USER_AGENT,
    )


def _extra(text: str | None) -> dict[str, Any]:
    # Not `extra_dejson`, which reads broken JSON as an empty extra.
    if not text or not text.strip():
        return {}
    try:
        extra = json.loads(text)
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise ViConfigurationError('extra: this is not a JSON object; write it like {"page_size": 100}')
    return extra


def _possible_secrets(connection: Connection) -> tuple[Secret, ...]:
    """Return the secrets of a connection that has not been checked."""
    try:
        texts = list(_extra(connection.extra).values())
    except ViConfigurationError:
        texts = [connection.extra]
    return possible_secrets(connection.password, connection.login, connection.host, *texts)


def _endpoint(connection: Connection) -> str:
    """Join host, port and schema, into which Airflow splits a connection that is written as a URI.

    Airflow's form posts port 0 for an empty one.
    """
    host, port, schema = (connection.host or "").strip(), connection.port, connection.schema
    if schema and (schema not in ("http", "https") or "://" in host):
        raise ViConfigurationError(
            f"schema: {schema!r:.80} is not expected; leave it empty and put the whole URL into the host"
        )
    if not host:
        if port:
            raise ViConfigurationError("port: there is no host to go with it; put the whole URL into the host")
        return DEFAULT_ENDPOINT
    scheme, _, address = (host if "://" in host else f"{schema or 'https'}://{host}").partition("://")
    server, slash, path = address.partition("/")
    return f"{scheme}://{server}{f':{port}' if port else ''}{slash}{path}"


async def _mask_secret_async(secret: str) -> None:
    try:
        from airflow.sdk.log import amask_secret
    except ImportError:  # Airflow before 3.3.2: the synchronous call may wait for the supervisor
        await asyncio.to_thread(mask_secret, secret)
    else:
        await amask_secret(secret)


def _connection_type() -> dict[str, Any]:
    return get_provider_info()["connection-types"][0]  # type: ignore[no-any-return]
