"""The endpoints under `/workspaces/{organization}`: the store over HTTP."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.http.responses import error_response, json_response
from vi_airflow_provider.emulator.http.run_endpoints import run_routes
from vi_airflow_provider.emulator.http.verbs import ROOT, Verbs, route
from vi_airflow_provider.emulator.store.collection import Stored
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.schema import Document, encode


def create_api(backend: Backend) -> Starlette:
    """The routes; every error is JSON."""
    store, verbs = backend.store, Verbs(backend)

    async def workspace(_: Request) -> Response:
        return json_response(_workspace(backend.settings.organization_id))

    routes = [
        route(ROOT, GET=workspace),
        route(ROOT + "/flows", GET=verbs.lists("flows", store.flows.page, _flow)),
        route(ROOT + "/simpleFlows", GET=verbs.lists("simpleFlows", store.flows.page, _simple_flow)),
        route(
            ROOT + "/flows/{id}",
            GET=verbs.reads(lambda id_: store.flows.read(id_).wire),
            PUT=verbs.writes(store.put_flow),
            PATCH=verbs.writes(store.patch_flow),
            DELETE=verbs.deletes(store.delete_flow),
        ),
        route(ROOT + "/runs", GET=verbs.lists("runs", store.runs.view_page, encode)),
        route(ROOT + "/simpleRuns", GET=verbs.lists("simpleRuns", store.runs.view_page, _simple_run)),
        route(
            ROOT + "/runs/{id}",
            GET=verbs.reads(store.runs.wire),
            PUT=verbs.writes(store.put_run),
            PATCH=verbs.writes(store.patch_run),
            DELETE=verbs.deletes(store.delete_run),
        ),
        *run_routes(backend),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _routing_error, Exception: _bug})
    app.router.redirect_slashes = False  # `/flows/` is an unknown path, not a redirect
    return app


def _routing_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        return error_response(ApiError(405, f"{request.method} is not allowed here"), error.headers)
    return error_response(ApiError(404, "No such resource"))


def _bug(_: Request, error: Exception) -> Response:
    return error_response(ApiError(500, f"The emulator failed: {type(error).__name__}"))


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
