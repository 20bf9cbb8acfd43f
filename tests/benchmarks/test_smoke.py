"""Every benchmark runs, and counts right. A client that finds too few flows, or sends one request more or less
than the page size demands, is an error in the run itself (`Runner.checked`), so there would be no results to look at.
"""

from __future__ import annotations

import json
from math import ceil, isfinite

import pytest

from benchmarks.flows import flow
from benchmarks.plan import SMOKE
from benchmarks.processes import BenchmarkError, server
from benchmarks.registry import SUITES
from benchmarks.report import page
from benchmarks.runner import Client, Runner


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    with server(40) as started:
        runner = Runner(SMOKE, started, tmp_path_factory.mktemp("runner"), lambda line: None)
        yield runner
        runner.close()


class TestSmoke:
    @pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.NAME)
    def test_each_suite_has_measured_all_that_the_page_says_of_it(self, smoke, suite):
        assert all(isfinite(target.measured.median) for target in suite.targets(smoke))
        assert f"## {suite.TITLE}" in page(smoke)

    def test_time_and_work_are_there_and_positive(self, smoke):
        rows = [row for each in smoke.measurements if each.suite != "imports" for row in each.rounds]

        assert all(row["wall"] > 0 and row["cpu"] > 0 for row in rows)

    def test_every_gate_opens_whose_flow_appears(self, smoke):
        for each in smoke.of_suite("gates"):
            assert each.values("opened") == each.values("watched")
            assert each.values("watched")[0] > 0

    def test_importing_us_loads_nothing_foreign(self, smoke):
        ours = smoke.of_suite("imports")[0]

        assert ours.rounds[0]["foreign"] == []


class TestRequests:
    @pytest.mark.parametrize(("flows", "limit"), [(40, None), (40, 1), (40, 10), (40, 11), (40, 39), (30, 30), (9, 40)])
    def test_no_page_is_asked_for_that_the_limit_makes_needless(self, runner, flows, limit):
        wanted = min(flows, limit or flows)
        expected = {"flows": wanted, "server_pages": ceil(wanted / 10)}
        client = Client("ours", "provider:list_flows", {"page_size": 10, "limit": limit}, expected)

        runner.compare("test", "limit", [client], flows=flows)

    def test_a_wrong_count_is_an_error(self, runner):
        client = Client("ours", "provider:list_flows", {"page_size": 10}, {"server_pages": 3})

        with pytest.raises(BenchmarkError, match="server_pages is 4, and had to be 3"):
            runner.compare("test", "wrong", [client], flows=40)


def test_a_flow_has_eight_blocks_and_four_kilobytes():
    documents = [flow(number, 1_782_864_000_000) for number in range(48)]

    assert all(len(json.loads(document)["spec"]["blocks"]) == 8 for document in documents)
    assert 4_000 < sum(map(len, documents)) / len(documents) < 4_200
