"""Archives and exports that version 0.1.0 (commit 8fb970b) wrote can still be read, verified and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.documents import ORGANIZATION_ID
from tests.unit.audit.support import FLOWS, flow
from vi_airflow_provider.audit.diff import diff_exports
from vi_airflow_provider.audit.manifest import files_of, read_manifest
from vi_airflow_provider.audit.reader import read_export
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.cleanup import archive

WRITTEN: Final = Path(__file__).parents[2] / "data" / "written_by_8fb970b"
DOCUMENTS: Final = {each.flow_id: each.to_wire() for each in FLOWS} | {
    "a": flow("a", spec__settings={"seed": 1, "rate": 1.0}).to_wire()
}


def test_archive_is_read_unchanged() -> None:
    uri = str(WRITTEN / "archive.flows.jsonl")
    manifest = archive.read_manifest(uri)
    assert (manifest.count, manifest.organization_id) == (4, ORGANIZATION_ID)
    assert {each.flow_id: each.to_wire() for each in archive.read_archive(uri)} == DOCUMENTS


@pytest.mark.parametrize("name", ["flows.jsonl", "flows.jsonl.gz"])
def test_jsonl_export_is_read_and_verified(name: str) -> None:
    uri = str(WRITTEN / name)
    assert verify(uri, every_document=True).count == 4
    assert {each.flow_id: each.to_wire() for each in read_export(uri)} == DOCUMENTS


def test_csv_export_is_verified() -> None:
    assert verify(str(WRITTEN / "flows.csv"), every_document=True).format == "csv"


def test_manifest_of_a_replaced_export_accepts_both_versions() -> None:
    new, old = read_manifest(files_of(str(WRITTEN / "interrupted.jsonl")).manifest)
    assert (new.count, old.count) == (4, 2)
    assert verify(str(WRITTEN / "interrupted.jsonl"), every_document=True) == old


def test_fingerprints_are_unchanged() -> None:
    listed = json.loads((WRITTEN / "flows.jsonl.manifest.json").read_bytes())["flows"]
    assert listed == {each.flow_id: each.fingerprint for each in read_export(str(WRITTEN / "flows.jsonl"))}


def test_export_is_compared_with_a_new_one() -> None:
    new = sorted([*FLOWS[2:], flow("a", spec__settings={"seed": 1, "rate": 1})], key=lambda each: each.flow_id)
    diff = diff_exports(read_export(str(WRITTEN / "flows.jsonl")), new)
    assert (len(diff.added), [each.id for each in diff.removed], len(diff.changed)) == (0, ["b"], 0)
