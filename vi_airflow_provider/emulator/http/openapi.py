"""What the emulator implements, as an OpenAPI document (`GET /openapi.json`, without a key).

It describes this emulator, not Vi: there is no public specification of the server. A test generates requests from
it and compares the responses with it.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from vi_airflow_provider import __version__
from vi_airflow_provider.emulator.http.responses import json_response
from vi_airflow_provider.emulator.store.schema import PROJECT_TYPES, Document

OPENAPI_PATH: Final = "/openapi.json"


def describing(app: ASGIApp) -> ASGIApp:
    """Serve the document, and pass every other request on."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        inner = json_response(openapi()) if (scope["method"], scope["path"]) == ("GET", OPENAPI_PATH) else app
        await inner(scope, receive, send)

    return layer


def openapi() -> Document:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Datature Vi emulator",
            "version": __version__,
            "description": "Flows, runs and training projects of one organization, as this emulator implements them.",
        },
        "security": [{"key": []}],
        "paths": {
            "/workspaces/{organization}": {
                "parameters": [_ORGANIZATION, _HEADER],
                "get": _operation("read the organization", {"type": "object"}),
            },
            **_collection("flow", "Flow", _FLOW_PUT, _FLOW_PATCH),
            **_collection("run", "Run", _RUN_PUT, _RUN_PATCH),
            **_around_runs(),
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "The secret key, dtvi_…"}},
            "schemas": _SCHEMAS,
        },
    }


def _collection(noun: str, kind: str, put: Document, patch: Document) -> Document:
    """The paths of flows, or of runs."""
    root, by_id = "/workspaces/{organization}", {"$ref": f"#/components/schemas/{kind}"}
    listing = [_ORGANIZATION, _HEADER, *_PAGING]
    return {
        f"{root}/{noun}s": {"parameters": listing, "get": _operation(f"list {noun}s", _page(by_id), "400")},
        f"{root}/simple{kind}s": {
            "parameters": listing,
            "get": _operation(f"list ids and names of {noun}s", _page(_simple(f"{noun}Id")), "400"),
        },
        f"{root}/{noun}s/{{id}}": {
            "parameters": [_ORGANIZATION, _HEADER, _ID],
            "get": _operation(f"read a {noun}", by_id, "400", "404"),
            "put": _operation(f"create a {noun}, or replace it as a whole", by_id, "400", body=put),
            "patch": _operation(f"change parts of a {noun}", by_id, "400", "404", "409", body=patch),
            "delete": _operation(f"delete a {noun}", None, "400", "404", "409"),
        },
    }


def _around_runs() -> Document:
    """The paths of logs, outputs, accelerators, quota and training projects."""
    root, own = "/workspaces/{organization}", [_ORGANIZATION, _HEADER]
    project = {"$ref": "#/components/schemas/TrainingProject"}
    return {
        f"{root}/quota": {"parameters": own, "get": _operation("read limits and usage", _ANYTHING)},
        f"{root}/runs/{{id}}/logs": {
            "parameters": [*own, _ID, *_LOG_QUERY],
            "get": _operation("read the log", _object({"items": {"type": "array", "items": _ANYTHING}}), "400", "404"),
        },
        f"{root}/runs/{{id}}/outputs": {
            "parameters": [*own, _ID, _INTENT, *_PAGING],
            "get": _operation("list outputs, the latest one last", _page(_ANYTHING), "400", "404"),
        },
        f"{root}/flows/{{id}}/accelerators": {
            "parameters": [*own, _ID],
            "get": _operation("read which accelerators can train a flow", _ANYTHING, "400", "404"),
            "post": _operation("preview a candidate spec", _ANYTHING, "400", "404", body=_FLOW_PUT),
        },
        f"{root}/trainingProjects": {
            "parameters": [*own, *_PAGING],
            "get": _operation("list training projects", _page(project), "400"),
        },
        f"{root}/trainingProjects/{{id}}": {
            "parameters": [*own, _ID],
            "get": _operation("read a training project", project, "400", "404"),
            "put": _operation("create or replace a training project", project, "400", body=_PROJECT_PUT),
            "patch": _operation("change a training project", project, "400", "404", body=_PROJECT_PATCH),
            "delete": _operation("delete a training project", None, "400", "404"),
        },
    }


def _operation(summary: str, response: Document | None, *errors: str, body: Document | None = None) -> Document:
    refusals = {status: _content(_ERROR, _REASONS[status]) for status in ("401", "403", *errors)}
    success = {"204": {"description": "Deleted"}} if response is None else {"200": _content(response, "Success")}
    operation: Document = {"summary": summary, "responses": {**success, **refusals}}
    if body is not None:
        operation["requestBody"] = {"required": True, **_content(body)}
    return operation


def _content(schema: Document, description: str | None = None) -> Document:
    described = {} if description is None else {"description": description}
    return {**described, "content": {"application/json": {"schema": schema}}}


def _object(required: Document, optional: Document | None = None, *, closed: bool = False) -> Document:
    schema: Document = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        schema["required"] = list(required)
    return {**schema, "additionalProperties": False} if closed else schema


def _page(item: Document) -> Document:
    return _object({"items": {"type": "array", "items": item}, "nextPage": _TEXT_OR_NULL, "prevPage": {"type": "null"}})


def _simple(id_name: str) -> Document:
    return _object({id_name: _TEXT, "name": _TEXT}, closed=True)


def _map_of(schema: Document) -> Document:
    return {"type": "object", "additionalProperties": schema}


_TEXT: Final[Document] = {"type": "string"}
_TEXT_OR_NULL: Final[Document] = {"type": ["string", "null"]}
_INTEGER: Final[Document] = {"type": "integer"}
_INTEGER_OR_NULL: Final[Document] = {"type": ["integer", "null"]}
_ANYTHING: Final[Document] = {"type": "object"}
_ERROR: Final = _object({"error": _TEXT, "message": _TEXT}, closed=True)
_REASONS: Final = {
    "400": "A value, a page cursor or an id is invalid",
    "401": "The secret key is missing, malformed or unknown",
    "403": "The organization is not that of the key or of the header",
    "404": "No such resource",
    "409": "The resource is in use, or has ended",
}

_ORGANIZATION: Final[Document] = {"name": "organization", "in": "path", "required": True, "schema": _TEXT}
_HEADER: Final[Document] = {"name": "Organization-Id", "in": "header", "required": True, "schema": _TEXT}
_ID: Final[Document] = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,255}$"},
}
_PAGING: Final[list[Document]] = [
    {"name": "s", "in": "query", "description": "page size", "schema": {"type": "integer", "minimum": 1}},
    {"name": "p", "in": "query", "description": "cursor: `nextPage` of the previous page", "schema": _TEXT},
]

_INTENT: Final[Document] = {
    "name": "intent",
    "in": "query",
    "required": True,
    "schema": {"type": "string", "const": "sdkLocalDeploy"},
}
_LOG_QUERY: Final[list[Document]] = [
    {"name": "block", "in": "query", "description": "block of the flow", "schema": _TEXT},
    {"name": "since", "in": "query", "description": "first timestamp", "schema": _TEXT},
    {"name": "until", "in": "query", "description": "timestamp after the last", "schema": _TEXT},
    {"name": "limit", "in": "query", "description": "number of lines", "schema": {"type": "integer", "minimum": 0}},
]

_BLOCK: Final = _object({"block": _TEXT, "settings": _ANYTHING, "style": _ANYTHING})
_FLOW_FIELDS: Final[Document] = {
    "name": _TEXT,
    "schema": _TEXT,
    "tolerations": _map_of({"type": "array", "items": _TEXT}),
    "settings": _ANYTHING,
    "blocks": {"type": "array", "items": _BLOCK},
}
_PROJECT: Final[Document] = {"trainingProject": _TEXT_OR_NULL}
_RUN_CHANGES: Final[Document] = {"killedAt": _INTEGER_OR_NULL, **_PROJECT}
_FLOW_SPEC: Final = _object(_FLOW_FIELDS, _PROJECT)
_RUN_SPEC: Final = _object({"flow": _FLOW_SPEC}, _RUN_CHANGES)

_PUT_METADATA: Final = _object({}, {"attributes": _map_of(_TEXT)})
_PATCH_METADATA: Final = _object({}, {"attributes": _map_of(_TEXT_OR_NULL)}, closed=True)
_FLOW_PUT: Final = _object({"spec": _FLOW_SPEC}, {"metadata": _PUT_METADATA})
_RUN_PUT: Final = _object({"spec": _RUN_SPEC}, {"metadata": _PUT_METADATA})
_FLOW_PATCH: Final = _object(
    {}, {"spec": _object({}, {**_FLOW_FIELDS, **_PROJECT}, closed=True), "metadata": _PATCH_METADATA}, closed=True
)
_RUN_PATCH: Final = _object(
    {}, {"spec": _object({}, _RUN_CHANGES, closed=True), "metadata": _PATCH_METADATA}, closed=True
)

_PROJECT_TYPE: Final[Document] = {"enum": list(PROJECT_TYPES)}
_PROJECT_SPEC: Final = _object({"name": _TEXT, "type": _PROJECT_TYPE}, {"description": _TEXT_OR_NULL})
_PROJECT_PUT: Final = _object({"spec": _PROJECT_SPEC}, {"metadata": _PUT_METADATA})
_PROJECT_PATCH: Final = _object(
    {},
    {
        "spec": _object({}, {"name": _TEXT, "description": _TEXT_OR_NULL}, closed=True),
        "metadata": _PATCH_METADATA,
    },
    closed=True,
)

_METADATA: Final = _object(
    {"timeCreated": _INTEGER, "lastUpdated": _INTEGER, "generation": _INTEGER, "attributes": _map_of(_TEXT)}
)
_IDENTITY: Final[Document] = {"workspaceId": _TEXT, "metadata": _METADATA, "selfLink": _TEXT, "etag": _TEXT}
_STATUS: Final = _object(
    {"log": _TEXT, "observedGeneration": _INTEGER, "conditions": {"type": "array", "items": _ANYTHING}}
)
_SCHEMAS: Final[dict[str, Any]] = {
    "Flow": _object({"kind": {"const": "Flow"}, "flowId": _TEXT, "spec": _FLOW_SPEC, **_IDENTITY}),
    "TrainingProject": _object(
        {
            "kind": {"const": "TrainingProject"},
            "trainingProjectId": _TEXT,
            "spec": _PROJECT_SPEC,
            "status": _ANYTHING,
            **_IDENTITY,
        }
    ),
    "Run": _object({"kind": {"const": "Run"}, "runId": _TEXT, "spec": _RUN_SPEC, "status": _STATUS, **_IDENTITY}),
}
