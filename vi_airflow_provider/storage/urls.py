"""Where files are stored: URLs that mean the same wherever a worker runs, without secrets in them."""

from __future__ import annotations

import os.path
import re
from pathlib import Path
from typing import Any, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.storage.files import LOCAL, is_folder
from vi_airflow_provider.storage.url_secrets import WITHOUT_FOLDERS, url_secrets

#: A local path that is absolute to every driver; with two slashes at its start, to some it is not.
_ABSOLUTE: Final = re.compile(r"/(?!/)")
#: The extra of this package that installs the driver of a scheme.
_EXTRAS: Final = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("abfs", "abfss", "adl"), "azure"),
}
#: Suffixes of files that are neither text nor JSON lines.
_OTHER_FORMATS: Final = frozenset({".csv", ".parquet", ".gz"})


def refuse_secrets(name: str, url: str) -> None:
    """Refuse a URL with a secret in it, which logs, XComs, manifests and reports would show.

    :raises ViValidationError: it carries one; the message does not show it
    """
    if url_secrets(url):
        raise ViValidationError(
            f"{name}: the URL carries a password or a signature, and would be shown in many places; "
            "name an Airflow connection instead, as in s3://my_conn@bucket/key"
        )


def absolute(uri: str) -> str:
    """Return a path that a person has typed, or a URL, independent of the working directory.

    ObjectStoragePath does not know the working directory in every version of Airflow.
    """
    return uri if "://" in uri else str(Path(uri).absolute())


def resolve_destination(name: str, value: Any) -> ObjectStoragePath:
    """Return the place that an argument names: a file or a folder, to be read or written.

    The check is of the meaning, not of the spelling: the place that the driver would use must be the one that is
    written, independent of a worker's working directory, user or host.

    :param name: the argument, for the message
    :param value: its value, which may come from a template
    :raises ViValidationError: it is not an absolute place, carries a secret, or its storage is not installed
    """
    if not isinstance(value, str):
        raise ViValidationError(f"{name}: {value!r:.80} is neither a URL nor an absolute path")
    refuse_secrets(name, value)
    reason = _refusal(value)
    if reason is None:
        try:
            path = ObjectStoragePath(value)
            path.fs  # noqa: B018 - the driver is found on access
        except (ValueError, ImportError) as error:
            reason = _without_driver(value, error)
        else:
            reason = _misread(value, path)
            if reason is None:
                return path
    raise ViValidationError(f"{name}: {_shown(value)!r:.200} {reason}")


def resolve_file(name: str, value: Any) -> ObjectStoragePath:
    """Return the file that an argument names, to be written.

    :raises ViValidationError: as of :func:`resolve_destination`, or it names a folder
    """
    target = resolve_destination(name, value)
    if value.endswith("/"):
        raise ViValidationError(f"{name}: {value!r:.200} is a folder; add the name of the file")
    if (target.parent / target.name).path != target.path:  # to an object store, a//b is another folder than a/b
        raise ViValidationError(
            f"{name}: {value!r:.200} has an empty part before the name of the file; "
            "write one slash there; the value of a template may already end with one"
        )
    return target


def refuse_folder(name: str, target: ObjectStoragePath) -> None:
    """Refuse an existing folder, device or pipe where a file is to be written.

    :raises ViValidationError: it is one
    """
    if is_folder(target):
        raise ViValidationError(f"{name}: {str(target)!r:.200} is an existing folder; add the name of the file")
    if target.protocol in LOCAL and (path := Path(target.path)).exists() and not path.is_file():
        raise ViValidationError(f"{name}: {str(target)!r:.200} is a device or a pipe, which is not replaced")


def refuse_suffix(name: str, target: ObjectStoragePath, content: str) -> None:
    """Refuse the name of a file that promises another format than the only one that is written there.

    :param content: what the file would contain
    :raises ViValidationError: the suffix is that of a table or of a compressed file
    """
    suffix = target.suffix.lower()
    if suffix in _OTHER_FORMATS:
        raise ViValidationError(f"{name}: the suffix {suffix} contradicts the content of the file, {content}")


def _shown(value: str) -> str:
    """Return a refused place for a message; what may be a password in a malformed URL is masked."""
    credentials, found, place = value.rpartition("@")
    may_be_secret = ":" in (credentials.partition("://")[2] or credentials)
    return f"***@{place}" if found and may_be_secret else value


def _refusal(value: str) -> str | None:
    """Return what is wrong with a place as it is written, ``None`` if nothing is."""
    scheme, found, rest = value.partition("://")
    if not found:
        # A template that rendered to None would otherwise be a file of this name, wherever the worker runs.
        return None if _ABSOLUTE.match(value) else "is neither a URL nor an absolute path"
    if scheme.lower() in LOCAL:
        return (
            None if _ABSOLUTE.match(rest) else "is not an absolute path: write three slashes, as in file:///folder/file"
        )
    if rest.endswith("//"):  # to an object store, a//b is another folder than a/b
        return "ends with an empty part: write one slash; the value of a template may already end with one"
    if scheme.lower() in WITHOUT_FOLDERS and re.fullmatch(r"([^/]*@)?(/.*)?", rest):
        return "names no bucket, as in s3://my_conn@bucket/key"
    return None


def _misread(value: str, path: ObjectStoragePath) -> str | None:
    """Return why the driver would use another place than the one that is written, ``None`` if it would not.

    Some drivers cut a name at ``?`` or ``#``, or complete a relative name with the working directory of the worker.
    A connection before the path is not part of it, and neither is a host.
    """
    written = re.sub(r"^(.*://)?([^/]*@)?", "", value)
    if _normalized(written).endswith(_normalized(path.path)):
        return None
    return f"would be read as {path.path!r:.200}; leave out '?', '#' and what depends on the worker"


def _normalized(path: str) -> str:
    return os.path.normpath("/" + path.strip("/"))


def _without_driver(value: str, error: Exception) -> str:
    scheme = value.partition("://")[0].lower()
    advice = f"; install vi-airflow-provider[{_EXTRAS[scheme]}]" if scheme in _EXTRAS else ""
    return f"cannot be used: {error}{advice}"
