"""A small web page of the emulator, so that "Open in Vi" leads somewhere: `/org/{organization}`.

It shows what the API serves, needs no key, and is limited to browsers on the same machine, as the control API is.
Everything that comes from a document is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.http.access import local_only
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.schema import Document
from vi_airflow_provider.emulator.store.store import Store

PAGES_PREFIX = "/org/"

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .8rem .3rem 0;"
    "border-bottom:1px solid #ddd;vertical-align:top}code,pre{font:13px ui-monospace,monospace}"
    "pre{background:#f6f6f6;padding:1rem;overflow:auto}"
)


def create_pages(backend: Backend) -> ASGIApp:
    """The pages of one backend."""

    async def overview(request: Request) -> Response:
        _check_organization(request, backend)
        return _page("Flows and runs", f"<h2>Flows</h2>{_flows(backend.store)}<h2>Runs</h2>{_runs(backend.store)}")

    async def flow(request: Request) -> Response:
        _check_organization(request, backend)
        document = backend.store.get_flow(request.path_params["id"])
        return _page(document["spec"]["name"], _flow(document))

    async def run(request: Request) -> Response:
        _check_organization(request, backend)
        run_id = request.path_params["id"]
        outputs = backend.store.outputs.of(run_id)
        return _page(f"Run {run_id}", _run(backend.store.get_run(run_id), outputs))

    root = PAGES_PREFIX + "{organization}"
    routes = [
        Route(root, overview),
        Route(root + "/flows", overview),
        Route(root + "/flows/", overview),  # the template of a link without a flow
        Route(root + "/flows/{id}", flow),
        Route(root + "/runs", overview),
        Route(root + "/runs/{id}", run),
    ]
    return local_only(Starlette(routes=routes, exception_handlers={ApiError: _error}), backend.host)


def _check_organization(request: Request, backend: Backend) -> None:
    if request.path_params["organization"] != backend.settings.organization_id:
        raise ApiError(404, "This emulator serves another organization")


def _error(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, ApiError) else 500
    return _page("Not found" if status == 404 else "Error", f"<p>{escape(str(error))}</p>", status)


def _page(title: str, body: str, status: int = 200) -> Response:
    head = f"<meta charset=utf-8><title>{escape(title)} - Vi emulator</title><style>{_STYLE}</style>"
    html = f"<!doctype html><html lang=en><head>{head}</head><body><h1>{escape(title)}</h1>{body}</body></html>"
    return HTMLResponse(html, status, {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"})


def _flows(store: Store) -> str:
    busy = set(store.busy_flow_ids())
    rows = (_flow_row(store.get_flow(id_), busy) for id_ in store.flow_ids())
    return _table(("Name", "Flow id", "Updated", "Attributes", "In use"), rows)


def _flow_row(flow: Document, busy: set[str]) -> tuple[str, ...]:
    organization_id, flow_id = flow["workspaceId"], flow["flowId"]
    link = f"{PAGES_PREFIX}{quote(organization_id)}/flows/{quote(flow_id)}"
    attributes = ", ".join(f"{name}={value}" for name, value in flow["metadata"]["attributes"].items())
    return (
        f'<a href="{escape(link)}">{escape(flow["spec"]["name"])}</a>',
        f"<code>{escape(flow_id)}</code>",
        _time(flow["metadata"]["lastUpdated"]),
        escape(attributes),
        "by a run" if flow_id in busy else "",
    )


def _flow(flow: Document) -> str:
    metadata, overview = flow["metadata"], f"{PAGES_PREFIX}{quote(flow['workspaceId'])}"
    rows = (
        ("Flow id", f"<code>{escape(flow['flowId'])}</code>"),
        ("Created", _time(metadata["timeCreated"])),
        ("Updated", _time(metadata["lastUpdated"])),
        ("Generation", str(metadata["generation"])),
        ("Training project", escape(flow["spec"].get("trainingProject") or "none")),
    )
    document = escape(json.dumps(flow, indent=2, ensure_ascii=False))
    back = f'<p><a href="{escape(overview)}">All flows</a></p>'
    return f"{back}{_table((), rows)}<h2>Document</h2><pre>{document}</pre>"


def _runs(store: Store) -> str:
    rows = (_run_row(store.get_run(id_)) for id_ in store.run_ids())
    return _table(("Flow", "Run id", "Created", "Last condition"), rows)


def _run_row(run: Document) -> tuple[str, ...]:
    link = f"{PAGES_PREFIX}{quote(run['workspaceId'])}/runs/{quote(run['runId'])}"
    latest = max(run["status"]["conditions"], key=lambda condition: int(condition["lastTransitionTime"]), default=None)
    return (
        escape(run["spec"]["flow"]["name"]),
        f'<a href="{escape(link)}"><code>{escape(run["runId"])}</code></a>',
        _time(run["metadata"]["timeCreated"]),
        "" if latest is None else escape(f"{latest['condition']}: {latest['status']}"),
    )


def _run(run: Document, outputs: list[Document]) -> str:
    conditions = [
        (escape(item["condition"]), escape(item["status"]), _time(item["lastTransitionTime"]))
        for item in run["status"]["conditions"]
    ]
    metrics = [
        (escape(output["runOutputId"]), escape(json.dumps(output["spec"]["evaluationMetrics"]))) for output in outputs
    ]
    document = escape(json.dumps(run, indent=2, ensure_ascii=False))
    back = f'<p><a href="{escape(PAGES_PREFIX + quote(run["workspaceId"]))}">All flows and runs</a></p>'
    return (
        f"{back}<h2>Conditions</h2>{_table(('Condition', 'Status', 'Since'), conditions)}"
        f"<h2>Outputs</h2>{_table(('Output', 'Metrics'), metrics)}<h2>Document</h2><pre>{document}</pre>"
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{text}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
