"""The vendor's SDK drives the emulator: the closest evidence of the real wire that is available."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest

from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.store.behaviour import LogShape
from vi_airflow_provider.emulator.store.lifecycle import ConditionOrder, Scenario, Vocabulary

SPEC = {
    "name": "Weld seam defects",
    "schema": "v1",
    "tolerations": {"spot": ["preemption"]},
    "settings": {"seed": 7},
    "blocks": [{"block": "vlm-model", "settings": {"architecture": {"name": "qwen3vl"}}, "style": {"x": 1}}],
    "trainingProject": "weld-inspection",
}


def statuses(emulator: Emulator) -> list[int | None]:
    return [request.status for request in emulator.requests]


class TestListing:
    def test_reads_all_pages_in_order(self, client: Any, vi_emulator: Emulator) -> None:
        pages = [[flow.flow_id for flow in page.items] for page in client.flows.list()]
        assert [len(page) for page in pages] == [10, 10, 10, 10]
        assert [flow_id for page in pages for flow_id in page] == vi_emulator.store.flow_ids()
        assert all(request.params["s"] == "10" for request in vi_emulator.requests)

    @pytest.mark.vi_emulator(flows=25, page_cap=4)
    def test_accepts_pages_smaller_than_requested(self, client: Any, vi_emulator: Emulator) -> None:
        flows = client.flows.list({"page_size": 1000}).all_items()
        assert [flow.flow_id for flow in flows] == vi_emulator.store.flow_ids()

    def test_reads_every_field(self, client: Any, vi_emulator: Emulator) -> None:
        for flow in client.flows.list({"page_size": 1000}).items:
            truth = vi_emulator.store.get_flow(flow.flow_id)
            assert flow.organization_id == truth["workspaceId"]
            assert (flow.self_link, flow.etag) == (truth["selfLink"], truth["etag"])
            assert flow.metadata.time_created == truth["metadata"]["timeCreated"]
            assert flow.metadata.last_updated == truth["metadata"]["lastUpdated"]
            assert flow.metadata.generation == truth["metadata"]["generation"]
            assert flow.metadata.attributes == truth["metadata"]["attributes"]
            assert flow.spec.name == truth["spec"]["name"]
            assert flow.spec.training_project == truth["spec"]["trainingProject"]
            assert [
                {"block": block.block, "settings": block.settings, "style": block.style} for block in flow.spec.blocks
            ] == truth["spec"]["blocks"]

    def test_has_a_simple_form(self, client: Any, vi_emulator: Emulator) -> None:
        items = client.flows.list_simple().all_items()
        store = vi_emulator.store
        assert list(items) == [{"flowId": i, "name": store.get_flow(i)["spec"]["name"]} for i in store.flow_ids()]

    def test_skips_empty_pages(self, client: Any, vi_emulator: Emulator) -> None:
        vi_emulator.faults.add(empty_page=True, skip=1, times=2)
        assert [flow.flow_id for flow in client.flows.list().all_items()] == vi_emulator.store.flow_ids()

    def test_stops_on_a_repeated_cursor(self, client: Any, vi_emulator: Emulator) -> None:
        vi_emulator.faults.add(repeat_cursor=True, times=None)
        with pytest.raises(Exception, match="duplicate next_page token"):
            list(client.flows.list().all_items())

    def test_of_runs_decodes_sample_runs(self, client: Any, vi_emulator: Emulator) -> None:
        runs = client.runs.list().items
        assert {run.metadata.attributes["vi_airflow.flow_id"] for run in runs} == set(vi_emulator.store.busy_flow_ids())
        assert [run["runId"] for run in client.runs.list_simple().items] == [run.run_id for run in runs]


class TestFlows:
    def test_are_created_read_updated_replaced_and_deleted(self, client: Any, vi_emulator: Emulator) -> None:
        created = client.flows.create(spec=SPEC, metadata={"team": "line-3", "stage": "x"})
        flow_id = created.flow_id
        assert vi_emulator.store.get_flow(flow_id)["spec"] == SPEC
        assert client.flows.get(flow_id) == created

        updated = client.flows.update(flow_id, spec={"name": "renamed"}, metadata={"stage": "production"})
        assert (updated.spec.name, updated.metadata.generation) == ("renamed", 2)
        assert updated.metadata.attributes == {"team": "line-3", "stage": "production"}
        assert updated.etag != created.etag

        replaced = client.flows.replace(flow_id, spec=SPEC, metadata={"owner": "amara"})
        assert replaced.spec == created.spec
        assert replaced.metadata.attributes == {"owner": "amara"}
        assert replaced.metadata.time_created == created.metadata.time_created

        assert client.flows.delete(flow_id).deleted
        assert flow_id not in vi_emulator.store.flow_ids()
        assert statuses(vi_emulator) == [200, 200, 200, 200, 204]

    def test_can_be_created_from_a_spec_that_was_read(self, client: Any, vi_emulator: Emulator) -> None:
        flow = client.flows.get(vi_emulator.store.flow_ids()[0])
        copy = client.flows.create(spec=flow.spec)
        assert copy.spec == flow.spec


class TestErrors:
    @pytest.mark.parametrize("verb", ["get", "delete", "update"])
    def test_of_an_unknown_flow_are_not_found(self, sdk: Any, client: Any, verb: str) -> None:
        with pytest.raises(sdk.ViNotFoundError, match="Flow nope not found") as caught:
            getattr(client.flows, verb)("nope")
        assert caught.value.status_code == 404
        assert caught.value.trace_id

    @pytest.mark.parametrize(
        ("changes", "status"), [({"secret_key": "dtvi_" + "x" * 98}, 401), ({"organization_id": "somebody-else"}, 403)]
    )
    def test_of_foreign_credentials_are_authentication_errors(
        self, sdk: Any, client_of: Any, changes: dict[str, str], status: int
    ) -> None:
        with pytest.raises(sdk.ViAuthenticationError) as caught:
            client_of(**changes).flows.list()
        assert caught.value.status_code == status

    def test_of_a_busy_flow_are_conflicts(self, sdk: Any, client: Any, vi_emulator: Emulator) -> None:
        busy = vi_emulator.store.busy_flow_ids()[0]
        with pytest.raises(sdk.ViConflictError):
            client.flows.delete(busy)
        assert statuses(vi_emulator) == [409]

    @pytest.mark.parametrize(
        "call",
        [
            lambda flows: flows.create(spec={"name": "no more"}),
            lambda flows: flows.update("f1", spec={"training_project": "snake"}),
            lambda flows: flows.list({"page_token": "https://elsewhere/flows?p=2"}),
        ],
    )
    def test_of_a_wrong_request_are_validation_errors(
        self, sdk: Any, client: Any, call: Callable[[Any], object]
    ) -> None:
        with pytest.raises(sdk.ViValidationError):
            call(client.flows)

    def test_that_are_transient_are_retried(self, client: Any, vi_emulator: Emulator) -> None:
        vi_emulator.faults.add(status=429, retry_after="0", times=2)
        vi_emulator.faults.add(status=503)
        vi_emulator.faults.add(drop=True)
        assert len(client.flows.list().items) == 10
        assert statuses(vi_emulator) == [429, 429, 503, None, 200]

    def test_of_a_retried_delete_after_a_lost_response_is_not_found(
        self, sdk: Any, client: Any, vi_emulator: Emulator
    ) -> None:
        flow_id = vi_emulator.store.flow_ids()[-1]
        vi_emulator.faults.add(method="DELETE", drop=True, when="after")
        with pytest.raises(sdk.ViNotFoundError):
            client.flows.delete(flow_id)
        assert flow_id not in vi_emulator.store.flow_ids()


class TestRuns:
    def test_are_started_killed_and_deleted(self, sdk: Any, client: Any, vi_emulator: Emulator) -> None:
        flow = client.flows.create(spec=SPEC)
        run = client.runs.create(flow.spec, training_project="weld-inspection", metadata={"team": "line-3"})
        assert client.runs.get(run.run_id).spec == run.spec
        assert run.spec.flow == flow.spec
        with pytest.raises(sdk.ViConflictError):
            client.flows.delete(flow.flow_id)
        with pytest.raises(sdk.ViConflictError):
            client.runs.delete(run.run_id)

        killed = client.runs.kill(run.run_id)
        assert killed.spec.killed_at is not None
        assert killed.status.conditions[0].status.value == "FailedReach"
        with pytest.raises(sdk.ViConflictError):
            client.runs.kill(run.run_id)
        client.flows.delete(flow.flow_id)
        assert client.runs.delete(run.run_id).deleted

    @pytest.mark.vi_emulator(flows=0, run_seconds=0.001)
    def test_reach_every_milestone_in_the_end(self, client: Any) -> None:
        run = client.runs.create(SPEC)
        while any(condition.status.value != "Reached" for condition in run.status.conditions):
            run = client.runs.get(run.run_id)

    def test_are_updated_but_not_their_flow(self, sdk: Any, client: Any, vi_emulator: Emulator) -> None:
        run = client.runs.create(SPEC)
        assert client.runs.update(run.run_id, spec={"trainingProject": "p"}).spec.training_project == "p"
        with pytest.raises(sdk.ViValidationError):
            client.runs.update(run.run_id, spec={"flow": SPEC})


def test_the_organization_document_decodes(client: Any, vi_emulator: Emulator) -> None:
    assert client.organizations.get().organization_id == vi_emulator.organization_id


class TestRunResults:
    @pytest.fixture
    def run_id(self, client: Any, vi_emulator: Emulator) -> str:
        """A run that has ended, with twelve checkpoints."""
        vi_emulator.plans.add(checkpoints=12, log_lines=5)
        run_id = str(client.runs.create(SPEC).run_id)
        vi_emulator.advance(3600)
        return run_id

    def test_models_are_listed_over_pages(self, client: Any, vi_emulator: Emulator, run_id: str) -> None:
        models = list(client.models.list(run_id).all_items())
        expected = vi_emulator.store.outputs.of(run_id)
        assert [model.model_id for model in models] == [output["runOutputId"] for output in expected]
        assert [model.spec.evaluation_metrics for model in models] == [
            output["spec"]["evaluationMetrics"] for output in expected
        ]

    def test_latest_model_of_the_sdk_is_the_last_of_page_one(
        self, client: Any, vi_emulator: Emulator, run_id: str
    ) -> None:
        """A defect of the SDK: it reads only the first page."""
        tenth = vi_emulator.store.outputs.of(run_id)[9]
        assert client.models.get(run_id).model_id == tenth["runOutputId"]

    def test_model_has_a_download_on_request(self, client: Any, vi_emulator: Emulator, run_id: str) -> None:
        output_id = vi_emulator.store.outputs.of(run_id)[-1]["runOutputId"]
        assert client.models.get(run_id, output_id).status.contents is None
        contents = client.models.get(run_id, output_id, contents=True).status.contents
        assert contents.download_url.url.startswith(f"{vi_emulator.url}/downloads/{run_id}/{output_id}?")

    def test_document_shape_is_not_understood_by_the_sdk(
        self, sdk: Any, client: Any, vi_emulator: Emulator, run_id: str
    ) -> None:
        """A defect of the SDK: it expects a page."""
        vi_emulator.configure(output_shape="document")
        with pytest.raises(sdk.ViOperationError, match="No models found"):
            client.models.get(run_id, vi_emulator.store.outputs.of(run_id)[-1]["runOutputId"])

    @pytest.mark.parametrize(
        ("shape", "key"), [("items", "items"), ("lines", "items"), ("data", "data"), ("text", "data")]
    )
    def test_logs_are_read_in_every_shape(
        self, client: Any, vi_emulator: Emulator, run_id: str, shape: LogShape, key: str
    ) -> None:
        vi_emulator.configure(log_shape=shape)
        assert client.runs.get_logs(run_id)[key]

    @pytest.mark.parametrize("vocabulary", get_args(Vocabulary))
    @pytest.mark.parametrize("order", get_args(ConditionOrder))
    @pytest.mark.parametrize("scenario", sorted(set(get_args(Scenario)) - {"unknown_status", "vanish"}))
    def test_conditions_of_every_scenario_decode(
        self, client: Any, vi_emulator: Emulator, scenario: Scenario, vocabulary: Vocabulary, order: ConditionOrder
    ) -> None:
        vi_emulator.plans.add(scenario=scenario, vocabulary=vocabulary, order=order)
        run = client.runs.create(SPEC)
        vi_emulator.advance(3600)
        assert client.runs.get(run.run_id).status.conditions


class TestTrainingProjects:
    def test_are_created_listed_updated_and_deleted(self, client: Any, vi_emulator: Emulator) -> None:
        projects = client.training_projects
        created = projects.create({"name": "Pallets", "type": "vqa"}, metadata={"team": "dock"})
        id_ = created.training_project_id
        run = client.runs.create(SPEC, training_project=id_)
        assert projects.get(id_).status.runs == [run.run_id]
        assert projects.update(id_, spec={"description": "by the dock"}).spec.description == "by the dock"
        assert id_ in {project.training_project_id for project in projects.list().all_items()}
        assert [error.kind for error in projects.dry_run_create(id_, "Pallets").errors] == [
            "IdConflict",
            "NameConflict",
        ]
        assert projects.delete(id_).deleted

    def test_flow_has_accelerators(self, client: Any, vi_emulator: Emulator) -> None:
        flow_id = vi_emulator.store.flow_ids()[0]
        listed = client.flows.get_accelerators(flow_id)
        assert {item.accelerator.training_accelerator_id for item in listed.items} == {
            "t4",
            "l4",
            "a10g",
            "a100",
            "h100",
        }

    def test_quota_is_read(self, client: Any, vi_emulator: Emulator) -> None:
        assert client.organizations.get_quota() == vi_emulator.store.quota()
