"""The app that Airflow's API server mounts at ``/vi``: a JSON API that only reads, and the page's static files.

Rights. Airflow does not authenticate the calls to a mounted app. Every route of the API is on one router whose
dependency checks, before the cache is consulted, that the caller may read *this* connection in Airflow: a user who
may read the connection may see what it reads. Nothing else is served, except the static files, which hold no data.

Errors. Only the text of a ``ViError`` goes out: it holds no secrets. Whatever else is raised is logged by its class
and place, without its message and without the local variables of its frames.
"""

from __future__ import annotations

import gc
import gzip
import json
import logging
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Literal

from airflow.api_fastapi.core_api.security import requires_access_connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from vi_airflow_provider.api.errors import ViConfigurationError, ViError, ViValidationError
from vi_airflow_provider.provider_info import DEFAULT_CONN_ID
from vi_airflow_provider.ui.cache import Listings
from vi_airflow_provider.ui.reading import Reader
from vi_airflow_provider.ui.static_files import PageFiles

log = logging.getLogger(__name__)

#: Characters of a policy in an address.
MAX_POLICY: Final = 20_000
#: gzip, unless with a weight of 0.
_ACCEPTS_GZIP: Final = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", re.IGNORECASE)
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_NOT_FOUND: Final = (
    "Airflow does not find this connection. If it is defined in environment variables or in a secrets backend, the "
    "API server must have access to them. Airflow 3.1.0 does not find connections in its database."
)
_TIMEOUT: Final = (
    "It took too long: Vi did not respond in time, or the server was busy with other previews. Try again later; a "
    "large organization may need a second try."
)
Refresh = Annotated[bool, Query(description="read again, although a recent listing is kept")]
#: What a cleanup deletes.
Subjects = Literal["flows", "runs"]


def create_app(connections: Collection[str] = (), listings: Listings | None = None, *, freeze: bool = False) -> FastAPI:
    """Build the app.

    :param connections: ids of connections to offer that Airflow does not list, such as those of a secrets backend
    :param listings: where listings are kept
    :param freeze: exempt what is loaded at the start of the server from garbage collection. Reading thousands of flows
        triggers a full collection, which would traverse all of Airflow, and hold the event loop for up to half a second
    """
    reader = Reader(listings or Listings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if freeze:
            gc.collect()
            gc.freeze()
        yield
        await reader.close()

    app = FastAPI(title="Datature Vi", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.include_router(_api(reader, list(connections)))
    app.mount("/static", PageFiles(), name="static")
    return app


def _api(reader: Reader, connections: list[str]) -> APIRouter:
    case = _refusing_other_cases({DEFAULT_CONN_ID, *connections})
    guards = [Depends(requires_access_connection("GET")), Depends(case)]
    api = APIRouter(prefix="/api/connections", dependencies=guards)

    @api.get("")
    async def known_connections() -> Response:
        return JSONResponse({"default": DEFAULT_CONN_ID, "connections": connections}, headers=_HEADERS)

    @api.get("/{connection_id}/flows")
    async def flows(request: Request, connection_id: str, refresh: Refresh = False) -> Response:
        return await _respond(request, lambda: reader.flows(connection_id, refresh=refresh))

    @api.get("/{connection_id}/flows/{flow_id}")
    async def flow(request: Request, connection_id: str, flow_id: str) -> Response:
        return await _respond(request, lambda: reader.flow(connection_id, flow_id))

    @api.get("/{connection_id}/progress")
    async def progress(connection_id: str) -> Response:
        return JSONResponse({"read": reader.flows_read(connection_id)}, headers=_HEADERS)

    @api.get("/{connection_id}/plan")
    async def plan(
        request: Request, connection_id: str, policy: str, of: Subjects = "flows", refresh: Refresh = False
    ) -> Response:
        return await _respond(
            request, lambda: reader.plan(connection_id, _mapping(policy), subjects=of, refresh=refresh)
        )

    @api.get("/{connection_id}/runs")
    async def runs(request: Request, connection_id: str, refresh: Refresh = False) -> Response:
        return await _respond(request, lambda: reader.runs(connection_id, refresh=refresh))

    @api.get("/{connection_id}/runs/{run_id}/outputs")
    async def outputs(request: Request, connection_id: str, run_id: str, refresh: Refresh = False) -> Response:
        return await _respond(request, lambda: reader.outputs(connection_id, run_id, refresh=refresh))

    return api


def _refusing_other_cases(known: Collection[str]) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that does not find a known id in another case.

    Airflow finds a connection of an environment variable in any case, while it checks the rights for the id as written.
    """
    lower = {connection_id.lower() for connection_id in known}

    async def check(request: Request) -> None:
        connection_id = request.path_params.get("connection_id", "")
        if connection_id not in known and connection_id.lower() in lower:
            raise HTTPException(404, _NOT_FOUND, _HEADERS)

    return check


def _mapping(text: str) -> dict[str, Any]:
    if len(text) > MAX_POLICY:
        # Not a bound of the parameter: FastAPI's response would repeat the whole text.
        raise ViValidationError(f"policy: it has {len(text):,} characters; a preview takes up to {MAX_POLICY:,}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ViValidationError('policy: write it as a JSON object, like {"older_than": "P90D"}')
    return value


async def _respond(request: Request, read: Callable[[], Awaitable[tuple[bytes, float]]]) -> Response:
    """Send compressed JSON as it is, or the reason of a failure."""
    try:
        body, age = await read()
    except ViConfigurationError as error:
        return _refusal(409, f"Fix the connection: {error}")
    except ViValidationError as error:
        return _refusal(422 if error.status_code is None else 502, str(error))
    except ViError as error:
        return _refusal(502, str(error))
    except TimeoutError:
        return _refusal(504, _TIMEOUT)
    except AirflowNotFoundException:
        return _refusal(404, _NOT_FOUND)
    except Exception as error:
        frames = "".join(traceback.format_tb(error.__traceback__))
        log.error("The page of Datature Vi: %s\n%s", type(error).__name__, frames)
        return _refusal(500, f"An error in the page ({type(error).__name__}); the log of the API server has more.")
    headers = {**_HEADERS, "Age": str(round(age)), "Vary": "Accept-Encoding"}
    if _ACCEPTS_GZIP.search(request.headers.get("accept-encoding", "")):
        headers["Content-Encoding"] = "gzip"
    else:
        body = await run_in_threadpool(gzip.decompress, body)
    return Response(body, media_type="application/json", headers=headers)


def _refusal(status: int, detail: str) -> Response:
    return JSONResponse({"detail": detail}, status, headers=_HEADERS)
