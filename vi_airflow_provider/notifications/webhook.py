"""``ViReportNotifier``: posts what a task of this provider has done to a webhook, such as that of a chat service."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import BaseHook, BaseNotifier

from vi_airflow_provider.api.errors import ViNetworkError, one_line
from vi_airflow_provider.api.settings import Secret
from vi_airflow_provider.api.transport.failures import without_frames
from vi_airflow_provider.notifications.messages import end_of, escaped, failure_of, is_eventful
from vi_airflow_provider.selection.arguments import flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

#: Seconds to connect, and to wait for the next byte of the response.
_TIMEOUT: Final = 10.0
#: Seconds until its status and headers have arrived; the body is not read.
_DEADLINE: Final = 20.0
#: The part of a URL between scheme and path, and what of it is an address of IPv6 without brackets.
_AUTHORITY: Final = re.compile(r"(?P<host>(?:[^@]*@)?(?:\[[^\]]*\]|[^:\[\]@]*))(?::(?P<port>\d*))?")
_BARE_IPV6: Final = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*")


class ViReportNotifier(BaseNotifier):
    """Post a line about the result of a task to a webhook, as JSON with the key ``text``.

    Slack, Mattermost, Microsoft Teams and Google Chat accept this form. Use it as ``on_success_callback`` or
    ``on_failure_callback`` of ``PruneFlowsOperator``, ``ExportFlowsOperator``, ``StartRunOperator`` and their siblings
    for runs, of their DAGs, or as the callback of a deadline. The message has counts, states, metrics and links; names
    of flows are escaped. It reports a success only if that is known. A failure to send is logged by Airflow, and never
    changes the state of a task.

    :param webhook_conn_id: id of an Airflow connection of type ``http``: its host is the URL of the webhook, or its
        schema, host and port together. Put the secret part of the path, if there is one, into its password: it is
        appended to them.
    :param only_changes: do not report a success that has changed nothing: a cleanup that selected nothing, or an audit
        without drift
    :param title: first words of the message; a template
    """

    template_fields: Sequence[str] = ("webhook_conn_id", "title")

    def __init__(
        self,
        *,
        webhook_conn_id: str = "vi_webhook",
        only_changes: bool = False,
        title: str = "{{ dag.dag_id if dag is defined and dag else 'Airflow' }}",
    ) -> None:
        super().__init__()
        self.webhook_conn_id = webhook_conn_id
        self.only_changes = flag("only_changes", only_changes)
        self.title = title

    def notify(self, context: Context) -> None:
        """Send from a worker or the DAG processor.

        :raises ViNetworkError: the webhook did not accept the message; the URL is not shown
        """
        text = self._text(context)
        if text is not None:
            self._check(_send(_url(BaseHook.get_connection(self.webhook_conn_id)), text))

    async def async_notify(self, context: Context) -> None:
        """Send from the triggerer, where the callbacks of deadlines run, by the same client in a thread.

        :raises ViNetworkError: the webhook did not accept the message; the URL is not shown
        """
        text = self._text(context)
        if text is not None:
            url = _url(await get_async_connection(self.webhook_conn_id))
            self._check(await asyncio.to_thread(_send, url, text))

    def _text(self, context: Context) -> str | None:
        """Return the message, ``None`` if there is nothing to report."""
        facts: Any = context
        failure = failure_of(facts)
        if failure is not None:
            return f"{escaped(self.title)}{failure}"
        ti = facts.get("ti")
        result = None if ti is None else _result_of(ti)
        if self.only_changes and not is_eventful(result):
            return None
        return f"{escaped(self.title)}{end_of(facts, result)}"

    def _check(self, reason: str | None) -> None:
        if reason is not None:
            conn_id = one_line(self.webhook_conn_id, 100)
            raise ViNetworkError(
                f"the webhook of the connection {conn_id!r} did not accept the message: {reason}",
                advice="Check the host, the port and the password of this connection.",
            )


# The reason is returned instead of raised, so that no traceback has a frame whose locals hold the URL.


def _send(url: Secret | None, text: str) -> str | None:
    """Send a message, if the address of the webhook is known; return why it was not accepted."""
    return "its host has another port than its field for the port" if url is None else _post(url, text)


def _post(url: Secret, text: str) -> str | None:
    """Send a message to a URL; return why it was not accepted."""
    import requests

    from vi_airflow_provider.api.transport.deadlines import Adapter, Call, current

    outer = sys.exception()
    call = Call()
    call.deadline = time.monotonic() + _DEADLINE
    current.set(call)
    try:
        with requests.Session() as session:
            session.mount("https://", Adapter())
            session.mount("http://", Adapter())
            with session.post(
                url, json={"text": text}, timeout=_TIMEOUT, allow_redirects=False, stream=True
            ) as response:
                status = response.status_code
    except requests.RequestException as error:
        return type(error).__name__
    except BaseException as error:
        raise without_frames(error, outer)  # noqa: B904 - it is the caught one
    return None if 200 <= status < 300 else f"status {status}"


def _result_of(ti: Any) -> Any:
    """Return what the task has returned, or the report that a failed cleanup has left."""
    for key in ("return_value", "report"):
        value = ti.xcom_pull(task_ids=ti.task_id, key=key, map_indexes=ti.map_index)
        if value is not None:
            return value
    return None


def _url(connection: Any) -> Secret | None:
    """Return the URL of the webhook, which is a secret; ``None`` if two ports are given."""
    host = connection.host or ""
    if "://" not in host:
        host = f"{connection.schema or 'https'}://{host}"
    scheme, _, rest = host.partition("://")
    authority, slash, path = rest.partition("/")
    authority = _with_port(authority, str(connection.port or ""))
    return None if authority is None else Secret(f"{scheme}://{authority}{slash}{path}{connection.password or ''}")


def _with_port(authority: str, port: str) -> str | None:
    """Return the part of a URL that names host and port, with this port; ``None`` if it has another one."""
    if _BARE_IPV6.fullmatch(authority):
        authority = f"[{authority}]"
    found = _AUTHORITY.fullmatch(authority)
    if found is None or not port:  # unusable, as `requests` reports, or without a port in a field of its own
        return authority
    return f"{found['host']}:{port}" if found["port"] in (None, "", port) else None
