from __future__ import annotations

import json

import pytest

from vi_airflow_provider.emulator.fault_rules import Fault, FaultBook, FaultError

PATH = "/workspaces/o/flows/f1"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "a fault must do something"),
        ({"times": 3}, "a fault must do something"),
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
        ({"status": 204, "body": "x"}, "an answer 204 has no body"),
        ({"retry_after": "3"}, "give its status"),
        ({"body": "x", "drop": True}, "give its status"),
        ({"status": 503, "drop": True}, "drop excludes status"),
        ({"redirect": "/", "drop": True}, "drop excludes status"),
        ({"status": 503, "redirect": "/"}, "a redirect has a status from 300 to 399"),
        ({"drop": True, "truncate": True}, "exclude each other"),
        ({"drip_ms": 1, "truncate": True}, "exclude each other"),
        ({"drop": "yes"}, "drop must be true or false"),
        ({"drip_ms": -1}, "drip_ms must be zero or more"),
        ({"latency_ms": float("inf")}, "latency_ms must be zero or more"),
        ({"truncate": True, "when": "after"}, "needs something that comes after"),
        ({"empty_page": True, "repeat_cursor": True}, "exclude each other"),
        ({"empty_page": True, "status": 500}, "need the emulator's own answer"),
        ({"stats": 503}, "unknown fault field 'stats'"),
        (["status", 503], "a fault must be a JSON object"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule, message):
    with pytest.raises(FaultError, match=message):
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
def test_a_rule_survives_json(rule):
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
def test_a_rule_fires_on_what_it_describes(rule, method, path, fires):
    book = FaultBook()
    book.add(Fault.from_json({"status": 500, **rule}))
    assert (book.match(method, path, has_cursor=False) is not None) == fires


def fired(book: FaultBook, requests: int) -> str:
    return "".join("x" if book.match("GET", PATH, has_cursor=False) else "." for _ in range(requests))


@pytest.mark.parametrize(
    ("rule", "pattern"),
    [
        ({}, "x......."),
        ({"times": 3}, "xxx....."),
        ({"times": None}, "xxxxxxxx"),
        ({"skip": 2}, "..x....."),
        ({"skip": 2, "times": 2}, "..xx...."),
    ],
)
def test_times_and_skip_count_matching_requests(rule, pattern):
    book = FaultBook()
    book.add(status=500, **rule)
    assert fired(book, 8) == pattern


def test_chance_is_the_same_in_each_run_of_a_seed():
    patterns = []
    for seed in (1, 1, 2):
        book = FaultBook()
        book.add(status=500, times=None, probability=0.5, seed=seed)
        patterns.append(fired(book, 100))
    assert patterns[0] == patterns[1] != patterns[2]
    assert 30 < patterns[0].count("x") < 70


def test_of_several_rules_the_first_that_fires_wins():
    book = FaultBook()
    first, second = book.add(status=500), book.add(Fault(status=503, times=2))
    numbers = [active.number for _ in range(4) if (active := book.match("GET", PATH, has_cursor=False))]
    assert numbers == [first.number, second.number, second.number]
    assert second.to_json() == {"id": 2, "rule": {"times": 2, "status": 503}, "matched": 2, "fired": 2}


def test_clearing_forgets_all_rules():
    book = FaultBook()
    book.add(status=500, times=None)
    book.clear()
    assert book.rules() == []
    assert fired(book, 2) == ".."
