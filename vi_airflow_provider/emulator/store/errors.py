"""The exception that becomes an error response."""

from __future__ import annotations

from http import HTTPStatus


class ApiError(Exception):
    """An error as it appears on the wire: a status and `{"error": …, "message": …}`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    @property
    def body(self) -> dict[str, str]:
        """The error document."""
        return {"error": phrase(self.status), "message": self.message}


def phrase(status: int) -> str:
    """The standard reason phrase, or a substitute for non-standard statuses."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
