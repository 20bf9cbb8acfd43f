"""The endpoints under `/workspaces/{organization}`: the store over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.http.responses import empty_response, error_response, json_response
from vi_airflow_provider.emulator.store.collection import Stored
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.listing import Cursor, Page, Place
from vi_airflow_provider.emulator.store.schema import Document, decode_object, encode

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]

DEFAULT_PAGE_SIZE = 10


def create_api(backend: Backend) -> Starlette:
    """The routes; every error is JSON."""
    store = backend.store
    root = "/workspaces/{organization}"

    def lists(name: str, read: Callable[[Place | None, int], Page[T]], render: Callable[[T], bytes]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            size = _page_size(request.query_params.get("s"), backend.settings.page_cap)
            token = request.query_params.get("p")
            page = read(None if token is None else Cursor.decode(token, name).place, size)
            return _page_response(name, page, render)

        return endpoint

    def reads(verb: Callable[[str], bytes]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return Response(verb(request.path_params["id"]), media_type="application/json")

        return endpoint

    def writes(verb: Callable[[str, Document], Document]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            body = decode_object(await request.body())
            return json_response(await change(verb, request.path_params["id"], body))

        return endpoint

    def deletes(verb: Callable[[str], None]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            await change(verb, request.path_params["id"])
            return empty_response()

        return endpoint

    async def change(verb: Callable[..., T], *arguments: Any) -> T:
        # A store with a state file waits for the disk, which must not block the event loop.
        return await asyncio.to_thread(verb, *arguments) if store.persistent else verb(*arguments)

    async def workspace(_: Request) -> Response:
        return json_response(_workspace(backend.settings.organization_id))

    routes = [
        _route(root, GET=workspace),
        _route(root + "/flows", GET=lists("flows", store.flows.page, _flow)),
        _route(root + "/simpleFlows", GET=lists("simpleFlows", store.flows.page, _simple_flow)),
        _route(
            root + "/flows/{id}",
            GET=reads(lambda id_: store.flows.read(id_).wire),
            PUT=writes(store.put_flow),
            PATCH=writes(store.patch_flow),
            DELETE=deletes(store.delete_flow),
        ),
        _route(root + "/runs", GET=lists("runs", store.runs.view_page, encode)),
        _route(root + "/simpleRuns", GET=lists("simpleRuns", store.runs.view_page, _simple_run)),
        _route(
            root + "/runs/{id}",
            GET=reads(store.runs.wire),
            PUT=writes(store.put_run),
            PATCH=writes(store.patch_run),
            DELETE=deletes(store.delete_run),
        ),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _routing_error, Exception: _bug})
    app.router.redirect_slashes = False  # `/flows/` is an unknown path, not a redirect
    return app


def _route(path: str, **methods: Endpoint) -> Route:
    """One route for all methods of a path, so that a 405 can list them."""

    async def endpoint(request: Request) -> Response:
        try:
            return await methods["GET" if request.method == "HEAD" else request.method](request)
        except ApiError as error:
            return error_response(error)

    return Route(path, endpoint, methods=list(methods))


def _routing_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        return error_response(ApiError(405, f"{request.method} is not allowed here"), error.headers)
    return error_response(ApiError(404, "No such resource"))


def _bug(_: Request, error: Exception) -> Response:
    return error_response(ApiError(500, f"The emulator failed: {type(error).__name__}"))


def _page_size(text: str | None, cap: int) -> int:
    """Cap the size silently (assumed: the vendor documents only that the server may cap it)."""
    if text is None:
        return min(DEFAULT_PAGE_SIZE, cap)
    if not (text.isascii() and text.isdecimal() and text.strip("0")):
        raise ApiError(400, "s must be a positive integer")
    # No cap has ten digits, and int() refuses thousands of them.
    return min(int(text), cap) if len(text) < 10 else cap


def _page_response(name: str, page: Page[T], render: Callable[[T], bytes]) -> Response:
    next_page = None if page.next is None else Cursor(name, page.next).encode()
    # Joined from cached encodings: encoding the whole page again would take most of the time.
    items = b",".join(map(render, page.items))
    body = b'{"items":[' + items + b'],"nextPage":' + encode(next_page) + b',"prevPage":null}'
    return Response(body, media_type="application/json")


def _flow(stored: Stored) -> bytes:
    return stored.wire


def _simple_flow(stored: Stored) -> bytes:
    return encode({"flowId": stored.document["flowId"], "name": stored.document["spec"]["name"]})


def _simple_run(run: Document) -> bytes:
    return encode({"runId": run["runId"], "name": run["spec"]["flow"]["name"]})


def _workspace(organization_id: str) -> Document:
    """The organization document, with the fields that the vendor's SDK requires; the values are invented."""
    return {
        "kind": "Workspace",
        "workspaceId": organization_id,
        "name": "Emulated organization",
        "lastAccess": 0,
        "datasets": [],
        "billing": {"payer": "none", "email": "nobody@example.com", "subscriberId": "", "ledger": [], "tier": "none"},
        "users": {},
        "metadata": {"createDate": 0, "isPublic": False},
        "features": {},
        "lockStatus": {"isLocked": False},
        "selfLink": f"/workspaces/{organization_id}",
        "etag": '"1"',
    }
