from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import pytest

from vi_airflow_provider.emulator.store.samples import DAY_MS, sample_flows, sample_runs
from vi_airflow_provider.emulator.store.schema import check_flow_spec, check_metadata

ORGANIZATION = "org-1"
NOW = 1_783_209_600_000


def age_in_days(flow: dict[str, Any]) -> float:
    return float(NOW - flow["metadata"]["lastUpdated"]) / DAY_MS


def test_the_same_seed_gives_the_same_flows() -> None:
    assert sample_flows(40, 7, ORGANIZATION, NOW) == sample_flows(40, 7, ORGANIZATION, NOW)


def test_another_seed_gives_other_flows() -> None:
    ids = {flow["flowId"] for seed in range(5) for flow in sample_flows(40, seed, ORGANIZATION, NOW)}
    assert len(ids) == 200


def test_larger_count_keeps_the_specs_of_a_smaller_one() -> None:
    few, many = (sample_flows(count, 0, ORGANIZATION, NOW) for count in (10, 50))
    names = {flow["flowId"]: flow["spec"] for flow in many}
    assert all(names[flow["flowId"]] == flow["spec"] for flow in few)


@pytest.mark.parametrize("count", [0, 1, 2, 40, 500])
def test_every_flow_is_a_valid_document(count: int) -> None:
    flows = sample_flows(count, 0, ORGANIZATION, NOW)
    assert len({flow["flowId"] for flow in flows}) == count
    for flow in flows:
        check_flow_spec(flow["spec"])
        check_metadata(flow["metadata"])
        assert flow["kind"] == "Flow"
        assert flow["workspaceId"] == ORGANIZATION
        assert flow["selfLink"] == f"/workspaces/{ORGANIZATION}/flows/{flow['flowId']}"
        assert str(uuid.UUID(flow["flowId"])) == flow["flowId"]
        assert uuid.UUID(flow["flowId"]).version == 4
        assert [block["block"] for block in flow["spec"]["blocks"]] == ["system-prompt", "dataset", "vlm-model"]


def test_listing_order_is_newest_creation_first() -> None:
    created = [flow["metadata"]["timeCreated"] for flow in sample_flows(60, 0, ORGANIZATION, NOW)]
    assert created == sorted(created, reverse=True)


@pytest.mark.parametrize("seed", range(20))
def test_ages_spread_over_400_days_with_a_tail_older_than_90(seed: int) -> None:
    flows = sample_flows(40, seed, ORGANIZATION, NOW)
    ages = [age_in_days(flow) for flow in flows]
    assert 0 <= min(ages) < 1
    assert 350 < max(ages) <= 400
    assert 12 <= sum(age > 90 for age in ages) <= 18
    for flow in flows:
        metadata = flow["metadata"]
        assert metadata["timeCreated"] <= metadata["lastUpdated"] <= NOW
        assert metadata["generation"] >= 1
        assert (metadata["timeCreated"] < metadata["lastUpdated"]) == (metadata["generation"] > 1)


def test_attributes_vary_and_some_old_flows_have_keep() -> None:
    flows = sample_flows(40, 0, ORGANIZATION, NOW)
    assert len(Counter(flow["metadata"]["attributes"]["team"] for flow in flows)) > 3
    kept = [flow for flow in flows if flow["metadata"]["attributes"].get("keep") == "true"]
    assert any(age_in_days(flow) > 90 for flow in kept)
    assert len(kept) < 5


@pytest.mark.parametrize(("count", "busy"), [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (40, 2), (500, 2)])
def test_at_most_two_flows_are_busy_and_only_recent_ones(count: int, busy: int) -> None:
    flows = sample_flows(count, 0, ORGANIZATION, NOW)
    runs = sample_runs(flows, NOW, 3_600_000)
    by_id = {flow["flowId"]: flow for flow in flows}
    assert len(runs) == busy
    for run in runs:
        flow = by_id[run["metadata"]["attributes"]["vi_airflow.flow_id"]]
        assert run["spec"]["flow"] == flow["spec"]
        assert age_in_days(flow) < 30
