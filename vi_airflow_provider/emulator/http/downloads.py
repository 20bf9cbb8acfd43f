"""Pre-signed downloads, as an object store serves them: in parts if the client requests one, and interrupted on demand.

A client that sends credentials beside the signature is refused, as S3 does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.http.delivery import Exchange
from vi_airflow_provider.emulator.http.verbs import Endpoint
from vi_airflow_provider.emulator.store.behaviour import Behaviour
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.weights import Weights

_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")


@dataclass(frozen=True)
class Part:
    """The bytes that a response has, of how many."""

    start: int
    stop: int
    total: int

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole content."""
        return (self.start, self.stop) == (0, self.total)


def downloads(backend: Backend) -> Endpoint:
    """The endpoint of one backend."""

    async def endpoint(request: Request) -> Response:
        if "authorization" in request.headers or "cookie" in request.headers:
            raise ApiError(400, "Only one way to authenticate is allowed; the URL is signed already")
        query, modes = request.query_params, backend.settings
        weights = backend.store.outputs.download(request.url.path, query.get("expires", ""), query.get("signature", ""))
        part = _requested(request, weights, modes)
        headers = {"content-type": "application/octet-stream", "content-length": str(part.stop - part.start)}
        if modes.download_ranges != "none":
            headers["accept-ranges"] = "bytes"
        if modes.download_ranges == "etag":
            headers["etag"] = weights.etag
        if part.is_whole and "range" not in request.headers:
            return _Download(200, headers, weights, part, modes)
        if part.start >= part.total:
            return Response(status_code=416, headers={"content-range": f"bytes */{part.total}"})
        if part.is_whole:
            return _Download(200, headers, weights, part, modes)
        headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{part.total}"
        return _Download(206, headers, weights, part, modes)

    return endpoint


def _requested(request: Request, weights: Weights, modes: Behaviour) -> Part:
    total = len(weights)
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    matches = request.headers.get("if-range", weights.etag) == weights.etag
    if found is None or modes.download_ranges == "none" or not matches:
        return Part(0, total, total)
    last = int(found[2]) if found[2] else total - 1
    return Part(int(found[1]), min(last + 1, total), total)


class _Download(StreamingResponse):
    """Sends a part of a content, slowly or not to its end if the modes demand that."""

    def __init__(self, status: int, headers: dict[str, str], weights: Weights, part: Part, modes: Behaviour) -> None:
        self._breaks = 0 < modes.download_break < part.stop - part.start
        stop = part.start + modes.download_break if self._breaks else part.stop
        pieces = _slowly(weights.read(part.start, stop), modes.download_pause_ms / 1000)
        super().__init__(pieces, status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._breaks:
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self.body_iterator:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await Exchange(scope, receive, send).hang_up()


async def _slowly(pieces: Iterator[bytes], pause: float) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
        if pause:
            await asyncio.sleep(pause)
