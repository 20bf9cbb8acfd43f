"""Reads of runs, checkpoints and logs: what is requested, and what a response may be.

The server is a function from a request to an outcome, and the protocol is driven without a client: a client adds
nothing to these decisions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import (
    FLOW_ID,
    RUN_ID,
    wire_page,
    wire_run,
    wire_run_output,
    wire_spec,
)
from tests.unit.api.run_driver import ENDED, RUNS, Driver, ok
from vi_airflow_provider.api.errors import ViResponseError, ViValidationError
from vi_airflow_provider.api.models import RunState
from vi_airflow_provider.api.protocol.messages import Outcome, Request, Response
from vi_airflow_provider.api.verbs import ViProtocol

# --- reads ---------------------------------------------------------------------------------------------------------


CALLS_WITH_ID: Final[dict[str, Callable[[ViProtocol, Any], Any]]] = {
    "get": lambda p, x: p.get_run(x),
    "start": lambda p, x: p.start_run(wire_spec(), run_id=x),
    "update": lambda p, x: p.update_run(x, attributes={}),
    "kill": lambda p, x: p.kill_run(x),
    "delete": lambda p, x: p.delete_run(x),
    "logs": lambda p, x: p.get_run_logs(x),
    "outputs": lambda p, x: p.list_run_outputs(x).next_page(),
    "output": lambda p, x: p.get_run_output(RUN_ID, x),
    "project": lambda p, x: p.get_training_project(x),
    "accelerators": lambda p, x: p.list_accelerators(x),
    "statistics": lambda p, x: p.get_flow_statistics(x),
    "start in a project": lambda p, x: p.start_run(wire_spec(), run_id=RUN_ID, training_project=x),
}


@pytest.mark.parametrize("name", CALLS_WITH_ID)
@pytest.mark.parametrize("bad", ["", "../x", "a/b", "a\n", "a?x=1", 5, None])
def test_bad_id_is_refused_before_any_request(name: str, bad: Any) -> None:
    if name == "start in a project" and bad is None:
        return
    driver = Driver(lambda _: Response(500))
    with pytest.raises(ViValidationError):
        driver.run(CALLS_WITH_ID[name](driver.calls, bad))
    assert driver.sent == []


@pytest.mark.parametrize("change", [{"runId": "another"}, {"workspaceId": "another"}], ids=["run", "organization"])
def test_response_about_something_else_is_refused(change: dict[str, Any]) -> None:
    driver = Driver(lambda _: ok(wire_run(**change)))
    with pytest.raises(ViResponseError, match="'another'"):
        driver.run(driver.calls.get_run(RUN_ID))


def test_listing_refuses_a_run_of_another_organization() -> None:
    driver = Driver(lambda _: ok(wire_page(wire_run(workspaceId="another"))))
    with pytest.raises(ViResponseError, match="'another'"):
        driver.all(driver.calls.list_runs())


def test_page_without_items_is_an_error() -> None:
    driver = Driver(lambda _: ok({"error": "x"}))
    for listing in (driver.calls.list_runs(), driver.calls.list_run_outputs(RUN_ID), driver.calls.list_simple_runs()):
        with pytest.raises(ViResponseError):
            driver.all(listing)


@given(st.booleans(), st.booleans())
def test_listed_run_equals_the_one_that_is_read_alone(unknown: bool, killed: bool) -> None:
    wire = wire_run(spec__killedAt=5 if killed else None)
    if unknown:
        wire["spec"]["priority"] = wire["status"]["node"] = wire["status"]["conditions"][0]["hint"] = {"x": [1]}
    driver = Driver(lambda request: ok(wire_page(wire) if "?" in request.path else wire))
    (listed,) = driver.all(driver.calls.list_runs())
    read = driver.run(driver.calls.get_run(RUN_ID))
    assert listed.state is read.state  # before more of it is decoded
    assert listed.to_wire() == wire
    assert listed == read
    assert repr(listed) == repr(read)


def test_found_runs_match_and_come_newest_first() -> None:
    runs = [
        wire_run(runId="old", metadata__timeCreated=1, metadata__attributes={"vi_airflow.flow_id": FLOW_ID}),
        wire_run(runId="new", metadata__timeCreated=3, metadata__attributes={"vi_airflow.flow_id": FLOW_ID}),
        wire_run(runId="new", metadata__timeCreated=3, metadata__attributes={"vi_airflow.flow_id": FLOW_ID}),
        wire_run(runId="ended", metadata__timeCreated=2, status__conditions=ENDED),
        wire_run(runId="foreign", metadata__timeCreated=4, metadata__attributes={}),
    ]
    driver = Driver(lambda _: ok(wire_page(*runs)))

    def found(**wanted: Any) -> list[str]:
        return [run.run_id for run in driver.run(driver.calls.find_runs(**wanted))]

    assert found() == ["foreign", "new", "ended", "old"]
    assert found(flow_id=FLOW_ID) == ["new", "ended", "old"]
    assert found(flow_id=FLOW_ID, state="running") == ["new", "old"]
    assert found(state=[RunState.SUCCEEDED, "killed"]) == ["ended"]
    assert found(training_project="elsewhere") == []
    with pytest.raises(ViValidationError, match="'paused'"):
        found(state="paused")


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_checkpoints_of_all_pages_are_read_with_metrics_that_json_does_not_know() -> None:
    pages = {
        None: wire_page(wire_run_output(runOutputId="a"), nextPage="two"),
        "two": wire_page(wire_run_output(runOutputId="b", spec__evaluationMetrics={"loss": float("nan")})),
    }

    def server(request: Request) -> Outcome:
        query = parse_qs(urlsplit(request.path).query)
        assert query["intent"] == ["sdkLocalDeploy"]
        return ok(pages[query.get("p", [None])[0]])

    driver = Driver(server)
    first, second = driver.all(driver.calls.list_run_outputs(RUN_ID))
    assert (first.run_output_id, second.run_output_id, second.non_finite_metrics) == ("a", "b", ["loss"])


@pytest.mark.parametrize("wrapped", [False, True], ids=["document", "page of one"])
def test_checkpoint_comes_as_a_document_or_as_a_page_of_one(wrapped: bool) -> None:
    output = wire_run_output(status__contents={"downloadUrl": {"url": "https://s.example/?sig=1", "expiresAt": 5}})
    driver = Driver(lambda _: ok(wire_page(output) if wrapped else output))
    read = driver.run(driver.calls.get_run_output(RUN_ID, "ckpt-40", contents=True))
    assert read.run_output_id == "ckpt-40"
    assert driver.sent[0].path == f"{RUNS}/{RUN_ID}/outputs/ckpt-40?intent=sdkLocalDeploy&contents=y"


@pytest.mark.parametrize(
    "page", [wire_page(), wire_page(wire_run_output(runOutputId="ckpt-10")), wire_page(*[wire_run_output()] * 2)]
)
def test_page_without_exactly_the_requested_checkpoint_is_refused(page: Any) -> None:
    driver = Driver(lambda _: ok(page))
    with pytest.raises(ViResponseError, match="checkpoints of this id"):
        driver.run(driver.calls.get_run_output(RUN_ID, "ckpt-40"))


def test_checkpoint_of_another_run_is_refused() -> None:
    driver = Driver(lambda _: ok(wire_run_output(runId="another")))
    with pytest.raises(ViResponseError, match="'another'"):
        driver.run(driver.calls.get_run_output(RUN_ID, "ckpt-40"))


# --- logs ----------------------------------------------------------------------------------------------------------


JSON_TYPE: Final = {"content-type": "application/json; charset=utf-8"}


@pytest.mark.parametrize(
    ("response", "lines"),
    [
        (Response(200, JSON_TYPE, b'{"items":[{"line":"a","timestamp":5},{"line":"b"}]}'), ["a", "b"]),
        (Response(200, JSON_TYPE, b'{"data":"a\\nb"}'), ["a", "b"]),
        (Response(200, JSON_TYPE, b'["a","b"]'), ["a", "b"]),
        (Response(200, JSON_TYPE, b'{"items":[]}'), []),
        (Response(200, JSON_TYPE, b'{"items":[{"message":"a"},{"other":1}]}'), ["a", '{"other": 1}']),
        (Response(200, {"content-type": "text/plain"}, b"a\nb\xff\n"), ["a", "b\N{REPLACEMENT CHARACTER}"]),
        (Response(200, {"content-type": "text/plain"}, b""), []),
    ],
)
def test_logs_of_every_known_shape_are_lines(response: Response, lines: list[str]) -> None:
    driver = Driver(lambda _: response)
    logs = driver.run(driver.calls.get_run_logs(RUN_ID, since="5", limit=10))
    assert [item.line for item in logs.lines] == lines
    assert driver.sent[0].path.endswith("/logs?since=5&limit=10")


def test_what_a_server_sends_beside_a_line_is_kept() -> None:
    driver = Driver(lambda _: Response(200, JSON_TYPE, b'{"items":[{"line":"a","cursor":"x/1"}]}'))
    (line,) = driver.run(driver.calls.get_run_logs(RUN_ID)).lines
    assert line.model_dump() == {"line": "a", "cursor": "x/1"}


def test_web_page_is_no_log() -> None:
    driver = Driver(lambda _: Response(200, {"content-type": "text/html"}, b"<html>Sign in</html>"))
    with pytest.raises(ViResponseError, match="web page"):
        driver.run(driver.calls.get_run_logs(RUN_ID))


def test_part_of_a_listed_run_is_made_when_it_is_read() -> None:
    """Listings of thousands are read for one of their parts, and making each takes as long as checking the run."""
    driver = Driver(lambda _: ok(wire_page(wire_run())))
    (run,) = driver.all(driver.calls.list_runs())
    assert not vars(run).keys() & {"spec", "status", "metadata"}
    assert run.metadata.time_created == wire_run()["metadata"]["timeCreated"]
    assert not vars(run).keys() & {"spec", "status"}
    assert "flow" not in vars(run.spec)
    assert run.to_wire() == wire_run()
    assert list(vars(run)) == list(type(run).model_fields)
