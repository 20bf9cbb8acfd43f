"""The endpoints around runs: logs, outputs, downloads, accelerators, quota, training projects, statistics."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.http.downloads import downloads
from vi_airflow_provider.emulator.http.responses import json_response
from vi_airflow_provider.emulator.http.verbs import ROOT, Endpoint, Verbs, route
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.listing import Page, Place
from vi_airflow_provider.emulator.store.outputs import DOWNLOADS_PREFIX
from vi_airflow_provider.emulator.store.schema import Document, check_id, check_name, decode_object, encode

INTENT = "sdkLocalDeploy"


def run_routes(backend: Backend) -> list[Route]:
    """The routes of one backend."""
    verbs, projects = Verbs(backend), backend.store.projects
    return [
        route(ROOT + "/runs/{id}/logs", GET=_logs(backend)),
        route(ROOT + "/runs/{id}/outputs", GET=_outputs(backend, verbs)),
        route(ROOT + "/runs/{id}/outputs/{output}", GET=_output(backend)),
        route(DOWNLOADS_PREFIX + "{id}/{output}", GET=downloads(backend)),
        route(ROOT + "/flows/{id}/accelerators", GET=_accelerators(backend), POST=_accelerators(backend)),
        route(ROOT + "/flows/{id}/aggregationStatistics", GET=_statistics(backend.store.flows.read)),
        route(ROOT + "/flows/{id}/aggregationStatistics:generate", POST=_statistics(backend.store.flows.read)),
        route(ROOT + "/quota", GET=_quota(backend)),
        route(ROOT + "/trainingProjects", GET=verbs.lists("trainingProjects", projects.view_page, encode)),
        route(
            ROOT + "/trainingProjects/{id}",
            GET=verbs.reads(projects.wire),
            PUT=verbs.writes(projects.write),
            PATCH=verbs.writes(projects.patch),
            DELETE=verbs.deletes(projects.delete),
        ),
        route(ROOT + "/trainingProjects/{id}/aggregationInsights", GET=_statistics(projects.read)),
        route(ROOT + "/trainingProjects/{id}/aggregationInsights:generate", POST=_statistics(projects.read)),
        route("/dryRuns" + ROOT + "/trainingProjects", POST=_dry_run(backend)),
    ]


def _logs(backend: Backend) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        names = ("block", "since", "until", "limit")
        lines = backend.store.run_logs(
            request.path_params["id"], **{name: request.query_params.get(name) for name in names}
        )
        text = "\n".join(line.text for line in lines)
        match backend.settings.log_shape:
            case "items":
                items = [{"timestamp": line.timestamp, "block": line.block, "line": line.text} for line in lines]
                return json_response({"items": items})
            case "lines":
                return json_response({"items": [{"line": line.text} for line in lines]})
            case "data":
                return json_response({"data": text})
            case "text":
                return Response(text, media_type="text/plain")

    return endpoint


def _outputs(backend: Backend, verbs: Verbs) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        run_id, query = request.path_params["id"], _output_query(request)
        base_url = str(request.base_url) if query.get("contents") == "y" else None

        def render(output: Document) -> bytes:
            if base_url is not None:
                output = backend.store.outputs.with_contents(output, base_url)
            return encode(output, allow_nan=True)

        def read(after: Place | None, size: int) -> Page[Document]:
            return backend.store.outputs.page(run_id, after, size)

        return await verbs.page("outputs", read, render, query.get("p"), query.get("s"))

    return endpoint


def _output(backend: Backend) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        run_id, output_id = request.path_params["id"], request.path_params["output"]
        output = backend.store.outputs.get(run_id, output_id)
        if _output_query(request).get("contents") == "y":
            output = backend.store.outputs.with_contents(output, str(request.base_url))
        page = {"items": [output], "nextPage": None, "prevPage": None}
        body = encode(page if backend.settings.output_shape == "page" else output, allow_nan=True)
        return Response(body, media_type="application/json")

    return endpoint


def _output_query(request: Request) -> dict[str, str]:
    """The query; vi-sdk 0.1.0b7 puts a second question mark into it: `?intent=sdkLocalDeploy?s=10`."""
    query = {name: values[-1] for name, values in parse_qs(request.url.query.replace("?", "&")).items()}
    if query.get("intent") != INTENT:
        raise ApiError(400, f"intent must be {INTENT}")
    return query


def _accelerators(backend: Backend) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        candidate = decode_object(await request.body()) if request.method == "POST" else None
        return json_response(backend.store.accelerators(request.path_params["id"], candidate))

    return endpoint


def _quota(backend: Backend) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        return json_response(backend.store.quota())

    return endpoint


def _statistics(read: Callable[[str], object]) -> Endpoint:
    """An empty object for a resource that exists: the shape of the real one is unknown."""

    async def endpoint(request: Request) -> Response:
        read(request.path_params["id"])
        return json_response({})

    return endpoint


def _dry_run(backend: Backend) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        body = decode_object(await request.body())
        spec: Document = body["spec"] if isinstance(body.get("spec"), dict) else {}
        check_name(spec.get("name"), "spec.name")
        check_name(body.get("trainingProjectId"), "trainingProjectId")
        check_id(body["trainingProjectId"], "TrainingProject")
        return json_response({"errors": backend.store.projects.conflicts(body["trainingProjectId"], spec["name"])})

    return endpoint
