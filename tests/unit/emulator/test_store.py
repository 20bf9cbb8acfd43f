from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.unit.emulator.support import FakeClock
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.state_file import StateFile
from vi_airflow_provider.emulator.store.store import Store

NOW = 1_783_209_600_000


def status_of(function: Callable[..., object], *arguments: Any) -> int:
    with pytest.raises(ApiError) as caught:
        function(*arguments)
    return caught.value.status


def put(store: Store, spec: dict[str, Any], flow_id: str = "f1", **attributes: str) -> dict[str, Any]:
    return store.put_flow(flow_id, {"spec": spec, "metadata": {"attributes": attributes}})


class TestPutFlow:
    def test_creates_with_server_side_metadata(self, store: Store, spec: dict[str, Any]) -> None:
        flow = put(store, spec, team="a")
        assert flow["metadata"] == {
            "timeCreated": NOW,
            "lastUpdated": NOW,
            "generation": 1,
            "attributes": {"team": "a"},
        }
        assert flow["selfLink"] == f"/workspaces/{store.organization_id}/flows/f1"
        assert store.get_flow("f1") == flow

    def test_keeps_unknown_fields_inside_the_spec(self, store: Store, spec: dict[str, Any]) -> None:
        assert put(store, spec)["spec"] == spec

    def test_replaces_spec_and_attributes_as_a_whole(
        self, store: Store, clock: FakeClock, spec: dict[str, Any]
    ) -> None:
        put(store, spec, team="a", stage="x")
        clock.advance(5)
        smaller = {**spec, "name": "other"}
        del smaller["futureField"]
        flow = put(store, smaller, team="b")
        assert flow["spec"] == smaller
        assert flow["metadata"] == {
            "timeCreated": NOW,
            "lastUpdated": NOW + 5000,
            "generation": 2,
            "attributes": {"team": "b"},
        }

    def test_without_metadata_clears_the_attributes(self, store: Store, spec: dict[str, Any]) -> None:
        put(store, spec, team="a")
        assert store.put_flow("f1", {"spec": spec})["metadata"]["attributes"] == {}

    def test_without_a_change_leaves_metadata_alone(self, store: Store, clock: FakeClock, spec: dict[str, Any]) -> None:
        before = put(store, spec, team="a")
        clock.advance(5)
        assert put(store, spec, team="a") == before

    def test_of_attributes_changes_time_and_etag_not_generation(
        self, store: Store, clock: FakeClock, spec: dict[str, Any]
    ) -> None:
        before = put(store, spec, team="a")
        clock.advance(5)
        after = put(store, spec, team="b")
        assert after["metadata"]["generation"] == 1
        assert after["metadata"]["lastUpdated"] == NOW + 5000
        assert after["etag"] != before["etag"]

    def test_within_one_millisecond_changes_time_and_etag(self, store: Store, spec: dict[str, Any]) -> None:
        etags = [put(store, {**spec, "name": name})["etag"] for name in ("a", "b", "a", "b")]
        assert len(set(etags)) == 4
        assert store.get_flow("f1")["metadata"]["lastUpdated"] == NOW + 3

    def test_distinguishes_one_from_true(self, store: Store, spec: dict[str, Any]) -> None:
        put(store, {**spec, "settings": {"x": 1}})
        assert put(store, {**spec, "settings": {"x": True}})["metadata"]["generation"] == 2


class TestPatchFlow:
    def test_merges_attributes_and_null_removes(self, store: Store, spec: dict[str, Any]) -> None:
        put(store, spec, team="a", stage="x")
        flow = store.patch_flow("f1", {"metadata": {"attributes": {"stage": None, "owner": "o", "none": None}}})
        assert flow["metadata"]["attributes"] == {"team": "a", "owner": "o"}
        assert flow["metadata"]["generation"] == 1

    def test_replaces_the_given_parts_of_the_spec(self, store: Store, spec: dict[str, Any]) -> None:
        put(store, spec)
        flow = store.patch_flow("f1", {"spec": {"settings": {"only": 1}, "blocks": []}})
        assert flow["spec"] == {**spec, "settings": {"only": 1}, "blocks": []}
        assert flow["metadata"]["generation"] == 2

    def test_without_content_changes_nothing(self, store: Store, clock: FakeClock, spec: dict[str, Any]) -> None:
        before = put(store, spec)
        clock.advance(1)
        assert store.patch_flow("f1", {}) == before

    def test_of_an_unknown_flow_is_a_404(self, store: Store) -> None:
        assert status_of(store.patch_flow, "nope", {}) == 404


class TestDeleteFlow:
    def test_removes_the_flow(self, store: Store, spec: dict[str, Any]) -> None:
        put(store, spec)
        store.delete_flow("f1")
        assert status_of(store.get_flow, "f1") == 404
        assert status_of(store.delete_flow, "f1") == 404

    def test_is_refused_while_a_run_that_names_it_is_active(
        self, store: Store, clock: FakeClock, spec: dict[str, Any]
    ) -> None:
        put(store, spec)
        run = {"spec": {"flow": {**spec, "name": "edited since"}}}
        store.put_run("r1", {**run, "metadata": {"attributes": {"vi_airflow.flow_id": "f1"}}})
        assert store.busy_flow_ids() == ["f1"]
        assert status_of(store.delete_flow, "f1") == 409
        clock.advance(100)
        store.delete_flow("f1")
        assert store.get_run("r1")["runId"] == "r1"

    def test_is_refused_while_a_run_with_its_spec_is_active(self, store: Store, spec: dict[str, Any]) -> None:
        put(store, spec)
        embedded = {name: value for name, value in spec.items() if name != "trainingProject"}
        store.put_run("r1", {"spec": {"flow": embedded}})
        assert status_of(store.delete_flow, "f1") == 409
        store.patch_run("r1", {"spec": {"killedAt": NOW}})
        store.delete_flow("f1")

    def test_of_a_copy_is_allowed_when_the_run_names_the_original(self, store: Store, spec: dict[str, Any]) -> None:
        put(store, spec, "original")
        put(store, spec, "copy")
        attributes = {"vi_airflow.flow_id": "original"}
        store.put_run("r1", {"spec": {"flow": spec}, "metadata": {"attributes": attributes}})
        store.delete_flow("copy")
        assert status_of(store.delete_flow, "original") == 409


class TestRuns:
    @pytest.fixture
    def conditions(self, store: Store, spec: dict[str, Any]) -> Callable[[], dict[str, str]]:
        store.put_run("r1", {"spec": {"flow": spec}})

        def read() -> dict[str, str]:
            return {c["condition"]: c["status"] for c in store.get_run("r1")["status"]["conditions"]}

        return read

    def test_are_queued_then_started_then_finished(
        self, store: Store, clock: FakeClock, conditions: Callable[[], dict[str, str]]
    ) -> None:
        assert conditions() == {"Finished": "Waiting", "Started": "Waiting", "Queued": "Reached"}
        clock.advance(10)
        assert conditions() == {"Finished": "Waiting", "Started": "Reached", "Queued": "Reached"}
        clock.advance(90)
        assert conditions() == {"Finished": "Reached", "Started": "Reached", "Queued": "Reached"}
        assert store.get_run("r1")["metadata"]["lastUpdated"] == NOW + 100_000

    def test_show_a_kill_as_a_failed_milestone(
        self, store: Store, clock: FakeClock, conditions: Callable[[], dict[str, str]]
    ) -> None:
        clock.advance(5)
        killed = store.patch_run("r1", {"spec": {"killedAt": clock()}})
        assert killed["spec"]["killedAt"] == NOW + 5000
        clock.advance(1000)
        assert conditions() == {"Finished": "FailedReach", "Started": "Waiting", "Queued": "Reached"}

    def test_change_their_etag_with_every_transition(
        self, store: Store, clock: FakeClock, conditions: Callable[[], dict[str, str]]
    ) -> None:
        etags = []
        for seconds in (0, 10, 90, 1000):
            clock.advance(seconds)
            etags.append(store.get_run("r1")["etag"])
        assert len(set(etags)) == 3
        assert etags[2] == etags[3]

    @pytest.mark.parametrize("ended_by", ["time", "kill"])
    def test_cannot_be_killed_once_ended(
        self, store: Store, clock: FakeClock, conditions: Callable[[], dict[str, str]], ended_by: str
    ) -> None:
        if ended_by == "time":
            clock.advance(100)
        else:
            store.patch_run("r1", {"spec": {"killedAt": NOW}})
        assert status_of(store.patch_run, "r1", {"spec": {"killedAt": NOW}}) == 409

    def test_cannot_be_deleted_while_active(
        self, store: Store, clock: FakeClock, conditions: Callable[[], dict[str, str]]
    ) -> None:
        assert status_of(store.delete_run, "r1") == 409
        clock.advance(100)
        store.delete_run("r1")
        assert status_of(store.get_run, "r1") == 404

    def test_stay_killed_when_they_are_replaced(
        self, store: Store, conditions: Callable[[], dict[str, str]], spec: dict[str, Any]
    ) -> None:
        store.patch_run("r1", {"spec": {"killedAt": NOW}})
        run = store.put_run("r1", {"spec": {"flow": spec, "trainingProject": "p"}})
        assert run["spec"]["killedAt"] == NOW

    def test_stay_unchanged_by_identical_writes(self, store: Store, clock: FakeClock, spec: dict[str, Any]) -> None:
        before = store.put_run("r1", {"spec": {"flow": spec}})
        clock.advance(1)
        assert store.put_run("r1", {"spec": {"flow": spec}}) == before
        assert store.patch_run("r1", {}) == before

    def test_keep_their_attributes_through_a_patch(self, store: Store, spec: dict[str, Any]) -> None:
        store.put_run("r1", {"spec": {"flow": spec}, "metadata": {"attributes": {"a": "1", "b": "2"}}})
        run = store.patch_run("r1", {"spec": {"trainingProject": "p"}, "metadata": {"attributes": {"b": None}}})
        assert run["metadata"]["attributes"] == {"a": "1"}
        assert run["metadata"]["generation"] == 2


class TestCollections:
    def test_a_reset_gives_the_same_flows_for_the_same_seed(self, store: Store) -> None:
        store.reset(40, 3)
        before = [store.get_flow(id_) for id_ in store.flow_ids()]
        store.delete_some_flows(30, random.Random(0))
        store.reset(40, 3)
        assert [store.get_flow(id_) for id_ in store.flow_ids()] == before

    def test_some_sample_flows_are_busy(self, store: Store) -> None:
        store.reset(40, 0)
        assert len(store.busy_flow_ids()) == 2
        for id_ in store.busy_flow_ids():
            assert status_of(store.delete_flow, id_) == 409

    def test_more_samples_are_sorted_in_by_age(self, store: Store) -> None:
        store.reset(20, 0)
        added = store.add_sample_flows(20, seed=1)
        assert set(added) < set(store.flow_ids())
        created = [store.get_flow(id_)["metadata"]["timeCreated"] for id_ in store.flow_ids()]
        assert created == sorted(created, reverse=True)
        assert status_of(store.add_sample_flows, 20, 1) == 409

    def test_created_flows_are_new(self, store: Store, clock: FakeClock) -> None:
        store.reset(20, 0)
        clock.advance(1)
        assert sorted(store.create_flows(3)) == store.flow_ids()[:3]

    def test_created_flows_are_the_same_after_the_same_reset(self, store: Store) -> None:
        created = []
        for _ in range(2):
            store.reset(0, 0)
            created.append([store.create_flows(2), store.create_flows(2)])
        assert created[0] == created[1]
        assert len({id_ for ids in created[0] for id_ in ids}) == 4

    def test_created_flows_never_replace_flows_of_an_earlier_process(
        self, store: Store, clock: FakeClock, tmp_path: Path
    ) -> None:
        for flows in (1, 2):
            again = Store(store.organization_id, clock=clock, state_file=StateFile(tmp_path / "vi.json"))
            again.load()
            again.create_flows(1)
            assert len(again.flow_ids()) == flows

    def test_random_deletion_spares_busy_flows(self, store: Store) -> None:
        store.reset(40, 0)
        deleted = store.delete_some_flows(1000, random.Random(0))
        assert len(deleted) == 38
        assert store.flow_ids() == store.busy_flow_ids()

    def test_changing_a_read_document_does_not_change_the_store(self, store: Store, spec: dict[str, Any]) -> None:
        put(store, spec)["spec"]["name"] = "spoilt"
        store.get_flow("f1")["spec"]["name"] = "spoilt"
        assert store.get_flow("f1")["spec"]["name"] == spec["name"]

    def test_changing_a_put_document_does_not_change_the_store(self, store: Store, spec: dict[str, Any]) -> None:
        put(store, spec)
        spec["blocks"].clear()
        assert store.get_flow("f1")["spec"]["blocks"]

    def test_concurrent_writers_lose_nothing(self, store: Store, spec: dict[str, Any]) -> None:
        put(store, spec)
        with ThreadPoolExecutor(8) as pool:
            bodies = [{"metadata": {"attributes": {f"a{n}": "x"}}} for n in range(200)]
            list(pool.map(lambda body: store.patch_flow("f1", body), bodies))
        flow = store.get_flow("f1")
        assert len(flow["metadata"]["attributes"]) == 200
        assert flow["metadata"]["lastUpdated"] == NOW + 200
