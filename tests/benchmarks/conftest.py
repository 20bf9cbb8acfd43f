"""A run of all benchmarks at next to no size, once for all tests of it."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import measure
from benchmarks.plan import SMOKE
from benchmarks.report import FAMILIES
from benchmarks.results import Results


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return measure(SMOKE, [family.FAMILY for family in FAMILIES], tmp_path_factory.mktemp("smoke"))
