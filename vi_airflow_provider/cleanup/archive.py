"""Archives of flows: one file of canonical JSON lines, and a manifest that proves it complete.

An archive counts only with its manifest, which is written last, after the file was read back. So whatever
happens, there is either an archive that can be restored, or none. Local disk, S3 or any other ObjectStoragePath.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath
from pydantic import ValidationError

from vi_airflow_provider import __version__
from vi_airflow_provider.api.errors import ViValidationError, one_line
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.api.protocol.codec import encode_body
from vi_airflow_provider.api.validation import describe_errors
from vi_airflow_provider.storage.files import refuse_secrets, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SUFFIX: Final = ".flows.jsonl"
_KIND: Final = "vi-flow-archive"


class ArchiveError(Exception):
    """An archive cannot be written, or cannot be trusted. Nothing is deleted or restored then."""


@dataclass(frozen=True)
class Manifest:
    """What an archive holds."""

    uri: str
    count: int
    sha256: str
    organization_id: str


def prefix_of(instance: str, *parts: str) -> str:
    """Return what the names of a task instance's archives begin with, whichever of its tries writes them.

    :param instance: tells the task instance from all others
    :param parts: what a person shall read in the names
    """
    # A file name has 255 bytes at most, and ids of tasks in groups are long.
    prefix = "-".join((*(part[:60] for part in parts), hashlib.sha256(instance.encode()).hexdigest()[:10]))
    return re.sub(r"[^A-Za-z0-9._-]", "_", prefix)


def unique_name(prefix: str) -> str:
    """Return a name for an archive that no other has: a retry writes beside what the first try has written."""
    return f"{prefix}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def archives_of(folder: str, prefix: str) -> list[str]:
    """Return the archives in a folder whose names begin so, oldest first; without a manifest it is none.

    :raises ArchiveError: the folder cannot be read
    """
    try:
        manifests = sorted(ObjectStoragePath(folder).glob(f"{prefix}-*.manifest.json"), key=str)
    except FileNotFoundError:
        return []
    except Exception as error:  # whatever the file system or its driver raises
        raise ArchiveError(f"{folder} cannot be read: {type(error).__name__}: {error}") from error
    return [f"{str(path).removesuffix('.manifest.json')}.jsonl" for path in manifests]


def write_archive(
    folder: str, name: str, documents: Mapping[str, bytes], organization_id: str, details: Mapping[str, Any]
) -> Manifest:
    """Write flows, read them back, and vouch for them with a manifest.

    :param folder: URL or absolute path of a folder, as ObjectStoragePath takes it
    :param name: name of the archive; one of this name must not exist
    :param documents: the flows by their id, as canonical JSON
    :param organization_id: whose flows they are
    :param details: further facts for the manifest, JSON data
    :raises ArchiveError: the archive could not be written, or does not read back as it was written
    :raises ViValidationError: the URL carries a password or a signature
    """
    refuse_secrets("archive_to", folder)
    if "://" not in folder and not folder.startswith("/"):
        # A template that rendered to None would otherwise be a folder of this name, wherever the worker runs.
        raise ArchiveError(f"{folder!r:.80} is no URL and no absolute path of a folder")
    try:
        path = ObjectStoragePath(folder) / f"{name}{SUFFIX}"
        if path.exists():
            raise ArchiveError(f"{path} exists already, and an archive is never overwritten")
        lines = [document + b"\n" for _, document in sorted(documents.items())]
        write_atomically(path, b"".join(lines))
        manifest = Manifest(str(path), len(lines), _sha256(lines), organization_id)
        facts = {
            "kind": _KIND,
            "version": 1,
            "file": path.name,
            "count": manifest.count,
            "sha256": manifest.sha256,
            "organization_id": organization_id,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "provider_version": __version__,
            **details,
        }
        _check(manifest)
        for flow in _flows(manifest.uri):
            _check_restorable(flow)
        write_atomically(manifest_path(manifest.uri), json.dumps(facts, indent=2, sort_keys=True).encode() + b"\n")
        if read_manifest(manifest.uri) != manifest:
            raise ArchiveError(f"the manifest of {path} does not read back as it was written")
    except ArchiveError:
        raise
    except Exception as error:  # whatever the file system or its driver raises
        reason = one_line(f"{type(error).__name__}: {error}")
        raise ArchiveError(f"the archive cannot be written to {folder}: {reason}") from error
    return manifest


def read_archive(uri: str) -> Iterator[Flow]:
    """Yield the flows of an archive, after it was checked against its manifest as a whole.

    :raises ArchiveError: it has no manifest, or is not what the manifest says
    :raises ViValidationError: the URL carries a password or a signature
    """
    refuse_secrets("archive", uri)
    _check(read_manifest(uri))
    yield from _flows(uri)


def _flows(uri: str) -> Iterator[Flow]:
    for number, line in enumerate(_lines(uri), 1):
        try:
            yield Flow.model_validate_json(line)
        except ValidationError as error:
            reason = describe_errors(error)
        else:
            continue
        raise ArchiveError(f"{uri}, line {number}: {reason}")


def read_manifest(uri: str) -> Manifest:
    """Return the manifest of an archive.

    :raises ArchiveError: there is none, or it is none of ours
    """
    path = manifest_path(uri)
    try:
        facts = json.loads(path.read_bytes())
        if facts["kind"] != _KIND or facts["version"] != 1:
            raise ValueError(f"it is a {facts['kind']!r:.80} of version {facts['version']!r:.20}")
        return Manifest(uri, int(facts["count"]), str(facts["sha256"]), str(facts["organization_id"]))
    except FileNotFoundError:
        reason = "there is none, so the archive may be incomplete"
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        reason = one_line(f"{type(error).__name__}: {error}")
    raise ArchiveError(f"manifest {path}: {reason}")


def manifest_path(uri: str) -> ObjectStoragePath:
    """Return where the manifest of an archive is."""
    path = ObjectStoragePath(uri)
    return path.parent / f"{path.name.removesuffix('.jsonl')}.manifest.json"


def _check(manifest: Manifest) -> None:
    lines = list(_lines(manifest.uri))
    if len(lines) != manifest.count or _sha256(lines) != manifest.sha256:
        raise ArchiveError(f"{manifest.uri} is not what its manifest says: it was cut off or changed")


def _check_restorable(flow: Flow) -> None:
    """Refuse what can be read and not be sent, like a number beyond all bounds."""
    try:
        encode_body(flow.to_wire())
    except ViValidationError as error:
        raise ArchiveError(f"flow {flow.flow_id!r:.80} could not be restored: {error}") from None


def _lines(uri: str) -> Iterator[bytes]:
    path = ObjectStoragePath(uri)
    try:
        with path.fs.open(path.path, "rb") as file:
            yield from file
    except FileNotFoundError:
        raise ArchiveError(f"there is no archive {uri}") from None


def _sha256(lines: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest()
