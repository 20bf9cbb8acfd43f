"""Who may use the parts of the emulator that need no key: programs and browsers on the same machine."""

from __future__ import annotations

import ipaddress

from starlette.types import ASGIApp, Receive, Scope, Send

from vi_airflow_provider.emulator.http.responses import error_response
from vi_airflow_provider.emulator.store.errors import ApiError


def local_only(app: ASGIApp, listening_on: str) -> ASGIApp:
    """Refuse other machines, and scripts of web pages that are open in a browser on this one.

    A script that reads sends no Origin if the name of its own site leads to this machine (DNS rebinding). The Host
    header then has that name, so it must be a loopback name or address.

    :param listening_on: the host that the server was told to listen on, which is accepted, too
    """

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if _is_local(scope) and not _is_from_script(scope) and _is_for_this_machine(scope, listening_on):
            await app(scope, receive, send)
        else:
            error = ApiError(403, "This part of the emulator serves only programs on the same machine, as localhost")
            await error_response(error)(scope, receive, send)

    return layer


def _is_for_this_machine(scope: Scope, listening_on: str) -> bool:
    hosts = (value.decode("latin-1") for name, value in scope["headers"] if name == b"host")
    return all(_is_loopback(name) or name == listening_on.lower() for name in map(_name_of, hosts))


def _name_of(host: str) -> str:
    """Return a Host header without its port, and an IPv6 address without its brackets."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower()


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _is_from_script(scope: Scope) -> bool:
    return any(name == b"origin" for name, _ in scope["headers"])


def _is_local(scope: Scope) -> bool:
    client = scope["client"]
    return client is not None and ipaddress.ip_address(client[0]).is_loopback
