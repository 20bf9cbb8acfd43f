"""What each call for flows, runs and what runs produce sends, and what it makes of the response.

The server is a function from a request to an outcome, as in ``test_run_reads``. Retries and writes that depend on a
read have tests of their own.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.documents import (
    ABSENT,
    FLOW_ID,
    RUN_ID,
    wire_flow,
    wire_page,
    wire_run,
    wire_run_output,
    wire_spec,
)
from tests.unit.api.request_cases import (
    ATTRIBUTES,
    FLOW,
    OUTPUT_ID,
    READS,
    RUN,
    SURROUNDINGS,
    WORKSPACE,
    WRITES,
    Call,
    answering,
    first_page,
    sent,
)
from tests.unit.api.run_driver import Driver, ok
from vi_airflow_provider.api.errors import ViResponseError, ViValidationError
from vi_airflow_provider.api.models import RunState
from vi_airflow_provider.api.protocol.messages import Outcome, Request, Response

# --- requests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "path", "query", "response"), READS)
def test_each_read_sends_one_request(call: Call, path: str, query: dict[str, str], response: Any) -> None:
    driver = answering(response)
    driver.run(call(driver.calls))
    assert sent(driver) == [("GET", path, query, None)]


@pytest.mark.parametrize(("call", "method", "path", "body", "response"), WRITES + SURROUNDINGS)
def test_each_other_call_sends_one_request(call: Call, method: str, path: str, body: Any, response: Any) -> None:
    driver = answering(response)
    driver.run(call(driver.calls))
    assert sent(driver) == [(method, path, {}, body)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.get_run_logs(RUN_ID, limit=0), "limit: 0"),
        (lambda p: p.get_run_output("../x", OUTPUT_ID), "'../x' is not a valid run id"),
        (lambda p: p.get_run_output(RUN_ID, "../x"), "'../x' is not a valid run output id"),
        (lambda p: p.list_run_outputs("../x"), "'../x' is not a valid run id"),
        (lambda p: p.update_run(RUN_ID), "nothing to update: give a training project, attributes, or both"),
        (lambda p: p.update_run(RUN_ID, training_project="a b"), "'a b' is not a valid training project id"),
        (lambda p: p.update_flow(FLOW_ID), "nothing to update: give a spec, attributes, or both"),
        (lambda p: p.find_flow(), "give either a flow id or a flow name to find"),
        (lambda p: p.find_flow(flow_id=FLOW_ID, name="x"), "give either a flow id or a flow name to find"),
        (lambda p: p.delete_flows([FLOW_ID], concurrency=0), "concurrency: 0"),
        (lambda p: p.find_runs(state="done"), "state: 'done' is not a state of a run; choose from queued, running, "),
        (lambda p: p.get_training_project("../x"), "'../x' is not a valid training project id"),
        (lambda p: p.create_training_project("a b", "x", "vqa"), "'a b' is not a valid training project id"),
        (lambda p: p.update_training_project("", name="x"), "'' is not a valid training project id"),
        (lambda p: p.delete_training_project("a/b"), "'a/b' is not a valid training project id"),
        (lambda p: p.check_training_project_name("a/b", "x"), "'a/b' is not a valid training project id"),
        (
            lambda p: p.create_training_project("p", "x", "detection"),
            "type: 'detection' is not one of 'phrase-grounding', 'vqa', 'freeform'",
        ),
        (lambda p: p.update_training_project("p"), "nothing to update: give a name, a description, or attributes"),
        (lambda p: p.update_training_project("p", attributes={"a": 1}), "attributes"),
        (lambda p: p.list_accelerators("../x"), "'../x' is not a valid flow id"),
        (lambda p: p.list_accelerators(FLOW_ID, {"name": "x"}), "spec"),
        (lambda p: p.get_flow_statistics("../x"), "'../x' is not a valid flow id"),
        (lambda p: p.generate_flow_statistics("../x"), "'../x' is not a valid flow id"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_request(call: Call, message: str) -> None:
    driver = answering({})
    with pytest.raises(ViValidationError) as caught:
        driver.run(call(driver.calls))
    assert caught.value.args[0].startswith(message)
    assert driver.sent == []


def test_a_new_flow_gets_an_id_of_its_own() -> None:
    ids: list[str] = []

    def server(request: Request) -> Outcome:
        ids.append(request.url.rpartition("/")[2])
        return ok(wire_flow(flowId=ids[-1]))

    driver = Driver(server)
    for _ in range(2):
        flow = driver.run(driver.calls.create_flow(wire_spec()))
        assert flow.flow_id == ids[-1]
    assert len(set(ids)) == 2


# --- flows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("response", "exists"), [(ok(wire_flow()), True), (Response(404), False)])
def test_a_flow_exists_or_not(response: Response, exists: bool) -> None:
    driver = Driver(lambda _: response)
    assert driver.run(driver.calls.flow_exists(FLOW_ID)) is exists
    found = driver.run(driver.calls.find_flow(flow_id=FLOW_ID))
    assert (found is not None) is exists


def test_of_several_flows_of_a_name_the_last_updated_is_found() -> None:
    named = [
        wire_flow(flowId=flow_id, spec__name="x", spec__trainingProject=project, metadata__lastUpdated=time)
        for flow_id, project, time in (("a", "p", 5), ("b", "q", 9), ("c", "p", 7))
    ]
    driver = answering(wire_page(wire_flow(), *named))
    found = [
        driver.run(driver.calls.find_flow(name=name, training_project=project))
        for name, project in (("x", None), ("x", "p"), ("x", "r"), ("y", None))
    ]
    assert [flow and flow.flow_id for flow in found] == ["b", "c", None, None]


def test_a_flow_of_another_training_project_is_not_found_by_its_id() -> None:
    driver = answering(wire_flow(spec__trainingProject="p"))
    found = [
        driver.run(driver.calls.find_flow(flow_id=FLOW_ID, training_project=project)) for project in (None, "p", "q")
    ]
    assert [flow is not None for flow in found] == [True, True, False]


@pytest.mark.parametrize(
    ("call", "method"),
    [
        (lambda p: p.delete_flow_if(FLOW_ID, lambda flow: flow.flow_id == FLOW_ID), "DELETE"),
        (lambda p: p.put_flow_if(FLOW_ID, wire_spec(), matches=lambda flow: flow.flow_id == FLOW_ID), "PUT"),
        (lambda p: p.restore_flow_if(wire_flow(), lambda flow: flow.flow_id == FLOW_ID), "PUT"),
    ],
)
def test_a_guarded_write_reads_the_flow_that_it_writes(call: Call, method: str) -> None:
    driver = answering(wire_flow())
    driver.run(call(driver.calls))
    assert [request[:2] for request in sent(driver)] == [("GET", FLOW), (method, FLOW)]


@pytest.mark.parametrize(("attributes", "written"), [({"line": "3"}, True), ({"line": "4"}, False), ({}, False)])
def test_a_lost_write_is_recognized_by_spec_and_attributes(attributes: dict[str, str], written: bool) -> None:
    """A colleague may have written the same spec with other attributes."""
    replies = iter([wire_flow(spec__name="before"), None, wire_flow(metadata__attributes=attributes)])

    def server(_: Request) -> Outcome:
        document = next(replies)
        return Response(500) if document is None else ok(document)

    driver = Driver(server)
    result = driver.run(
        driver.calls.put_flow_if(
            FLOW_ID,
            wire_flow()["spec"],
            ATTRIBUTES,
            matches=lambda flow: flow is not None and flow.spec.name == "before",
        )
    )
    assert result.written is written


PAGES: Final = {
    None: wire_page(wire_flow(flowId="a"), wire_flow(flowId="b"), nextPage="2"),
    "2": wire_page(wire_flow(flowId="c"), nextPage="3", prevPage="1"),
    "3": wire_page(wire_flow(flowId="d")),
}


def paged(request: Request) -> Outcome:
    return ok(PAGES[dict(parse_qsl(urlsplit(request.url).query)).get("p")])


def test_a_scan_that_stops_early_says_where() -> None:
    driver = Driver(paged)
    scan = driver.run(driver.calls.scan_flows({"a", "c", "d"}, (), 2))
    assert ([flow.flow_id for flow in scan.flows], *scan[1:]) == (["a", "c"], 2, False, "3")
    scan = driver.run(driver.calls.scan_flows({"a", "c", "d"}, (), page_token="2", enough=lambda _created, _walk: True))
    assert ([flow.flow_id for flow in scan.flows], *scan[1:]) == (["c"], 1, False, "3")
    scan = driver.run(driver.calls.scan_flows({"a", "c", "d"}, ()))
    assert ([flow.flow_id for flow in scan.flows], *scan[1:]) == (["a", "c", "d"], 3, True, None)


def test_a_scan_reports_the_times_of_each_page_and_how_often_the_listing_began() -> None:
    seen: list[tuple[list[Any], int]] = []

    def note(created: list[Any], walk: int) -> bool:
        seen.append((created, walk))
        return False

    driver = Driver(paged)
    driver.run(driver.calls.scan_flows((), (), enough=note))
    time = wire_flow()["metadata"]["timeCreated"]
    assert seen == [([time, time], 0), ([time], 0), ([time], 0)]


# --- runs ----------------------------------------------------------------------------------------------------------


def run_pages(*pages: list[dict[str, Any]]) -> Driver:
    """A driver whose server lists these pages of runs."""

    def server(request: Request) -> Outcome:
        number = int(dict(parse_qsl(urlsplit(request.url).query)).get("p", "0"))
        more = {"nextPage": str(number + 1)} if number + 1 < len(pages) else {}
        return ok(wire_page(*pages[number], **more))

    return Driver(server)


def test_runs_are_found_on_all_pages_newest_first() -> None:
    driver = run_pages(
        [wire_run(runId="a", metadata__timeCreated=1), wire_run(runId="b", metadata__timeCreated=3)],
        [wire_run(runId="c", metadata__timeCreated=2), wire_run(runId="b", metadata__timeCreated=3)],
    )
    assert [run.run_id for run in driver.run(driver.calls.find_runs())] == ["b", "c", "a"]
    assert {path for _, path, _, _ in sent(driver)} == {f"{WORKSPACE}/runs"}
    assert driver.run(driver.calls.find_runs(state=[RunState.SUCCEEDED])) == []


def test_a_scan_of_runs_ends_where_all_are_found() -> None:
    driver = run_pages([wire_run(runId="a")], [wire_run(runId="b")], [wire_run(runId="c")])
    for wanted, arguments, found, pages, complete in (
        ({"a", "b"}, {}, ["a", "b"], 2, True),
        ({"a", "c"}, {"max_pages": 2}, ["a"], 2, False),
        ({"a", "x"}, {}, ["a"], 3, True),
        ({"x"}, {"gets_per_page": 1}, [], 1, False),
        ({"x", "y"}, {"gets_per_page": 1}, [], 2, False),
        ({"c"}, {"gets_per_page": 1}, [], 1, False),
        (set(), {}, [], 0, True),
    ):
        scan = driver.run(driver.calls.scan_runs(wanted, **arguments))
        assert ([run.run_id for run in scan.runs], scan.pages, scan.complete) == (found, pages, complete)


def test_an_item_that_is_not_a_run_ends_a_scan() -> None:
    driver = run_pages([wire_run(runId="a"), {"runId": 5}])
    with pytest.raises(ViResponseError, match=r"items\[1\]"):
        driver.run(driver.calls.scan_runs({"b"}))


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_checkpoints_with_numbers_that_json_does_not_know_are_listed() -> None:
    page = wire_page(
        wire_run_output(runOutputId="größer", spec__evaluationMetrics={"f1": float("nan")}), nextPage="2", prevPage="0"
    )
    last = wire_page(wire_run_output(spec__evaluationMetrics={"f1": float("-inf")}))
    driver = Driver(lambda request: ok(last if "p=2" in request.url else page))
    first = driver.run(first_page(driver.calls.list_run_outputs(RUN_ID)))
    assert (first.next_page, first.prev_page) == ("2", "0")
    driver.sent.clear()
    outputs = driver.all(driver.calls.list_run_outputs(RUN_ID))
    assert [output.run_output_id for output in outputs] == ["größer", OUTPUT_ID]
    assert [path for _, path, _, _ in sent(driver)] == [f"{RUN}/outputs"] * 2


@pytest.mark.parametrize("envelope", [{"nextPage": 5}, {"prevPage": 5}], ids=repr)
def test_a_page_of_checkpoints_with_another_cursor_is_refused(envelope: dict[str, Any]) -> None:
    driver = answering(wire_page(wire_run_output(spec__evaluationMetrics={"f1": float("nan")}), **envelope))
    with pytest.raises(ViResponseError):
        driver.all(driver.calls.list_run_outputs(RUN_ID))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runId": "another"}, "about run 'another', but"),
        ({"workspaceId": "another"}, "about organization 'another', but"),
        ({"runOutputId": "another"}, "about checkpoint 'another', but"),
        ({"spec": ABSENT}, "contract: spec"),
    ],
    ids=str,
)
def test_another_checkpoint_is_refused(change: dict[str, Any], message: str) -> None:
    driver = answering(wire_run_output(**change))
    with pytest.raises(ViResponseError, match=message):
        driver.run(driver.calls.get_run_output(RUN_ID, OUTPUT_ID))


@pytest.mark.parametrize("change", [{"runId": "another"}, {"workspaceId": "another"}, {"etag": ABSENT}], ids=str)
def test_another_checkpoint_in_a_listing_is_refused(change: dict[str, Any]) -> None:
    driver = answering(wire_page(wire_run_output(), wire_run_output(**change)))
    with pytest.raises(ViResponseError, match=r"another|items\[1\]\.etag"):
        driver.all(driver.calls.list_run_outputs(RUN_ID))


# --- logs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "lines"),
    [
        ("text/plain; charset=utf-8", b"a\nb\xff", ["a", "b\ufffd"]),
        ("", b"epoch 1\nepoch 2", ["epoch 1", "epoch 2"]),
        ("text/plain", b"[a]", ["[a]"]),
        ("application/json", b'["a", {"message": "b"}, 3]', ["a", "b", "3"]),
        ("application/json", b'{"items": [{"line": "a", "block": "x"}, {"n": 1}]}', ["a", '{"n": 1}']),
        ("", b'["a"]', ["a"]),
        ("application/json", b'{"data": "a\\nb"}', ["a", "b"]),
    ],
)
def test_a_log_is_read_in_each_form(kind: str, body: bytes, lines: list[str]) -> None:
    driver = Driver(lambda _: Response(200, {"content-type": kind} if kind else {}, body))
    logs = driver.run(driver.calls.get_run_logs(RUN_ID))
    assert [line.line for line in logs.lines] == lines
    assert logs.raw == (
        body.decode("utf-8", "replace") if kind.startswith("text") or body[:1] == b"e" else json.loads(body)
    )


def test_what_else_is_known_of_a_line_is_kept() -> None:
    driver = answering({"items": [{"line": "a", "block": "x"}, {"message": "b"}]})
    first, second = driver.run(driver.calls.get_run_logs(RUN_ID)).lines
    assert (first.line, first.model_dump()) == ("a", {"line": "a", "block": "x"})
    assert (second.line, second.model_dump()) == ("b", {"line": "b", "message": "b"})


@pytest.mark.parametrize(
    ("kind", "body"), [("text/html", b"x"), ("", b" <html>"), ("application/json", b"epoch 1"), ("", b""), ("", b"{")]
)
def test_what_is_not_a_log_is_refused(kind: str, body: bytes) -> None:
    driver = Driver(lambda _: Response(200, {"content-type": kind} if kind else {}, body))
    with pytest.raises(ViResponseError):
        driver.run(driver.calls.get_run_logs(RUN_ID))
