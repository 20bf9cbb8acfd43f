"""Places as they are written: what can be judged without the driver of a storage, also when a DAG file is parsed."""

from __future__ import annotations

import re
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.selection.arguments import optional_text
from vi_airflow_provider.storage.url_secrets import WITHOUT_FOLDERS, url_secrets

LOCAL: Final = frozenset({"", "file", "local"})
#: A local path that is absolute to every driver; with two slashes at its start, to some it is not.
_ABSOLUTE: Final = re.compile(r"/(?!/)")
#: Suffixes of files that are neither text nor JSON lines.
_OTHER_FORMATS: Final = frozenset({".csv", ".parquet", ".gz"})
_EXAMPLE: Final = "write '/folder/name' or 's3://my_conn@bucket/name'"
#: Why an object store would write another file.
EMPTY_PART: Final = (
    "has an empty part before the name of the file; "
    "write one slash there; the value of a template may already end with one"
)


def refuse_secrets(name: str, url: str) -> None:
    """Refuse a URL with a secret in it, which logs, XComs, manifests and reports would show.

    :raises ViValidationError: it carries one; the message does not show it
    """
    if url_secrets(url):
        raise ViValidationError(
            f"{name}: the URL carries a password or a signature, and would be shown in many places; "
            "name an Airflow connection instead, as in s3://my_conn@bucket/key"
        )


def written_place(name: str, value: Any) -> str:
    """Return a place that is absolute as it is written: a file or a folder.

    :param name: the argument, for the message
    :raises ViValidationError: it is not, or carries a secret
    """
    if not isinstance(value, str):
        raise ViValidationError(f"{name}: {value!r:.80} is neither a URL nor an absolute path; {_EXAMPLE}")
    refuse_secrets(name, value)
    if reason := _refusal(value):
        raise ViValidationError(f"{name}: {shown(value)!r:.200} {reason}")
    return value


def written_folder(name: str, value: Any) -> str | None:
    """Return a folder that is absolute as it is written, or ``None``."""
    folder = optional_text(name, value)
    return None if folder is None else written_place(name, folder)


def written_file(name: str, value: Any) -> str:
    """Return a file that is absolute as it is written.

    :raises ViValidationError: as of :func:`written_place`, or it names a folder
    """
    place = written_place(name, value)
    if place.endswith("/"):
        raise ViValidationError(f"{name}: {place!r:.200} is a folder; add the name of the file")
    scheme, found, rest = place.partition("://")
    if found and scheme.lower() in LOCAL | WITHOUT_FOLDERS and re.search(r"//[^/]+$", rest):
        raise ViValidationError(f"{name}: {place!r:.200} {EMPTY_PART}")
    return place


def written_text_file(name: str, value: Any, *, content: str) -> str:
    """Return a file that is absolute as it is written, and whose name promises no other format.

    :param content: what the file would contain
    :raises ViValidationError: as of :func:`written_file`, or the suffix is that of a table or of a compressed file
    """
    place = written_file(name, value)
    suffix = PurePosixPath(place).suffix.lower()
    if suffix in _OTHER_FORMATS:
        raise ViValidationError(
            f"{name}: the suffix {suffix} contradicts the content of the file, {content}; "
            f"write {place[: -len(suffix)]!r:.200}"
        )
    return place


#: The checks of a file for which there is one format only.
json_lines_file: Final = partial(written_text_file, content="JSON lines")
log_file: Final = partial(written_text_file, content="lines of text or of JSON")


def earlier_export(name: str, value: Any) -> str | None:
    """Return an argument that names an earlier export: a place, ``"previous"``, or ``None``."""
    text = optional_text(name, value)
    return text if text in (None, "previous") else written_place(name, text)


def shown(value: str) -> str:
    """Return a refused place for a message; what may be a password in a malformed URL is masked."""
    credentials, found, place = value.rpartition("@")
    may_be_secret = ":" in (credentials.partition("://")[2] or credentials)
    return f"***@{place}" if found and may_be_secret else value


def _refusal(value: str) -> str | None:
    """Return what is wrong with a place as it is written, ``None`` if nothing is."""
    scheme, found, rest = value.partition("://")
    if not found:
        # A template that rendered to None would otherwise be a file of this name, wherever the worker runs.
        return None if _ABSOLUTE.match(value) else f"is neither a URL nor an absolute path; {_EXAMPLE}"
    if scheme.lower() in LOCAL:
        return (
            None if _ABSOLUTE.match(rest) else "is not an absolute path: write three slashes, as in file:///folder/file"
        )
    if rest.endswith("//"):  # to an object store, a//b is another folder than a/b
        return "ends with an empty part: write one slash; the value of a template may already end with one"
    if scheme.lower() in WITHOUT_FOLDERS and re.fullmatch(r"([^/]*@)?(/.*)?", rest):
        return "names no bucket, as in s3://my_conn@bucket/key"
    return None
