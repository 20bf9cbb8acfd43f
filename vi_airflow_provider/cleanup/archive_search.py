"""Which archive of a folder contains a flow."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.cleanup.archive import ARCHIVE, SUFFIX, ArchiveError, Manifest, read_archive, read_manifest
from vi_airflow_provider.storage.failures import reason_of
from vi_airflow_provider.storage.files import list_files
from vi_airflow_provider.storage.urls import resolve_destination

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from vi_airflow_provider.api.models import Flow


class ArchivedFlow(NamedTuple):
    """A flow, and the archive that contains it."""

    manifest: Manifest
    flow: Flow


class Period(NamedTuple):
    """When an archive was made: from the first time on, and before the second one."""

    after: datetime | None = None
    before: datetime | None = None

    def contains(self, created_at: str) -> bool:
        """Return whether a time in a manifest is in the period; an unreadable one may be."""
        try:
            time = datetime.fromisoformat(created_at)
            return (self.after is None or self.after <= time) and (self.before is None or time < self.before)
        except (ValueError, TypeError):  # not a time, or one without a time zone
            return True


def find_archived(
    folder: str, wanted: Callable[[Flow], bool], period: Period, unreadable: Callable[[str], object]
) -> Iterator[ArchivedFlow]:
    """Yield the archived flows of a folder and its subfolders that match, those of the newest archive first.

    Each archive is checked against its manifest before its flows are yielded.

    :param unreadable: gets one sentence about each archive that is damaged or cannot be read; the others are searched
    :raises ArchiveError: the folder cannot be read
    :raises ViValidationError: the URL is not absolute, carries a secret, or its storage is not installed
    """
    manifests = [found for path in _manifests(folder) if (found := _read(path, unreadable)) is not None]
    for manifest in sorted(manifests, key=lambda manifest: (manifest.created_at, manifest.uri), reverse=True):
        if not period.contains(manifest.created_at):
            continue
        try:
            yield from (ArchivedFlow(manifest, flow) for flow in read_archive(manifest.uri) if wanted(flow))
        except Exception as error:  # whatever a driver raises
            unreadable(_reason(manifest.uri, error))


def _manifests(folder: str) -> list[ObjectStoragePath]:
    place = resolve_destination("folder", folder)
    ending = ARCHIVE.manifest.companion(SUFFIX)
    try:
        if not place.is_dir():
            raise ArchiveError(f"{folder} is not a folder")
        return [path for path in list_files(place, recursive=True) if path.name.endswith(ending)]
    except ArchiveError:
        raise
    except Exception as error:
        reason = _reason(folder, error)
    raise ArchiveError(reason)


def _read(manifest: ObjectStoragePath, unreadable: Callable[[str], object]) -> Manifest | None:
    uri = str(ARCHIVE.data_of(manifest))
    try:
        return read_manifest(uri)
    except Exception as error:
        unreadable(_reason(uri, error))
        return None


def _reason(uri: str, error: Exception) -> str:
    return str(error) if isinstance(error, ArchiveError) else one_line(f"{uri}: {reason_of(error)}")
