"""Restores flows from an archive: those that are missing, and if asked to, those that differ."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.cleanup.archive import read_archive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vi_airflow_provider.api.client import ViClient
    from vi_airflow_provider.api.models import Flow

log = logging.getLogger(__name__)


class ExistsError(Exception):
    """Flows of the archive exist with other content; nothing was written."""


@dataclass(frozen=True)
class Restore:
    """Writes flows of an archive back.

    :param client: reads and writes the flows
    :param if_exists: what to do with a flow that exists with other content: ``"fail"``, ``"skip"`` or ``"replace"``
    """

    client: ViClient
    if_exists: str

    def run(self, flows: Sequence[Flow]) -> list[str]:
        """Write the flows that are missing or to be replaced, and return their ids.

        :raises ExistsError: a flow exists with other content, and ``if_exists`` is ``"fail"``; nothing was written
        """
        missing, different = self._compare(flows)
        if different and self.if_exists == "fail":
            raise ExistsError(
                f"{len(different)} flows exist with another spec or other attributes, {different[0].flow_id} among "
                'them; if_exists="replace" would overwrite them. Nothing was written.'
            )
        kept = [] if self.if_exists == "replace" else different
        written = missing + [flow for flow in different if not kept]
        for flow in written:
            self.client.restore_flow(flow.to_wire())
            log.info("Restored flow %s: %.200r", flow.flow_id, flow.spec.name)
        present = len(flows) - len(missing) - len(different)
        log.info(
            "%d flows restored, %d exist as archived, %d exist with other content and were left alone.",
            *(len(written), present, len(kept)),
        )
        return [flow.flow_id for flow in written]

    def _compare(self, flows: Sequence[Flow]) -> tuple[list[Flow], list[Flow]]:
        """Return the flows that are missing, and those that exist with other content."""
        missing, different = [], []
        for flow in flows:
            existing = self.client.find_flow(flow_id=flow.flow_id)
            if existing is None:
                missing.append(flow)
            elif _content(existing) != _content(flow):
                different.append(flow)
        return missing, different


def archived_flows(archive: str, flow_ids: Any) -> list[Flow]:
    """Return flows of an archive, after checking it against its manifest as a whole.

    :param flow_ids: the flows to return, ``None`` for all
    :raises ArchiveError: the archive is incomplete, or was changed
    :raises ViValidationError: an id is not in the archive
    """
    flows = {flow.flow_id: flow for flow in read_archive(archive)}
    if flow_ids is None:
        return list(flows.values())
    if isinstance(flow_ids, str):
        raise ViValidationError("flow_ids: a list of ids expected, a text given")
    unknown = [flow_id for flow_id in flow_ids if flow_id not in flows]
    if unknown:
        raise ViValidationError(f"flow_ids: {unknown[0]!r:.80} is not in the archive ({len(unknown)} are not)")
    return [flows[flow_id] for flow_id in dict.fromkeys(flow_ids)]


def _content(flow: Flow) -> bytes:
    """Return what a restore brings back. As bytes, because for Python 1, 1.0 and True are equal."""
    return canonical_json([flow.spec.to_wire(), flow.metadata.attributes])
