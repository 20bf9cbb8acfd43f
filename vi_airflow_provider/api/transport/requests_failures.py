"""What exceptions of ``requests`` and ``urllib3`` mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import requests
import urllib3.exceptions as urllib3_errors

from vi_airflow_provider.api.protocol.messages import Failure, FailureKind
from vi_airflow_provider.api.transport.failures import KindTable, classify, root_failure, system_reason

#: What the libraries raise for what the network, or the server, does.
ERRORS: Final = (requests.RequestException, urllib3_errors.HTTPError, OSError, ValueError)

_KINDS: Final[KindTable] = (
    (requests.exceptions.ConnectTimeout, FailureKind.CONNECT_TIMEOUT),
    (requests.exceptions.Timeout, FailureKind.TIMEOUT),
    (urllib3_errors.TimeoutError, FailureKind.TIMEOUT),
    (requests.exceptions.InvalidHeader, FailureKind.INVALID),
)


def failure(error: Exception, outer: BaseException | None, status: int | None) -> Failure:
    """Return what an exception means; see :func:`~vi_airflow_provider.api.transport.failures.classify`."""
    reason = _reason(error)
    # urllib3 blames the proxy also if the connection broke after the request was sent through it.
    broken = isinstance(getattr(reason, "original_error", None), ConnectionError)
    if isinstance(error, requests.exceptions.ProxyError) and not broken:
        return Failure(FailureKind.PROXY, system_reason(error, outer) or _tunnel_reason(reason))
    found = classify(error, outer, status, _KINDS)
    if isinstance(reason, urllib3_errors.NewConnectionError) and root_failure(error, outer) is None:
        return replace(found, kind=FailureKind.CONNECT)
    return found


def _reason(error: Exception) -> Any:
    return getattr(error.args[0], "reason", None) if error.args else None


def _tunnel_reason(reason: Any) -> str:
    """Return a proxy's response to CONNECT ("Tunnel connection failed: 407 …")."""
    message = str(getattr(reason, "original_error", ""))
    return message if message.startswith("Tunnel connection failed") else ""
