"""The control API for people and for tests in other processes: `/_emulator/…`.

It needs no key and never shows one. It refuses other machines and web pages that are open in a browser.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from typing import cast, get_type_hints

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from vi_airflow_provider.emulator.backend import Backend, Changes
from vi_airflow_provider.emulator.fault_rules import Fault
from vi_airflow_provider.emulator.http.responses import empty_response, error_response, json_response
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.schema import Document, decode_object

CONTROL_PREFIX = "/_emulator/"


def create_control(backend: Backend) -> ASGIApp:
    """The control API of one backend."""

    async def health(_: Request) -> Response:
        settings, store = backend.settings, backend.store
        return json_response(
            {
                "status": "ok",
                "organizationId": settings.organization_id,
                "flows": len(store.flow_ids()),
                "busyFlows": store.busy_flow_ids(),
                "latencyMs": settings.latency_ms,
                "pageCap": settings.page_cap,
            }
        )

    async def list_faults(_: Request) -> Response:
        return json_response({"faults": [active.to_json() for active in backend.faults.rules()]})

    async def add_fault(request: Request) -> Response:
        fault = Fault.from_json(decode_object(await request.body()))
        return json_response(backend.faults.add(fault).to_json(), 201)

    async def clear_faults(_: Request) -> Response:
        backend.faults.clear()
        return empty_response()

    async def list_requests(_: Request) -> Response:
        return json_response({"requests": [request.to_json() for request in backend.request_log.snapshot()]})

    async def clear_requests(_: Request) -> Response:
        backend.request_log.clear()
        return empty_response()

    async def reset(request: Request) -> Response:
        changes = _changes(decode_object(await request.body() or b"{}"))
        await asyncio.to_thread(backend.reset, **changes)
        return await health(request)

    async def add_flows(request: Request) -> Response:
        match decode_object(await request.body()):
            case {"count": int(count), "seed": int(seed), **rest} if count >= 0 and not rest:
                added = await asyncio.to_thread(backend.store.add_sample_flows, count, seed)
                return json_response({"flowIds": added}, 201)
        raise ApiError(400, 'the body must be {"count": <flows>, "seed": <integer>}')

    app = Starlette(
        routes=[
            _route("health", "GET", health),
            _route("faults", "GET", list_faults),
            _route("faults", "POST", add_fault),
            _route("faults", "DELETE", clear_faults),
            _route("requests", "GET", list_requests),
            _route("requests", "DELETE", clear_requests),
            _route("reset", "POST", reset),
            _route("flows", "POST", add_flows),
        ]
    )

    async def local_only(scope: Scope, receive: Receive, send: Send) -> None:
        if _is_local(scope) and not _is_from_web_page(scope):
            await app(scope, receive, send)
        else:
            await error_response(ApiError(403, "The control API serves only programs on this machine"))(
                scope, receive, send
            )

    return local_only


def _route(name: str, method: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    async def safe(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ApiError as error:
            return error_response(error)
        except ValueError as error:  # an invalid rule or setting
            return error_response(ApiError(400, str(error)))

    return Route(CONTROL_PREFIX + name, safe, methods=[method])


def _changes(body: Document) -> Changes:
    hints = get_type_hints(Changes)
    for name, value in body.items():
        if name not in hints:
            raise ValueError(f"unknown setting {name!r}; known are {', '.join(hints)}")
        if not isinstance(value, int if hints[name] is int else int | float) or isinstance(value, bool):
            raise ValueError(f"{name} must be {'an integer' if hints[name] is int else 'a number'}")
    return cast("Changes", body)


def _is_from_web_page(scope: Scope) -> bool:
    return any(name == b"origin" for name, _ in scope["headers"])


def _is_local(scope: Scope) -> bool:
    client = scope["client"]
    return client is not None and ipaddress.ip_address(client[0]).is_loopback
