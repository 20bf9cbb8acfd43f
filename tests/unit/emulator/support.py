"""A clock that tests move, and a bare HTTP client for a running emulator."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from vi_airflow_provider.emulator import Emulator

ORGANIZATION = "e0e0e0e0-0000-4000-8000-000000000001"
RUN = "0b9f2b0e-6f0e-4c5e-9f3a-3d0f4e9b7a11"
NOW = 1_783_209_600_000


class FakeClock:
    """Milliseconds that only a test advances."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


@dataclass(frozen=True)
class Response:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Uses a new connection for each request, so that the faults of one request cannot affect the next."""

    def __init__(self, emulator: Emulator) -> None:
        self.address = emulator.url.removeprefix("http://")
        self.root = f"/workspaces/{emulator.organization_id}"
        self.headers = {
            "Authorization": f"Bearer {emulator.secret_key}",
            "Organization-Id": emulator.organization_id,
        }

    def __call__(
        self, method: str, path: str, body: object = None, headers: dict[str, str | None] | None = None
    ) -> Response:
        """`path` is below the workspace unless it starts with `//`; a header whose value is None is not sent."""
        target = path[1:] if path.startswith("//") else self.root + path
        merged = {**self.headers, **(headers or {})}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            sent = {name: value for name, value in merged.items() if value is not None}
            connection.request(method, target, data, sent)
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())
        finally:
            connection.close()

    def pages(self, path: str = "/flows", size: int = 10) -> Iterator[dict[str, Any]]:
        """All pages of a listing, one by one."""
        page = self("GET", f"{path}?s={size}").json
        yield page
        while page["nextPage"]:
            page = self("GET", f"{path}?p={page['nextPage']}&s={size}").json
            yield page


ClientFactory = Callable[[Emulator], Client]
