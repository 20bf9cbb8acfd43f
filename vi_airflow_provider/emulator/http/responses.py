"""Responses as Vi writes them."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.schema import encode


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON document."""
    return Response(encode(value), status, headers, media_type="application/json")


def error_response(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    """An error response."""
    return json_response(error.body, error.status, headers)


def empty_response() -> Response:
    """The response to a DELETE. With any body, the vendor's SDK reports a failure (observed in vi-sdk 0.1.0b7)."""
    return Response(status_code=204)
