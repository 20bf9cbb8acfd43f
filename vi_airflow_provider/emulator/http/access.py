"""Who may use the parts of the emulator that need no key: programs and browsers on the same machine."""

from __future__ import annotations

import ipaddress

from starlette.types import ASGIApp, Receive, Scope, Send

from vi_airflow_provider.emulator.http.responses import error_response
from vi_airflow_provider.emulator.store.errors import ApiError


def local_only(app: ASGIApp) -> ASGIApp:
    """Refuse other machines, and scripts of web pages that are open in a browser on this one."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if _is_local(scope) and not _is_from_script(scope):
            await app(scope, receive, send)
        else:
            error = ApiError(403, "This part of the emulator serves only programs on the same machine")
            await error_response(error)(scope, receive, send)

    return layer


def _is_from_script(scope: Scope) -> bool:
    return any(name == b"origin" for name, _ in scope["headers"])


def _is_local(scope: Scope) -> bool:
    client = scope["client"]
    return client is not None and ipaddress.ip_address(client[0]).is_loopback
