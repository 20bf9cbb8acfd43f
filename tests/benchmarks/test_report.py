"""The page is generated from the results and not edited by hand."""

from __future__ import annotations

import pytest

from benchmarks import report
from benchmarks.results import Results
from benchmarks.stats import Spread, exponent, percentile, ratios
from benchmarks.suite import Suite
from benchmarks.targets import Target


def test_page_is_rendered_from_the_results() -> None:
    assert report.PAGE.read_text() == report.page(Results.load())


@pytest.mark.parametrize("suite", report.measured(Results.load()), ids=lambda suite: suite.NAME)
def test_each_suite_has_a_plot_of_these_results(suite: Suite) -> None:
    plot = report.PAGE.with_suffix("") / f"{suite.NAME}.svg"

    assert Results.load().digest in plot.read_text()


class TestNumbers:
    def test_ratios_are_computed_per_round(self) -> None:
        assert ratios([1, 4, 9], [1, 2, 3]) == Spread(2, 1, 3)

    def test_percentile_is_one_of_the_values(self) -> None:
        assert percentile([3, 1, 2], 99) == 3
        assert percentile(range(1, 101), 99) == 99
        assert percentile([5], 50) == 5

    @pytest.mark.parametrize("power", [1, 2])
    def test_exponent_of_a_power_function_is_its_power(self, power: int) -> None:
        assert exponent({size: 3 * size**power for size in (25, 50, 100)}) == pytest.approx(power)


class TestTargets:
    @pytest.mark.parametrize(
        ("median", "floor", "verdict"),
        [
            (0.5, False, "met, moonshot too"),
            (1.0, False, "met"),
            (1.01, False, "**not met**"),
            (0.99, True, "**not met**"),
            (1.0, True, "met, moonshot too"),
        ],
    )
    def test_median_decides_the_verdict(self, median: float, floor: bool, verdict: str) -> None:
        assert Target("figure", Spread(median, 0, 9), 1, floor=floor, moonshot=0.5).verdict == verdict
