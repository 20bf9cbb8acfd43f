"""The application, from the outside in: trace id, request log, faults, redaction, authentication, endpoints.

The layers are plain ASGI: faults need the raw connection, and the layers handle thousands of requests a second.
"""

from __future__ import annotations

import hmac
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.http.control import CONTROL_PREFIX, create_control
from vi_airflow_provider.emulator.http.endpoints import create_api
from vi_airflow_provider.emulator.http.fault_injection import injecting_faults
from vi_airflow_provider.emulator.http.openapi import describing
from vi_airflow_provider.emulator.http.pages import PAGES_PREFIX, create_pages
from vi_airflow_provider.emulator.http.responses import error_response
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.outputs import DOWNLOADS_PREFIX


def create_app(backend: Backend) -> ASGIApp:
    """The emulator as an ASGI application."""
    api = redacting(authenticating(create_api(backend), backend), backend)
    vi = describing(recording(injecting_faults(api, backend), backend))
    others = {
        CONTROL_PREFIX: redacting(create_control(backend), backend),
        PAGES_PREFIX: redacting(create_pages(backend), backend),
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        inner = next((other for prefix, other in others.items() if scope["path"].startswith(prefix)), vi)
        await inner(scope, receive, _tracing(send))

    return app


def _tracing(send: Send) -> Send:
    trace = f"{uuid.uuid4().hex}/1;o=1".encode()

    async def traced(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-cloud-trace-context", trace)]
        await send(message)

    return traced


def recording(app: ASGIApp, backend: Backend) -> ASGIApp:
    """Record each request before its response is sent: a client that has the response finds the record."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        query = scope["query_string"].decode("latin-1")
        record = backend.request_log.record(scope["method"], scope["path"], query, scope["headers"])

        async def recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                record.ms = round((time.perf_counter() - started) * 1000, 3)
            await send(message)

        await app(scope, receive, recorded)

    return layer


def redacting(app: ASGIApp, backend: Backend) -> ASGIApp:
    """Remove the key from errors, which may repeat what a client sent."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        held: Message | None = None

        async def redacted(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and message["status"] >= 400:
                held = message
            elif held is None:
                await send(message)
            else:  # an error has one body, which is whole
                body = backend.request_log.redact(message["body"].decode("latin-1")).encode("latin-1")
                others = [(name, value) for name, value in held["headers"] if name != b"content-length"]
                await send({**held, "headers": [*others, (b"content-length", str(len(body)).encode())]})
                await send({**message, "body": body})

        await app(scope, receive, redacted)

    return layer


def authenticating(app: ASGIApp, backend: Backend) -> ASGIApp:
    """Check the key first (401), then the organization (403). The order is assumed: the vendor does not document it."""
    settings = backend.settings  # a reset does not change the identity
    expected = f"Bearer {settings.secret_key}".encode()

    def check(scope: Scope) -> None:
        if scope["path"].startswith(DOWNLOADS_PREFIX):  # signed instead
            return
        headers = dict(scope["headers"])
        if not hmac.compare_digest(headers.get(b"authorization", b""), expected):
            raise ApiError(401, "The secret key is missing, malformed or unknown")
        match scope["path"].split("/"):
            case ["", "workspaces", organization, *_] | ["", "dryRuns", "workspaces", organization, *_]:
                if headers.get(b"organization-id", b"").decode("latin-1") != organization:
                    raise ApiError(403, "The Organization-Id header is not the organization in the path")
                if organization != settings.organization_id:
                    raise ApiError(403, "The secret key does not belong to this organization")

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            check(scope)
        except ApiError as error:
            await error_response(error)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return layer
