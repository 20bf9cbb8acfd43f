"""A minimal Vi for the samples of the documentation: six endpoints over a dict of flows."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.background import in_background
from tests.documents import SECRET_KEY
from tests.unit.docs.pages import blocks
from vi_airflow_provider.api.models import Flow

ENDPOINT: Final = "https://api.vi.datature.com"
ORGANIZATION: Final = "acme-vision"
NOW: Final = datetime(2026, 10, 1, tzinfo=UTC)
NOW_MS: Final = int(NOW.timestamp() * 1000)
OLD_MS: Final = NOW_MS - 400 * 24 * 3600 * 1000

Document = dict[str, Any]


def wire_flow(flow_id: str = "flow_abc123", **metadata: Any) -> Document:
    """Return the flow of the samples in its wire form."""
    sample = json.loads(blocks("operators/get_flow.md", "json")[0].code)
    wire = Flow.model_validate(sample).to_wire()
    wire |= {"flowId": flow_id, "selfLink": f"/workspaces/{ORGANIZATION}/flows/{flow_id}"}
    wire["metadata"] |= metadata
    return wire


@dataclass
class Vi:
    """The server side of the flow endpoints (docs/VI_API.md section 3)."""

    flows: dict[str, Document] = field(default_factory=dict)

    def add(self, flow_id: str, name: str = "Weld seam defects", **metadata: Any) -> None:
        self.flows[flow_id] = wire_flow(flow_id, **metadata)
        self.flows[flow_id]["spec"]["name"] = name

    def respond(self, method: str, url: str, body: Document | None) -> tuple[int, Document | None]:
        """Return the status and document of the response."""
        parts = urlsplit(url)
        match = re.fullmatch(rf"/workspaces/{ORGANIZATION}/(?:flows|simpleFlows)(?:/([\w-]+))?", parts.path)
        if match is None:
            return 404, {"message": "no such organization"}
        if (flow_id := match[1]) is None:
            return 200, self._page(parse_qs(parts.query))
        if method == "PUT":
            self._put(flow_id, body or {})
        if flow_id not in self.flows:
            return 404, {"error": "Not Found", "message": f"Flow {flow_id} not found"}
        if method == "DELETE":
            return self._delete(flow_id)
        if method == "PATCH":
            self._patch(flow_id, body or {})
        return 200, copy.deepcopy(self.flows[flow_id])

    def _page(self, query: dict[str, list[str]]) -> Document:
        first, size = int(query.get("p", ["0"])[0]), int(query["s"][0])
        more = first + size < len(self.flows)
        items = list(self.flows.values())[first : first + size]
        return {"items": items, "nextPage": str(first + size) if more else None}

    def _put(self, flow_id: str, body: Document) -> None:
        attributes = body.get("metadata", {}).get("attributes", {})
        flow = wire_flow(flow_id, timeCreated=NOW_MS, lastUpdated=NOW_MS, generation=1, attributes=attributes)
        self.flows[flow_id] = flow | {"spec": body["spec"], "etag": '"1-0"'}

    def _delete(self, flow_id: str) -> tuple[int, Document | None]:
        if flow_id == "flow_in_use":
            return 409, {"message": "a run uses the flow"}
        del self.flows[flow_id]
        return 204, None

    def _patch(self, flow_id: str, body: Document) -> None:
        flow = self.flows[flow_id]
        flow["spec"] |= body.get("spec", {})
        attributes = flow["metadata"]["attributes"] | body.get("metadata", {}).get("attributes", {})
        flow["metadata"] |= {
            "attributes": {key: value for key, value in attributes.items() if value is not None},
            "lastUpdated": NOW_MS,
            "generation": flow["metadata"]["generation"] + 1,
        }
        flow["etag"] = f'"{flow["metadata"]["generation"]}-0"'

    @contextlib.contextmanager
    def on_loopback(self) -> Iterator[str]:
        """Serve GET requests on a socket, for the asynchronous client; yield the URL."""
        vi = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, document = vi.respond("GET", self.path, None)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, in_background(server.serve_forever):
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()


def connect(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Define the connection ``vi_default``, and those of the recipe for two organizations."""
    connection = {"conn_type": "vi", "login": ORGANIZATION, "password": SECRET_KEY} | fields
    for name in ("DEFAULT", "PRODUCTION", "RESEARCH"):
        monkeypatch.setenv(f"AIRFLOW_CONN_VI_{name}", json.dumps(connection))
