"""The manifest of an export: which version of the file it accepts, and the fingerprint of each document.

While a file is being replaced, its manifest accepts more than one version: see ``audit/writer.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from vi_airflow_provider.storage.manifest import Files, ManifestKind, Suffix
from vi_airflow_provider.storage.places import refuse_secrets

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath


class ExportError(Exception):
    """An export does not match its manifest, or has none."""


@dataclass(frozen=True)
class ExportManifest:
    """One version of an exported file, and how it was made.

    :param passes: listings that were read; 1 if the export has a ``limit``, or is of the first release
    :param late: documents that the first listing lacked
    """

    file: str
    format: str
    count: int
    sha256: str
    size: int
    created_at: str
    organization_id: str
    filters: dict[str, Any]
    provider_version: str
    passes: int = 1
    late: int = 0


_MANIFEST: Final = Suffix("", ".manifest.json")
_REPORT: Final = Suffix("", ".report.html")
EXPORT: Final = ManifestKind("vi-flow-export", _MANIFEST, _REPORT, ExportError)
RUN_EXPORT: Final = ManifestKind("vi-run-export", _MANIFEST, _REPORT, ExportError, noun="run")
_VERSION: Final = TypeAdapter(ExportManifest)


def files_of(uri: str) -> Files:
    """Locate an export, its manifest and its report.

    :raises ViValidationError: the URL carries a secret
    """
    refuse_secrets("uri", uri)
    return EXPORT.files(uri)


def read_manifest(manifest: ObjectStoragePath, kind: ManifestKind = EXPORT) -> list[ExportManifest]:
    """Return the versions that a manifest accepts: first the one that it describes, then those before it.

    :raises ExportError: the manifest is missing, malformed or of another kind
    """
    with kind.facts(manifest) as facts:
        versions = (facts, facts["replaces"], *facts.get("also_accepts", ()))
        return [_VERSION.validate_python(version) for version in versions if version]


def manifest_facts(version: ExportManifest, accepted: Sequence[ExportManifest]) -> dict[str, Any]:
    """Return the facts of a manifest that describes a version and accepts others, too.

    The first of the others is in ``replaces``, which the first release of this provider reads as well.
    """
    others = [asdict(other) for other in accepted if other.sha256 != version.sha256]
    facts = {**asdict(version), "replaces": others[0] if others else None}
    return {**facts, "also_accepts": others[1:]} if others[1:] else facts
