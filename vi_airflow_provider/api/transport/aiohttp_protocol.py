"""The connections of the asynchronous client: aiohttp's, with a bounded number of informational responses."""

from __future__ import annotations

import functools
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import BadHttpMessage

from vi_airflow_provider.api.transport.strict_http import InformationalResponses, MalformedResponseError


class _Protocol(ResponseHandler):
    """Passes responses on to aiohttp, which skips informational ones, however many there are."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._informational = InformationalResponses()
        self._is_malformed = False

    def feed_data(self, data: Any, *size: int) -> None:
        """Receive a response, of which the body may still be arriving."""
        if self._is_malformed:  # the rest of what has arrived
            return
        try:
            self._informational.includes(data[0].code)
        except MalformedResponseError as error:
            self._is_malformed = True
            if self.transport is not None:
                self.transport.close()
            self.set_exception(BadHttpMessage(str(error)))
        else:
            super().feed_data(data, *size)


class Connector(aiohttp.TCPConnector):
    """Opens these connections, direct or through a proxy."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        protocol: type[ResponseHandler] = _Protocol
        self._factory = functools.partial(protocol, loop=self._loop)
