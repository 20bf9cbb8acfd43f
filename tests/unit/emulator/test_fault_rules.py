from __future__ import annotations

import json
from typing import Any

import pytest

from vi_airflow_provider.emulator.effects import (
    ChangeFlows,
    Delay,
    Drip,
    Drop,
    Effect,
    EmptyPage,
    OtherDocument,
    Redirect,
    RepeatCursor,
    Respond,
    Truncate,
)
from vi_airflow_provider.emulator.fault_rules import Fault, FaultBook
from vi_airflow_provider.emulator.matching import Match, RequestLine
from vi_airflow_provider.emulator.rule_checks import RuleError

PATH = "/workspaces/o/flows/f1"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "a fault must have an effect"),
        ({"times": 3}, "a fault must have an effect"),
        ({"status": 99}, "status must be from 200 to 599"),
        ({"status": 600}, "status must be from 200 to 599"),
        ({"status": "503"}, "status must be an integer"),
        ({"status": True}, "status must be an integer"),
        ({"status": 503, "times": 0}, "times must be 1 or more"),
        ({"status": 503, "times": 1.5}, "times must be an integer"),
        ({"status": 503, "skip": -1}, "skip must be zero or more"),
        ({"status": 503, "skip": None}, "skip must be an integer"),
        ({"status": 503, "probability": 0}, "probability must be more than 0"),
        ({"status": 503, "probability": 1.1}, "probability must be more than 0"),
        ({"status": 503, "probability": float("nan")}, "probability must be more than 0"),
        ({"status": 503, "method": "get"}, "method must be in capital letters"),
        ({"status": 503, "path": "("}, "path is not a regular expression"),
        ({"status": 503, "when": "during"}, "when must be"),
        ({"status": 503, "retry_after": 3}, "retry_after must be a string"),
        ({"status": 503, "retry_after": "3\r\nx: y"}, "retry-after must be a header value"),
        ({"status": 503, "headers": {"a b": "c"}}, "headers must not contain 'a b'"),
        ({"status": 503, "headers": {"Content-Length": "5"}}, "headers must not contain 'Content-Length'"),
        ({"status": 503, "headers": {"a": 1}}, "a must be a header value"),
        ({"status": 503, "headers": ["a"]}, "headers must be an object"),
        ({"status": 204, "body": "x"}, "a response 204 has no body"),
        ({"retry_after": "3"}, "set status as well"),
        ({"body": "x", "drop": True}, "set status as well"),
        ({"status": 503, "drop": True}, "exclude each other"),
        ({"redirect": "/", "drop": True}, "exclude each other"),
        ({"status": 503, "redirect": "/"}, "a redirect has a status from 300 to 399"),
        ({"drop": True, "truncate": True}, "exclude each other"),
        ({"drip_ms": 1, "truncate": True}, "exclude each other"),
        ({"drop": "yes"}, "drop must be true or false"),
        ({"drip_ms": -1}, "drip_ms must be zero or more"),
        ({"latency_ms": float("inf")}, "latency_ms must be zero or more"),
        ({"truncate": True, "when": "after"}, "needs an effect that follows"),
        ({"empty_page": True, "repeat_cursor": True}, "exclude each other"),
        ({"empty_page": True, "status": 500}, "exclude each other"),
        ({"stats": 503}, "unknown fault field 'stats'"),
        (["status", 503], "a fault must be a JSON object"),
    ],
)
def test_invalid_rule_is_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(RuleError, match=message):
        Fault.from_json(rule)


@pytest.mark.parametrize(
    "rule",
    [
        {"times": 1, "status": 429, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"},
        {"times": None, "method": "DELETE", "path": "/flows/", "drop": True, "when": "after"},
        {"times": 3, "skip": 2, "probability": 0.5, "seed": 4, "latency_ms": 10, "truncate": True},
        {"times": 1, "status": 200, "headers": {"x": "y"}, "body": "{}", "content_type": "text/html"},
        {"times": 1, "create_flows": 2, "delete_flows": 3},
    ],
)
def test_rule_round_trips_through_json(rule: dict[str, Any]) -> None:
    assert json.loads(json.dumps(Fault.from_json(rule).to_json())) == rule


@pytest.mark.parametrize(
    ("rule", "method", "path", "fires"),
    [
        ({}, "GET", PATH, True),
        ({"method": "GET"}, "GET", PATH, True),
        ({"method": "GET"}, "PUT", PATH, False),
        ({"path": "/flows"}, "GET", PATH, True),
        ({"path": "/flows$"}, "GET", PATH, False),
        ({"path": "/runs"}, "GET", PATH, False),
        ({"status": None, "repeat_cursor": True}, "GET", PATH, False),
    ],
)
def test_rule_fires_on_matching_requests(rule: dict[str, Any], method: str, path: str, fires: bool) -> None:
    book = FaultBook()
    book.add(Fault.from_json({"status": 500, **rule}))
    assert (book.match(RequestLine(method, path)) is not None) == fires


def fired(book: FaultBook, requests: int) -> str:
    return "".join("x" if book.match(RequestLine("GET", PATH)) else "." for _ in range(requests))


@pytest.mark.parametrize(
    ("rule", "pattern"),
    [
        ({}, "x......."),
        ({"times": 3}, "xxx....."),
        ({"times": None}, "xxxxxxxx"),
        ({"skip": 2}, "..x....."),
        ({"skip": 2, "times": 2}, "..xx...."),
        ({"every": 3, "times": 2}, "..x..x.."),
        ({"skip": 1, "every": 2, "times": None}, "..x.x.x."),
    ],
)
def test_times_and_skip_count_matching_requests(rule: dict[str, Any], pattern: str) -> None:
    book = FaultBook()
    book.add(status=500, **rule)
    assert fired(book, 8) == pattern


def test_probability_is_reproducible_for_a_seed() -> None:
    patterns = []
    for seed in (1, 1, 2):
        book = FaultBook()
        book.add(status=500, times=None, probability=0.5, seed=seed)
        patterns.append(fired(book, 100))
    assert patterns[0] == patterns[1] != patterns[2]
    assert 30 < patterns[0].count("x") < 70


def test_first_matching_rule_wins() -> None:
    book = FaultBook()
    first, second = book.add(status=500), book.add(Fault(status=503, times=2))
    numbers = [active.number for _ in range(4) if (active := book.match(RequestLine("GET", PATH)))]
    assert numbers == [first.number, second.number, second.number]
    assert second.to_json() == {"id": 2, "rule": {"times": 2, "status": 503}, "matched": 2, "fired": 2}


def test_clear_removes_all_rules() -> None:
    book = FaultBook()
    book.add(status=500, times=None)
    book.clear()
    assert book.rules() == []
    assert fired(book, 2) == ".."


@pytest.mark.parametrize(
    ("fault", "flat"),
    [
        (Fault(Match(method="PUT", times=2), Respond(503, retry_after="1")),
         {"method": "PUT", "times": 2, "status": 503, "retry_after": "1"}),
        (Fault(Match(), Respond(500, body="x"), Truncate(), when="after"),
         {"times": 1, "status": 500, "body": "x", "truncate": True, "when": "after"}),
        (Fault(Match(), ChangeFlows(delete=2), Delay(5), EmptyPage(), Drip(1)),
         {"times": 1, "delete_flows": 2, "latency_ms": 5, "empty_page": True, "drip_ms": 1}),
        (Fault(Match(), Redirect(location="/x")), {"times": 1, "redirect": "/x"}),
        (Fault(Match(), Redirect(303, location="/x")), {"times": 1, "redirect": "/x", "status": 303}),
    ],
)  # fmt: skip
def test_effects_and_flat_fields_are_equivalent(fault: Fault, flat: dict[str, Any]) -> None:
    assert fault.to_json() == flat
    assert Fault.from_json(flat).effects == fault.effects
    assert repr(Fault(**flat)) == repr(fault)


@pytest.mark.parametrize(
    "effects",
    [
        (Respond(500), Drop()),
        (Drop(), Truncate()),
        (Drop(), EmptyPage()),
        (Respond(500), RepeatCursor()),
        (OtherDocument(), EmptyPage()),
        (EmptyPage(), RepeatCursor()),
        (Drip(1), Truncate()),
        (Delay(1), Delay(2)),
    ],
)
def test_effects_that_exclude_each_other_are_refused(effects: tuple[Effect, ...]) -> None:
    with pytest.raises(RuleError, match="exclude each other"):
        Fault(Match(), *effects)


def test_match_and_flat_fields_cannot_be_mixed() -> None:
    with pytest.raises(TypeError, match="not as both"):
        Fault(Match(), Drop(), status=503)  # type: ignore[call-overload]
