"""Every benchmark runs and counts correctly.

A client that finds too few flows, or sends a different number of requests than the page size requires, fails the run
itself (``Runner.checked``), so these tests only examine the results.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import ceil, isfinite

import pytest

from benchmarks.flows import flow
from benchmarks.plan import SMOKE
from benchmarks.processes import BenchmarkError, server
from benchmarks.registry import SUITES
from benchmarks.report import page
from benchmarks.results import Results
from benchmarks.runner import Client, Runner
from benchmarks.suite import Suite


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with server(40) as started:
        runner = Runner(SMOKE, started, tmp_path_factory.mktemp("runner"), lambda line: None)
        yield runner
        runner.close()


class TestSmoke:
    @pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.NAME)
    def test_each_suite_measures_all_figures_of_its_section(self, smoke: Results, suite: Suite) -> None:
        assert all(isfinite(target.measured.median) for target in suite.targets(smoke))
        assert f"## {suite.TITLE}" in page(smoke)

    def test_wall_and_cpu_time_are_positive(self, smoke: Results) -> None:
        rows = [row for each in smoke.measurements if each.suite != "imports" for row in each.rounds]

        assert all(row["wall"] > 0 and row["cpu"] > 0 for row in rows)

    @pytest.mark.parametrize("suite", ["gates", "runs"])
    def test_each_awaited_thing_that_happens_makes_one_event(self, smoke: Results, suite: str) -> None:
        for each in smoke.of_suite(suite):
            assert each.values("opened") == each.values("watched")
            assert each.values("watched")[0] > 0

    def test_import_loads_no_additional_packages(self, smoke: Results) -> None:
        ours = smoke.of_suite("imports")[0]

        assert ours.rounds[0]["foreign"] == []


class TestRequests:
    @pytest.mark.parametrize(("flows", "limit"), [(40, None), (40, 1), (40, 10), (40, 11), (40, 39), (30, 30), (9, 40)])
    def test_limit_avoids_requests_for_pages_beyond_it(self, runner: Runner, flows: int, limit: int | None) -> None:
        wanted = min(flows, limit or flows)
        expected = {"flows": wanted, "server_pages": ceil(wanted / 10)}
        client = Client("ours", "provider:list_flows", {"page_size": 10, "limit": limit}, expected)

        runner.compare("test", "limit", [client], flows=flows)

    def test_wrong_count_is_an_error(self, runner: Runner) -> None:
        client = Client("ours", "provider:list_flows", {"page_size": 10}, {"server_pages": 3})

        with pytest.raises(BenchmarkError, match="server_pages is 4, expected 3"):
            runner.compare("test", "wrong", [client], flows=40)


def test_flow_has_eight_blocks_and_four_kilobytes() -> None:
    documents = [flow(number, 1_782_864_000_000) for number in range(48)]

    assert all(len(json.loads(document)["spec"]["blocks"]) == 8 for document in documents)
    assert 4_000 < sum(map(len, documents)) / len(documents) < 4_200
