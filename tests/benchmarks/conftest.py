"""Run all benchmarks once at a very small size, for all tests of this folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.__main__ import measure
from benchmarks.plan import SMOKE
from benchmarks.registry import SUITES
from benchmarks.results import Results


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Results:
    suites = [suite.NAME for suite in SUITES]
    # Whole DAG runs take as long as all other suites together, so they run concurrently.
    parts = (suites[:-1], suites[-1:])
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(measure, SMOKE, part, tmp_path_factory.mktemp("smoke")) for part in parts]
        return Results.of(SMOKE, [each for run in runs for each in run.result().measurements])
