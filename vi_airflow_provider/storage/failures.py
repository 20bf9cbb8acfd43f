"""Why a file cannot be read or written, for a message."""

from __future__ import annotations

from vi_airflow_provider.api.errors import one_line


def reason_of(error: Exception) -> str:
    """Return the reason that the file system or its driver gives, without the temporary name that a write uses."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return error.strerror
    return one_line(f"{type(error).__name__}: {error}")
