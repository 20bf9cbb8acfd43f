"""Runs over HTTP: plans, kills, the bill, repeated starts, and what surrounds them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.unit.emulator.support import RUN, Client, FakeClock
from vi_airflow_provider.emulator import Emulator


class TestPlans:
    def test_first_matching_plan_is_given(self, vi: Emulator, api: Client, body: dict[str, Any]) -> None:
        vi.plans.add(run="^other", scenario="stuck_queued")
        active = vi.plans.add(scenario="fail_at_start", vocabulary="product", order="oldest_first", times=1)
        api("PUT", "/runs/r1", body)
        api("PUT", "/runs/r2", body)
        vi.advance(10)
        conditions = [[c["condition"] for c in api("GET", f"/runs/{id_}").json["status"]["conditions"]]
                      for id_ in ("r1", "r2")]  # fmt: skip
        assert conditions == [["Queued", "Failed"], ["Finished", "Started", "Queued"]]
        assert active.given == 1

    def test_plan_can_be_chosen_by_the_name_of_the_flow(self, vi: Emulator, api: Client, body: dict[str, Any]) -> None:
        vi.plans.add(run="Schweißnaht", scenario="fail_at_start")
        api("PUT", "/runs/r1", body)
        vi.advance(10)
        assert "FailedReach" in api("GET", "/runs/r1").body.decode()

    def test_plan_can_set_the_times(self, vi: Emulator, api: Client, body: dict[str, Any]) -> None:
        vi.plans.add(queue_seconds=50, run_seconds=60)
        api("PUT", "/runs/r1", body)
        vi.advance(60)
        assert vi.bill()["r1"]["seconds"] == 10

    def test_control_api_adds_lists_and_clears(self, vi: Emulator, api: Client, body: dict[str, Any]) -> None:
        rule = {"scenario": "slow_kill", "vocabulary": "sdk_page", "times": 2, "run": "r"}
        added = api("POST", "//_emulator/plans", rule)
        assert (added.status, added.json["rule"]) == (201, rule)
        api("PUT", "/runs/r1", body)
        assert api("GET", "//_emulator/plans").json == {"plans": [{**added.json, "given": 1}]}
        assert api("DELETE", "//_emulator/plans").status == 204
        assert api("GET", "//_emulator/plans").json == {"plans": []}

    @pytest.mark.parametrize("rule", [{"scenario": "x"}, {"run": "("}, {"times": 0}, {"vocabulary": None}, {"x": 1}])
    def test_control_api_refuses_invalid_plans(self, api: Client, rule: dict[str, Any]) -> None:
        assert api("POST", "//_emulator/plans", rule).status == 400


class TestKill:
    def kill(self, api: Client, at: int) -> int:
        return api("PATCH", "/runs/r1", {"spec": {"killedAt": at}}).status

    def test_slow_kill_blocks_deletion_until_it_takes_effect(
        self, vi: Emulator, api: Client, clock: FakeClock, body: dict[str, Any]
    ) -> None:
        vi.plans.add(scenario="slow_kill")
        api("PUT", "/runs/r1", body)
        clock.advance(20)
        assert self.kill(api, clock()) == 200
        assert api("DELETE", "/runs/r1").status == 409
        assert self.kill(api, clock()) == 200
        clock.advance(50)
        assert self.kill(api, clock()) == 409
        assert api("DELETE", "/runs/r1").status == 204

    def test_kill_that_races_the_finish_succeeds_the_run(
        self, vi: Emulator, api: Client, clock: FakeClock, body: dict[str, Any]
    ) -> None:
        vi.plans.add(scenario="kill_races_finish", vocabulary="product")
        api("PUT", "/runs/r1", body)
        clock.advance(20)
        assert self.kill(api, clock()) == 200
        run = api("GET", "/runs/r1").json
        assert run["spec"]["killedAt"] == clock()
        assert run["status"]["conditions"][0]["condition"] == "Completed"
        assert self.kill(api, clock()) == 409

    @pytest.mark.parametrize("skew", [-3_600_000, 3_600_000])
    def test_client_clock_is_stored_but_does_not_move_the_kill(
        self, vi: Emulator, api: Client, clock: FakeClock, body: dict[str, Any], skew: int
    ) -> None:
        api("PUT", "/runs/r1", body)
        clock.advance(20)
        assert self.kill(api, clock() + skew) == 200
        run = api("GET", "/runs/r1").json
        assert run["spec"]["killedAt"] == clock() + skew
        assert run["status"]["conditions"][0]["lastTransitionTime"] == clock()

    def test_kill_by_a_person_shows_in_the_spec(
        self, vi: Emulator, api: Client, clock: FakeClock, body: dict[str, Any]
    ) -> None:
        vi.plans.add(scenario="killed_by_person")
        api("PUT", "/runs/r1", body)
        assert api("GET", "/runs/r1").json["spec"].get("killedAt") is None
        clock.advance(60)
        run = api("GET", "/runs/r1").json
        assert run["spec"]["killedAt"] == run["metadata"]["timeCreated"] + 55_000
        assert self.kill(api, clock()) == 409

    def test_vanished_run_is_a_404_and_not_listed(
        self, vi: Emulator, api: Client, clock: FakeClock, body: dict[str, Any]
    ) -> None:
        vi.plans.add(scenario="vanish")
        api("PUT", "/runs/r1", body)
        assert api("GET", "/runs/r1").status == 200
        clock.advance(60)
        assert api("GET", "/runs").json["items"] == []
        assert api("GET", "/runs/r1").status == 404
        assert self.kill(api, clock()) == 404
        assert vi.bill()["r1"]["starts"] == 1

    @pytest.mark.parametrize("look", ["bill", "busy", "ids", "project", "delete flow", "put"])
    def test_run_vanishes_whether_or_not_it_is_read(
        self, vi: Emulator, api: Client, clock: FakeClock, spec: dict[str, Any], look: str
    ) -> None:
        (project,) = [each["trainingProjectId"] for each in api("GET", "/trainingProjects").json["items"]][:1]
        body = {"spec": {"flow": spec, "trainingProject": project}}
        api("PUT", "/flows/f1", {"spec": spec})
        vi.plans.add(scenario="vanish", times=1)
        api("PUT", "/runs/r1", body)
        assert vi.store.busy_flow_ids() == ["f1"]
        assert api("GET", f"/trainingProjects/{project}").json["status"]["runs"] == ["r1"]
        clock.advance(80)  # it has trained from second 10 to second 55
        match look:
            case "bill":
                assert vi.bill()["r1"]["seconds"] == 45
            case "busy":
                assert vi.store.busy_flow_ids() == []
            case "ids":
                assert vi.store.run_ids() == []
            case "project":
                assert api("GET", f"/trainingProjects/{project}").json["status"]["runs"] == []
            case "delete flow":
                assert api("DELETE", "/flows/f1").status == 204
            case "put":
                assert api("PUT", "/runs/r1", body).status == 200
                assert api("GET", "/runs/r1").status == 200
                assert vi.bill()["r1"]["starts"] == 2
        assert vi.bill()["r1"]["seconds"] == 45


class TestPutOnExisting:
    @pytest.mark.parametrize(("mode", "status", "starts", "seconds"), [
        ("replace", 200, 1, 50), ("restart", 200, 2, 60), ("refuse", 409, 1, 50),
    ])  # fmt: skip
    def test_bill_shows_whether_a_second_put_costs(
        self, vi: Emulator, api: Client, clock: FakeClock, body: dict[str, Any],
        mode: Any, status: int, starts: int, seconds: int,
    ) -> None:  # fmt: skip
        vi.configure(put_on_existing=mode)
        api("PUT", "/runs/r1", body)
        clock.advance(30)
        assert api("PUT", "/runs/r1", body).status == status
        clock.advance(30 if mode != "restart" else 50)
        bill = api("GET", "//_emulator/bill").json["runs"]["r1"]
        assert (bill["starts"], bill["seconds"]) == (starts, seconds)
        assert len(bill["puts"]) == (1 if mode == "refuse" else 2)

    def test_lost_put_is_billed(self, vi: Emulator, api: Client, body: dict[str, Any]) -> None:
        vi.faults.add(method="PUT", status=502, when="after")
        assert api("PUT", "/runs/r1", body).status == 502
        assert vi.bill()["r1"]["starts"] == 1

    def test_deleted_run_stays_on_the_bill(
        self, vi: Emulator, api: Client, clock: FakeClock, body: dict[str, Any]
    ) -> None:
        api("PUT", "/runs/r1", body)
        clock.advance(1000)
        api("DELETE", "/runs/r1")
        assert vi.bill()["r1"]["seconds"] == 90

    def test_only_uuid4_ids_can_be_required(self, vi: Emulator, api: Client, body: dict[str, Any]) -> None:
        vi.configure(run_ids="uuid4")
        assert api("PUT", f"/runs/{RUN}", body).status == 200
        assert api("PUT", "/runs/r1", body).status == 400
        assert api("PUT", f"/runs/{uuid.uuid5(uuid.NAMESPACE_URL, 'x')}", body).status == 400


class TestSurroundings:
    def test_quota_falls_with_the_bill(self, vi: Emulator, api: Client, body: dict[str, Any], clock: FakeClock) -> None:
        assert api("GET", "/quota").json["trainingCredits"] == {"granted": 1000.0, "used": 0, "balance": 1000.0}
        api("PUT", "/runs/r1", body)
        clock.advance(46)
        assert api("GET", "/quota").json["trainingCredits"]["used"] == 0.01

    def test_accelerators_depend_on_the_size_of_the_model(self, vi: Emulator, api: Client) -> None:
        vi.reset(flows=1)
        (flow_id,) = vi.store.flow_ids()
        spec = vi.store.get_flow(flow_id)["spec"]
        spec["blocks"][-1]["settings"]["architecture"]["size"] = "72B"
        listed = api("GET", f"/flows/{flow_id}/accelerators").json
        preview = api("POST", f"/flows/{flow_id}/accelerators", {"spec": spec}).json
        assert listed["kind"] == preview["kind"] == "FlowAcceleratorList"
        assert preview["items"][0]["configurations"][0]["action"] == "Deny"
        assert any(c["action"] == "Allow" for item in listed["items"] for c in item["configurations"])
        assert api("GET", "/flows/nope/accelerators").status == 404
        assert api("POST", f"/flows/{flow_id}/accelerators", {"spec": {}}).status == 400

    def test_training_project_life_cycle(self, api: Client, body: dict[str, Any]) -> None:
        project = {"spec": {"name": "Pallets", "type": "vqa"}, "metadata": {"attributes": {"a": "b"}}}
        created = api("PUT", "/trainingProjects/p1", project).json
        assert created["spec"] == project["spec"]
        api("PUT", "/runs/r1", {"spec": {**body["spec"], "trainingProject": "p1"}})
        assert api("GET", "/trainingProjects/p1").json["status"]["runs"] == ["r1"]
        assert api("PATCH", "/trainingProjects/p1", {"spec": {"description": "d"}}).json["spec"]["description"] == "d"
        assert api("PATCH", "/trainingProjects/p1", {"spec": {"type": "freeform"}}).status == 400
        changed = {"spec": {"name": "Pallets", "type": "freeform"}}
        assert api("PUT", "/trainingProjects/p1", changed).status == 400
        assert api("PUT", "/trainingProjects/p2", {"spec": {"name": "x", "type": "video"}}).status == 400
        assert "p1" in {item["trainingProjectId"] for item in api("GET", "/trainingProjects?s=50").json["items"]}
        assert api("DELETE", "/trainingProjects/p1").status == 204
        assert api("GET", "/trainingProjects/p1").status == 404

    @pytest.mark.parametrize(
        ("id_", "name", "kinds"),
        [
            ("new", "New", []),
            ("weld-inspection", "New", ["IdConflict"]),
            ("new", "Weld seam defects", ["NameConflict"]),
        ],
    )
    def test_dry_run_reports_conflicts(self, vi: Emulator, api: Client, id_: str, name: str, kinds: list[str]) -> None:
        path = f"//dryRuns/workspaces/{vi.organization_id}/trainingProjects"
        response = api("POST", path, {"trainingProjectId": id_, "spec": {"name": name}})
        assert [error["kind"] for error in response.json["errors"]] == kinds

    def test_statistics_exist_for_existing_resources(self, vi: Emulator, api: Client) -> None:
        vi.reset(flows=1)
        (flow_id,) = vi.store.flow_ids()
        assert api("GET", f"/flows/{flow_id}/aggregationStatistics").json == {}
        assert api("POST", f"/flows/{flow_id}/aggregationStatistics:generate").status == 200
        assert api("GET", "/trainingProjects/weld-inspection/aggregationInsights").json == {}
        assert api("GET", "/flows/nope/aggregationStatistics").status == 404

    def test_clock_moves_over_the_control_api(self, api: Client, body: dict[str, Any], clock: FakeClock) -> None:
        api("PUT", "/runs/r1", body)
        assert api("POST", "//_emulator/clock", {"advance_seconds": 100}).json == {"now": clock() + 100_000}
        assert api("GET", "/runs/r1").json["status"]["conditions"][0]["status"] == "Reached"
        assert api("POST", "//_emulator/clock", {"advance_seconds": -1}).status == 400


@pytest.mark.parametrize("seed", [0, 1])
def test_sample_runs_have_ended_and_vary(client: Client, emulator: Emulator, seed: int) -> None:
    emulator.reset(flows=20, runs=50, seed=seed)
    runs = [run for page in client.pages("/runs", size=20) for run in page["items"]]
    assert len(runs) == 52
    ended = [run for run in runs if run["status"]["conditions"][0]["status"] in ("Reached", "FailedReach")]
    statuses = {condition["status"] for run in ended for condition in run["status"]["conditions"]}
    assert statuses >= {"Reached", "FailedReach"}
    assert emulator.bill() == {}
    again = [run["runId"] for run in runs]
    emulator.reset(flows=20, runs=50, seed=seed)
    assert {run["runId"] for run in client("GET", "/runs?s=100").json["items"]} == set(again)


def test_run_page_shows_conditions_and_metrics(client: Client, emulator: Emulator) -> None:
    emulator.reset(flows=20, runs=3)
    for run_id in emulator.store.run_ids():
        html = client("GET", f"//org/{emulator.organization_id}/runs/{run_id}").body.decode()
        assert "Conditions" in html
        assert run_id in client("GET", f"//org/{emulator.organization_id}").body.decode()
