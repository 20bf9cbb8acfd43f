"""What endpoints have in common: methods of the store as HTTP, pages, and errors as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.http.responses import empty_response, error_response, json_response
from vi_airflow_provider.emulator.settings import Settings
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.listing import Cursor, Page, Place
from vi_airflow_provider.emulator.store.schema import Document, decode_object, encode

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]

ROOT = "/workspaces/{organization}"
DEFAULT_PAGE_SIZE = 10


class Verbs:
    """Makes endpoints of methods of the store."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def lists(self, name: str, read: Callable[[Place | None, int], Page[T]], render: Callable[[T], bytes]) -> Endpoint:
        """A page of a listing."""

        async def endpoint(request: Request) -> Response:
            query = request.query_params
            return await self.page(name, read, render, query.get("p"), query.get("s"))

        return endpoint

    async def page(
        self,
        name: str,
        read: Callable[[Place | None, int], Page[T]],
        render: Callable[[T], bytes],
        token: str | None,
        size: str | None,
    ) -> Response:
        """A page, for the cursor and the size of a query."""
        place = None if token is None else Cursor.decode(token, name).place
        settings = self._backend.settings
        page = read(place, _page_size(size, settings))
        if settings.document_delay_ms:
            await asyncio.sleep(settings.document_delay_ms * len(page.items) / 1000)
        next_page = None if page.next is None else Cursor(name, page.next).encode()
        # Joined from cached encodings: encoding the whole page again would take most of the time.
        items = b",".join(map(render, page.items))
        body = b'{"items":[' + items + b'],"nextPage":' + encode(next_page) + b',"prevPage":null}'
        return Response(body, media_type="application/json")

    def reads(self, verb: Callable[[str], bytes]) -> Endpoint:
        """A document."""

        async def endpoint(request: Request) -> Response:
            return Response(verb(request.path_params["id"]), media_type="application/json")

        return endpoint

    def writes(self, verb: Callable[[str, Document], Document]) -> Endpoint:
        """A PUT or PATCH."""

        async def endpoint(request: Request) -> Response:
            body = decode_object(await request.body())
            return json_response(await self._change(verb, request.path_params["id"], body))

        return endpoint

    def deletes(self, verb: Callable[[str], None]) -> Endpoint:
        """A DELETE."""

        async def endpoint(request: Request) -> Response:
            await self._change(verb, request.path_params["id"])
            return empty_response()

        return endpoint

    async def _change(self, verb: Callable[..., T], *arguments: Any) -> T:
        # A store with a state file waits for the disk, which must not block the event loop.
        return await asyncio.to_thread(verb, *arguments) if self._backend.store.persistent else verb(*arguments)


def route(path: str, **methods: Endpoint) -> Route:
    """One route for all methods of a path, so that a 405 can list them."""

    async def endpoint(request: Request) -> Response:
        try:
            return await methods["GET" if request.method == "HEAD" else request.method](request)
        except ApiError as error:
            return error_response(error)

    return Route(path, endpoint, methods=list(methods))


def _page_size(text: str | None, settings: Settings) -> int:
    """Cap the size, by default silently (assumed: the vendor documents only that the server may cap it)."""
    cap = settings.page_cap
    if text is None:
        return min(DEFAULT_PAGE_SIZE, cap)
    if not (text.isascii() and text.isdecimal() and text.strip("0")):
        raise ApiError(400, "s must be a positive integer")
    # No cap has ten digits, and int() refuses thousands of them.
    if len(text) < 10 and int(text) <= cap:
        return int(text)
    if settings.over_cap != "cap":
        raise ApiError(int(settings.over_cap), f"s must be at most {cap}")
    return cap
