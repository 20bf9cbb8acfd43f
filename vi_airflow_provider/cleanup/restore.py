"""Restores flows from an archive: those that are missing, and if requested, those that differ.

A flow is written only over what was read: nothing, or with ``if_exists="replace"`` the version that was there when the
restore came to it. Each attempt to write reads the flow again, so a concurrent edit is kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.transport.loop_thread import raise_if
from vi_airflow_provider.cleanup.archive import ARCHIVE, ArchiveError, read_archive
from vi_airflow_provider.selection.collection_arguments import Texts, check_of
from vi_airflow_provider.storage.files import list_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vi_airflow_provider.api.client import ViClient
    from vi_airflow_provider.api.models import Flow

log = logging.getLogger(__name__)


class ExistsError(Exception):
    """Flows of the archive exist with other content; nothing was written."""


class RestoreError(Exception):
    """Some flows were edited during the restore, so they were left alone; the others were restored."""


class ArchivedState(StrEnum):
    """How a flow of an archive relates to the organization as it is now."""

    MISSING = "missing"
    AS_ARCHIVED = "as_archived"
    DIFFERENT = "different"


class RestoreOutcome(StrEnum):
    """What became of a flow of an archive."""

    RESTORED = "restored"
    AS_ARCHIVED = "as_archived"
    #: It exists with other content, and was not overwritten.
    LEFT_ALONE = "left_alone"
    #: The restore ended here; a response that was lost leaves open whether the flow was written.
    FAILED = "failed"


@dataclass
class RestoreGuard:
    """Decides whether a flow of the archive may be written, each time its current version has been read."""

    content: bytes
    replace: bool
    #: The version that was there first; no other one is overwritten.
    first: tuple[str, int] | None = None
    is_first: bool = True
    differs: bool = False
    is_gone: bool = False

    def __call__(self, current: Flow | None) -> bool:
        """Decide about the current version, ``None`` if the flow does not exist."""
        version = None if current is None else (current.etag, current.metadata.last_updated)
        if self.is_first:
            self.first, self.is_first = version, False
        self.is_gone = current is None
        self.differs = current is None or _content(current) != self.content
        return self.differs and version == self.first and (current is None or self.replace)


@dataclass
class Restore:
    """Writes flows of an archive back.

    :param client: reads and writes the flows
    :param if_exists: what to do with a flow that exists with other content: ``"fail"``, ``"skip"`` or ``"replace"``
    :param stopped: whether the task was killed
    """

    client: ViClient
    if_exists: str
    stopped: Callable[[], bool]
    #: By the ids of the flows to which the restore has come, even if it has failed.
    outcomes: dict[str, RestoreOutcome] = field(default_factory=dict, init=False)

    def run(self, flows: Sequence[Flow]) -> list[str]:
        """Write the flows that are missing or to be replaced, and return their ids.

        :raises ExistsError: a flow exists with other content, and ``if_exists`` is ``"fail"``; nothing was written
        :raises RestoreError: a flow was edited meanwhile, and ``if_exists`` is not ``"skip"``; the others were written
        """
        if self.if_exists == "fail":
            self._refuse_others(flows)
        for flow in flows:
            self.outcomes[flow.flow_id] = RestoreOutcome.FAILED
            self.outcomes[flow.flow_id] = self._restore(flow)
        written, left = self._ids(RestoreOutcome.RESTORED), self._ids(RestoreOutcome.LEFT_ALONE)
        log.info(
            "%d flows restored, %d already present and unchanged, %d with other content left alone.",
            *(len(written), len(flows) - len(written) - len(left), len(left)),
        )
        if left and self.if_exists != "skip":
            raise RestoreError(
                f"{len(left)} flows were changed during the restore and left alone, {left[0]} among them; "
                f"{len(written)} flows were restored"
            )
        return written

    def _ids(self, outcome: RestoreOutcome) -> list[str]:
        return [flow_id for flow_id, found in self.outcomes.items() if found is outcome]

    def _refuse_others(self, flows: Sequence[Flow]) -> None:
        different = []
        for flow in flows:
            raise_if(self.stopped)
            if archived_state(self.client, flow) is ArchivedState.DIFFERENT:
                different.append(flow.flow_id)
        if different:
            raise ExistsError(
                f"{len(different)} flows exist with another spec or other attributes, {different[0]} among "
                'them; if_exists="replace" would overwrite them. Nothing was written.'
            )

    def _restore(self, flow: Flow) -> RestoreOutcome:
        guard = RestoreGuard(_content(flow), replace=self.if_exists == "replace")

        def may_be_written(current: Flow | None) -> bool:
            raise_if(self.stopped)
            return guard(current)

        if self.client.restore_flow_if(flow.to_wire(), may_be_written).written:
            log.info("Restored flow %s: %.200r", flow.flow_id, flow.spec.name)
            return RestoreOutcome.RESTORED
        if not guard.differs:
            return RestoreOutcome.AS_ARCHIVED
        reason = "it was deleted meanwhile" if guard.is_gone else "it exists with other content"
        log.warning("Flow %s is left alone: %s.", flow.flow_id, reason)
        return RestoreOutcome.LEFT_ALONE


def archived_state(client: ViClient, flow: Flow) -> ArchivedState:
    """Read the flow of this id, and compare what a restore would bring back."""
    existing = client.find_flow(flow_id=flow.flow_id)
    if existing is None:
        return ArchivedState.MISSING
    return ArchivedState.AS_ARCHIVED if _content(existing) == _content(flow) else ArchivedState.DIFFERENT


def archived_flows(archive: str, flow_ids: Any) -> list[Flow]:
    """Return flows of an archive, after checking it against its manifest as a whole.

    :param flow_ids: the flows to return, ``None`` for all
    :raises ArchiveError: the archive is incomplete, was changed, or is a folder
    :raises ViValidationError: an id is not in the archive
    """
    try:
        flows = {flow.flow_id: flow for flow in read_archive(archive)}
    except ArchiveError:
        _refuse_folder(archive)
        raise
    if flow_ids is None:
        return list(flows.values())
    flow_ids = check_of(Texts)("flow_ids", flow_ids)
    unknown = [flow_id for flow_id in flow_ids if flow_id not in flows]
    if unknown:
        others = f" and {len(unknown) - 1} more" if unknown[1:] else ""
        raise ViValidationError(f"flow_ids: not in the archive: {unknown[0]!r:.80}{others}")
    return [flows[flow_id] for flow_id in dict.fromkeys(flow_ids)]


def _refuse_folder(archive: str) -> None:
    """Refuse a folder in words that help; ``archive_to`` of a cleanup is one, and easily taken for the archive."""
    try:
        folder = ObjectStoragePath(archive)
        if not folder.is_dir():
            return
        files = {path.name: path for path in list_files(folder)}
        # An export has a manifest of the same suffix, but not a file of this name.
        archives = sorted(
            {ARCHIVE.data_of(path).name for path in files.values() if ARCHIVE.is_manifest(path)} & files.keys()
        )
    except Exception:  # whatever a driver raises; the error about the archive is more specific
        return
    newest = f", like {archives[-1]}" if archives else ""
    raise ArchiveError(f"{archive} is a folder with {len(archives)} archives: name one{newest}")


def _content(flow: Flow) -> bytes:
    """Return what a restore brings back. As bytes, because for Python 1, 1.0 and True are equal."""
    return canonical_json([flow.spec.to_wire(), flow.metadata.attributes])
