"""How flows and runs are listed to select some of them: what is requested, and where the listing stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from tests.documents import wire_flow, wire_run
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow, Run
from vi_airflow_provider.selection.filter import FlowFilter, selected_flows
from vi_airflow_provider.selection.run_filter import RunFilter, selected_runs

NOW: Final = datetime(2026, 7, 1, 12, tzinfo=UTC)


class Source:
    """An organization with five flows and five runs, every second of which has an attribute."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.read = 0

    def list_flows(
        self, *, page_size: int | None = None, limit: int | None = None, prefetch: bool = True
    ) -> Iterator[Flow]:
        self.asked = {"page_size": page_size, "limit": limit, "prefetch": prefetch}
        return self._read(limit, lambda name, found: Flow.model_validate(wire_flow(flowId=name, **found)))

    def list_runs(self, *, limit: int | None = None, prefetch: bool = True) -> Iterator[Run]:
        self.asked = {"limit": limit, "prefetch": prefetch}
        return self._read(limit, lambda name, found: Run.model_validate(wire_run(runId=name, **found)))

    def _read(self, limit: int | None, build: Callable[[str, dict[str, Any]], Any]) -> Iterator[Any]:
        for number in range(5 if limit is None else limit):
            self.read += 1
            yield build(f"{number}", {"metadata__attributes": {"odd": "yes"} if number % 2 else {}})


def flows(source: Any, limit: int | None, **criteria: Any) -> list[str]:
    return [flow.flow_id for flow in selected_flows(source, FlowFilter.build(**criteria), NOW, limit, 7)]


def runs(source: Any, limit: int | None, **criteria: Any) -> list[str]:
    return [run.run_id for run in selected_runs(source, RunFilter.build(**criteria), NOW, limit)]


def test_a_listing_without_criteria_stops_at_the_limit_by_itself() -> None:
    source = Source()
    assert flows(source, 2) == ["0", "1"]
    assert source.asked == {"page_size": 7, "limit": 2, "prefetch": True}
    assert runs(source, 2) == ["0", "1"]
    assert source.asked == {"limit": 2, "prefetch": True}


def test_a_limited_search_reads_no_page_ahead() -> None:
    source = Source()
    assert flows(source, 1, attributes={"odd": "yes"}) == ["1"]
    assert source.asked == {"page_size": 7, "limit": None, "prefetch": False}
    assert runs(source, 1, attributes={"odd": "yes"}) == ["1"]
    assert source.asked == {"limit": None, "prefetch": False}
    assert source.read == 4


@pytest.mark.parametrize("criteria", [{}, {"attributes": {"odd": "yes"}}], ids=str)
def test_a_listing_without_a_limit_is_read_to_its_end(criteria: dict[str, Any]) -> None:
    source = Source()
    expected = ["1", "3"] if criteria else ["0", "1", "2", "3", "4"]
    assert flows(source, None, **criteria) == expected
    assert source.asked == {"page_size": 7, "limit": None, "prefetch": True}
    assert runs(source, None, **criteria) == expected
    assert source.asked == {"limit": None, "prefetch": True}


def test_a_caller_may_forbid_the_prefetch() -> None:
    source: Any = Source()
    list(selected_flows(source, FlowFilter(), NOW, None, None, prefetch=False))
    assert source.asked == {"page_size": None, "limit": None, "prefetch": False}


def test_a_limit_of_zero_selects_nothing_and_a_negative_one_is_refused() -> None:
    assert flows(Source(), 0) == runs(Source(), 0) == []
    for select in (flows, runs):
        with pytest.raises(ViValidationError, match=r"^limit: -1 is not a whole number of at least 0"):
            select(Source(), -1)


@pytest.mark.parametrize(("age", "expected"), [("PT0S", 5), ("PT1S", 0)])
def test_an_age_is_counted_back_from_the_given_time(age: str, expected: int) -> None:
    source: Any = Source()
    flow_time, run_time = (
        datetime.fromtimestamp(document["metadata"]["lastUpdated"] / 1000, UTC)
        for document in (wire_flow(), wire_run())
    )
    found = selected_flows(source, FlowFilter.build(older_than=age), flow_time, None, None)
    assert len(list(found)) == expected
    assert len(list(selected_runs(source, RunFilter.build(older_than=age), run_time, None))) == expected
