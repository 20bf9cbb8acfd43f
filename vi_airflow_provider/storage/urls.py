"""Where files are stored: URLs that mean the same wherever a worker runs, without secrets in them."""

from __future__ import annotations

import os.path
import re
from pathlib import Path
from typing import Any, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.storage.files import is_folder
from vi_airflow_provider.storage.places import EMPTY_PART, LOCAL, refuse_secrets, shown, written_file, written_place
from vi_airflow_provider.storage.url_secrets import WITHOUT_FOLDERS

#: A container before the host of its account; the name of a container has no dots.
_AZURE_HOST: Final = re.compile(r"abfss?://[^/@]+@[^/@.]+\.[^/@]+/", re.IGNORECASE)
#: The extra of this package that installs the driver of a scheme.
EXTRAS: Final = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("abfs", "abfss", "adl"), "azure"),
}


def absolute(name: str, uri: str) -> str:
    """Return a path that a person has typed, or a URL, independent of the working directory.

    ObjectStoragePath does not resolve relative paths in every version of Airflow.

    :param name: the argument, for the message
    :raises ViValidationError: the path is empty, which would be the working directory, or the URL carries a secret
    """
    if not uri.strip():
        raise ViValidationError(f"{name}: it is empty; a shell variable may be unset")
    refuse_secrets(name, uri)
    return uri if "://" in uri else str(Path(uri).absolute())


def resolve_destination(name: str, value: Any) -> ObjectStoragePath:
    """Return the place that an argument names: a file or a folder, to be read or written.

    The check is of the meaning, not of the spelling: the place that the driver would use must be the one that is
    written, independent of a worker's working directory, user or host.

    :param name: the argument, for the message
    :param value: its value, which may come from a template
    :raises ViValidationError: it is not an absolute place, carries a secret, or its storage is not installed
    """
    written_place(name, value)
    try:
        path = ObjectStoragePath(value)
        path.fs  # noqa: B018 - the driver is found on access
    except (ValueError, ImportError) as error:
        reason: str | None = _without_driver(value, error)
    else:
        reason = _misread(value, path)
        if reason is None:
            return path
    raise ViValidationError(f"{name}: {shown(value)!r:.200} {reason}")


def resolve_file(name: str, value: Any) -> ObjectStoragePath:
    """Return the file that an argument names, to be written.

    :raises ViValidationError: as of :func:`resolve_destination`, or it names a folder
    """
    target = resolve_destination(name, written_file(name, value))
    if (target.parent / target.name).path != target.path:  # to an object store, a//b is another folder than a/b
        raise ViValidationError(f"{name}: {value!r:.200} {EMPTY_PART}")
    return target


def refuse_folder(name: str, target: ObjectStoragePath) -> None:
    """Refuse an existing folder, device or pipe where a file is to be written.

    :raises ViValidationError: it is one
    """
    if is_folder(target):
        raise ViValidationError(f"{name}: {str(target)!r:.200} is an existing folder; add the name of the file")
    if target.protocol in LOCAL and (path := Path(target.path)).exists() and not path.is_file():
        raise ViValidationError(f"{name}: {str(target)!r:.200} is a device or a pipe, which is not replaced")


def _misread(value: str, path: ObjectStoragePath) -> str | None:
    """Return why the driver would use another place than the one that is written, ``None`` if it would not.

    Some drivers cut a name at ``?`` or ``#``, or complete a relative name with the working directory of the worker.
    A connection before the path is not part of it, and neither is a host; a bucket is. Without it, the driver would
    take the first folder for the bucket, as Azure's does with ``adl://``.
    """
    scheme = value.partition("://")[0].lower()
    written, read = (_normalized(text) for text in (re.sub(r"^(.*://)?([^/]*@)?", "", value), path.path))
    has_bucket = scheme in WITHOUT_FOLDERS and not _AZURE_HOST.match(value)
    if written == read or (not has_bucket and written.endswith(read)):
        return None
    if scheme == "adl":
        return f"would be read as {path.path!r:.200}, without the container; write abfs://, as in abfs://my_conn@container/x"
    return f"would be read as {path.path!r:.200}; leave out '?', '#' and what depends on the worker"


def _normalized(path: str) -> str:
    return os.path.normpath("/" + path.strip("/"))


def _without_driver(value: str, error: Exception) -> str:
    scheme = value.partition("://")[0].lower()
    # A driver that is installed fails with a ValueError of its own, for example without credentials.
    is_missing = isinstance(error, ImportError) or "No filesystem registered" in str(error)
    advice = f"; install vi-airflow-provider[{EXTRAS[scheme]}]" if is_missing and scheme in EXTRAS else ""
    return f"cannot be used: {error}{advice}"
