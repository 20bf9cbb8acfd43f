"""Logs, outputs and downloads of runs over HTTP."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.unit.emulator.support import RUN, Client, FakeClock, Response
from vi_airflow_provider.emulator import Emulator

OUTPUTS = f"/runs/{RUN}/outputs?intent=sdkLocalDeploy"


class TestLogs:
    @pytest.fixture(autouse=True)
    def run(self, vi: Emulator, api: Client, body: dict[str, Any], clock: FakeClock) -> None:
        vi.plans.add(log_lines=9)
        api("PUT", f"/runs/{RUN}", body)
        clock.advance(100)

    def items(self, api: Client, query: str = "") -> list[dict[str, str]]:
        return list(api("GET", f"/runs/{RUN}/logs{query}").json["items"])

    def test_grow_with_the_run(self, vi: Emulator, api: Client, body: dict[str, Any], clock: FakeClock) -> None:
        api("PUT", "/runs/young", body)
        counts = []
        for seconds in (0, 10, 40, 1000):
            clock.advance(seconds)
            counts.append(len(api("GET", "/runs/young/logs").json["items"]))
        assert counts == [1, 3, 7, 13]

    def test_since_is_inclusive_and_until_exclusive(self, api: Client) -> None:
        items = self.items(api)
        times = [item["timestamp"] for item in items]
        assert times == sorted(times)
        assert self.items(api, f"?since={times[3]}&until={times[6]}") == items[3:6]

    def test_limit_takes_the_first_lines_of_since_or_else_the_last(self, api: Client) -> None:
        items = self.items(api)
        assert self.items(api, "?limit=2") == items[-2:]
        assert self.items(api, f"?since={items[3]['timestamp']}&limit=2") == items[3:5]
        assert self.items(api, "?limit=0") == []
        assert api("GET", f"/runs/{RUN}/logs?limit=x").status == 400

    def test_block_selects_lines(self, api: Client) -> None:
        assert {item["block"] for item in self.items(api, "?block=dataset")} == {"dataset"}
        assert self.items(api, "?block=nope") == []

    def test_have_four_shapes(self, vi: Emulator, api: Client) -> None:
        lines = [item["line"] for item in self.items(api)]
        vi.configure(log_shape="lines")
        assert self.items(api) == [{"line": line} for line in lines]
        vi.configure(log_shape="data")
        assert api("GET", f"/runs/{RUN}/logs").json == {"data": "\n".join(lines)}
        vi.configure(log_shape="text")
        response = api("GET", f"/runs/{RUN}/logs")
        assert response.headers["content-type"].startswith("text/plain")
        assert response.body.decode().split("\n") == lines

    def test_of_an_unknown_run_are_a_404(self, api: Client) -> None:
        assert api("GET", "/runs/nope/logs").status == 404


class TestOutputs:
    def start(self, vi: Emulator, api: Client, body: dict[str, Any], **plan: Any) -> None:
        vi.plans.clear()
        vi.plans.add(**plan)
        assert api("PUT", f"/runs/{RUN}", body).status == 200

    def test_appear_with_progress_over_several_pages(
        self, vi: Emulator, api: Client, body: dict[str, Any], clock: FakeClock
    ) -> None:
        self.start(vi, api, body, checkpoints=12)
        assert api("GET", OUTPUTS).json["items"] == []
        clock.advance(55)
        assert len(api("GET", OUTPUTS).json["items"]) == 6
        clock.advance(45)
        first = api("GET", OUTPUTS).json
        rest = api("GET", f"{OUTPUTS}&p={first['nextPage']}&s=10").json
        outputs = [*first["items"], *rest["items"]]
        assert (len(first["items"]), len(outputs), rest["nextPage"]) == (10, 12, None)
        assert [output["spec"]["epoch"] for output in outputs] == sorted(o["spec"]["epoch"] for o in outputs)
        assert outputs[-1]["metadata"]["timeCreated"] == clock()

    def test_metrics_improve_and_repeat(
        self, vi: Emulator, api: Client, body: dict[str, Any], clock: FakeClock
    ) -> None:
        self.start(vi, api, body, checkpoints=8)
        clock.advance(100)
        outputs = api("GET", OUTPUTS).json["items"]
        first, last = outputs[0]["spec"]["evaluationMetrics"], outputs[-1]["spec"]["evaluationMetrics"]
        assert first["validationLoss"] > last["validationLoss"] > 0
        assert first["f1"] < last["f1"] < 1
        assert api("GET", OUTPUTS).json["items"] == outputs

    def test_vendor_sdk_query_with_two_question_marks_is_read(
        self, vi: Emulator, api: Client, body: dict[str, Any], clock: FakeClock
    ) -> None:
        self.start(vi, api, body)
        clock.advance(100)
        assert len(api("GET", f"{OUTPUTS}?s=2").json["items"]) == 2
        assert api("GET", f"/runs/{RUN}/outputs").status == 400

    def test_can_have_metrics_that_are_not_finite(
        self, vi: Emulator, api: Client, body: dict[str, Any], clock: FakeClock
    ) -> None:
        self.start(vi, api, body, scenario="nan_metrics")
        clock.advance(100)
        response = api("GET", OUTPUTS)
        assert b'"validationLoss":NaN' in response.body
        assert math.isinf(response.json["items"][0]["spec"]["evaluationMetrics"]["gradientNorm"])

    @pytest.mark.parametrize("plan", [{"scenario": "no_model"}, {"checkpoints": 0}, {"scenario": "fail_at_start"}])
    def test_can_be_missing(
        self, vi: Emulator, api: Client, body: dict[str, Any], clock: FakeClock, plan: dict[str, Any]
    ) -> None:
        self.start(vi, api, body, **plan)
        clock.advance(100)
        assert api("GET", OUTPUTS).json == {"items": [], "nextPage": None, "prevPage": None}

    def test_single_output_is_a_page_or_a_document(
        self, vi: Emulator, api: Client, body: dict[str, Any], clock: FakeClock
    ) -> None:
        self.start(vi, api, body)
        clock.advance(100)
        output = api("GET", OUTPUTS).json["items"][-1]
        path = f"/runs/{RUN}/outputs/{output['runOutputId']}?intent=sdkLocalDeploy"
        assert api("GET", path).json["items"] == [output]
        vi.configure(output_shape="document")
        assert api("GET", path).json == output
        assert api("GET", f"/runs/{RUN}/outputs/nope?intent=sdkLocalDeploy").status == 404

    def get(self, api: Client, path: str) -> Response:
        return api("GET", path, headers={"Authorization": None})

    def test_download_needs_no_key_and_expires(
        self, vi: Emulator, api: Client, body: dict[str, Any], clock: FakeClock
    ) -> None:
        vi.configure(download_seconds=60, output_shape="document")
        self.start(vi, api, body)
        clock.advance(100)
        output_id = api("GET", OUTPUTS).json["items"][-1]["runOutputId"]
        output = api("GET", f"/runs/{RUN}/outputs/{output_id}?intent=sdkLocalDeploy&contents=y").json
        download = output["status"]["contents"]["downloadUrl"]
        assert download["expiresAt"] == clock() + 60_000
        path = "/" + download["url"].removeprefix(vi.url)
        assert self.get(api, path).body.startswith(b"weights of ")
        forged = path[:-1] + ("0" if path[-1] != "0" else "1")
        clock.advance(59)
        assert [self.get(api, other).status for other in (path, forged, path.partition("?")[0])] == [200, 403, 403]
        assert api("GET", path).status == 400
        clock.advance(1)
        assert self.get(api, path).status == 403
        log = json.dumps([request.to_json() for request in vi.requests])
        assert path.rpartition("=")[2] not in log
        assert "signature=<signature>" in log
