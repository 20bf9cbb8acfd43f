"""Why a file cannot be read or written, for a message."""

from __future__ import annotations

from vi_airflow_provider.api.errors import one_line


def reason_of(error: Exception, *, with_name: bool = False) -> str:
    """Return the reason that the file system or its driver gives.

    :param with_name: also return the name of the file, which may be the temporary one of a write
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return one_line(f"{error.filename}: {error.strerror}") if with_name else error.strerror
    return one_line(f"{type(error).__name__}: {error}")
