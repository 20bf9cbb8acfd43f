"""Responses that are held back, and the ways in which they reach the client, or do not."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vi_airflow_provider.emulator.effects import Drip, Effect, Truncate

# Closing with this linger discards what is unsent and sends RST instead of FIN.
_RESET = struct.pack("ii", 1, 0)

#: Awaited when half of a body is sent.
Halfway = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class HeldResponse:
    """A complete response, none of which has been sent."""

    status: int
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    @property
    def start(self) -> Message:
        """The ASGI message that opens it."""
        return {"type": "http.response.start", "status": self.status, "headers": self.headers}


@dataclass(frozen=True)
class Exchange:
    """One request on its connection."""

    scope: Scope
    receive: Receive
    send: Send

    async def capture(self, app: ASGIApp) -> HeldResponse:
        """Have the application handle the request, and hold its response."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await app(self.scope, self.receive, keep)
        start, *rest = messages
        return HeldResponse(start["status"], list(start["headers"]), b"".join(part.get("body", b"") for part in rest))

    async def deliver(self, response: HeldResponse, how: Effect | None, halfway: Halfway | None = None) -> None:
        """Send a response; `halfway` is awaited when half of the body is sent."""
        await self.send(response.start)
        match how:
            case Truncate():
                await self._truncate(response.body, halfway)
            case Drip(pause_ms):
                await self._drip(response.body, pause_ms / 1000, halfway)
            case _ if halfway is not None:
                middle = len(response.body) // 2
                await self.send(_part(response.body[:middle], more=True))
                await halfway()
                await self.send(_part(response.body[middle:], more=False))
            case _:
                await self.send(_part(response.body, more=False))

    async def reset(self) -> None:
        """Send nothing, and reset the connection."""
        transport: asyncio.Transport = self.scope["state"]["transport"]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
        await self._disconnected()

    async def hang_up(self) -> None:
        """Close the connection once the bytes so far are written."""
        self.scope["state"]["transport"].close()
        await self._disconnected()

    async def _truncate(self, body: bytes, halfway: Halfway | None) -> None:
        await self.send(_part(body[: len(body) // 2], more=True))
        if halfway is not None:
            await halfway()
        await self.hang_up()

    async def _drip(self, body: bytes, pause: float, halfway: Halfway | None) -> None:
        disconnected = asyncio.ensure_future(self._disconnected())
        try:
            for index in range(len(body)):
                if halfway is not None and index == len(body) // 2:
                    await halfway()
                await self.send(_part(body[index : index + 1], more=True))
                await asyncio.wait({disconnected}, timeout=pause)
                if disconnected.done():
                    return
            await self.send(_part(b"", more=False))
        finally:
            disconnected.cancel()

    async def _disconnected(self) -> None:
        """Wait until the connection is closed: only then may the application return without a complete response."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


def _part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
