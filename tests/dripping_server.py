"""A server that sends its responses in drops, without end."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.background import in_background

#: Seconds between two drops.
_INTERVAL: Final = 0.02
#: Drops per connection: a client that does not end by itself fails, and does not hang.
_DROPS: Final = 250


@contextmanager
def dripping(first: bytes, drop: bytes) -> Iterator[str]:
    """Yield the URL of a server that sends ``first``, and then a drop now and then, on each connection."""
    given_up = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while not given_up.is_set():
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(first)
                    for _ in range(_DROPS):
                        if given_up.wait(_INTERVAL):
                            break
                        connection.sendall(drop)

        with in_background(serve):
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                given_up.set()
                with contextlib.suppress(OSError), socket.create_connection(listener.getsockname()):
                    pass  # ends accept()
