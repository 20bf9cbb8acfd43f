"""What exceptions of ``aiohttp`` mean."""

from __future__ import annotations

from typing import Final

import aiohttp

from vi_airflow_provider.api.protocol.messages import Failure, FailureKind
from vi_airflow_provider.api.transport.failures import KindTable, classify, system_reason

#: What the library raises for what the network, or the server, does.
ERRORS: Final = (aiohttp.ClientError, TimeoutError, OSError, ValueError)

_KINDS: Final[KindTable] = (
    (aiohttp.ClientConnectorError, FailureKind.CONNECT),
    (aiohttp.ConnectionTimeoutError, FailureKind.CONNECT_TIMEOUT),
    (TimeoutError, FailureKind.TIMEOUT),
    (aiohttp.ClientResponseError, FailureKind.INVALID),
)


def failure(error: Exception, outer: BaseException | None, status: int | None) -> Failure:
    """Return what an exception means; see :func:`~vi_airflow_provider.api.transport.failures.classify`."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return Failure(FailureKind.PROXY, system_reason(error, outer) or f"{error.status} {error.message}")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return Failure(FailureKind.PROXY, system_reason(error, outer))
    return classify(error, outer, status, _KINDS)
