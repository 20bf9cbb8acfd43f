"""An object store in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from tests.unit.audit.support import attached_memory


@pytest.fixture
def memory() -> Iterator[ObjectStoragePath]:
    """A folder in fsspec's memory, which stands for an object store."""
    with attached_memory():
        yield ObjectStoragePath("memory://bucket/folder")
