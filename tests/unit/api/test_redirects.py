"""Redirects: a GET follows them within its origin, and nothing else is followed."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.documents import FLOW_ID, wire_flow, wire_spec
from tests.unit.api.request_cases import FLOW, WORKSPACE, Call
from tests.unit.api.run_driver import Driver, ok
from vi_airflow_provider.api.errors import ViResponseError
from vi_airflow_provider.api.protocol.messages import Outcome, Request, Response


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("https://vi.example/v2/flows/x", "/v2/flows/x"),
        ("/v2/flows/x", "/v2/flows/x"),
        ("x", f"{WORKSPACE}/flows/x"),
        ("/größe [1]", "/gr%C3%B6%C3%9Fe%20[1]"),
        ("/a%20b", "/a%20b"),
    ],
)
def test_a_get_is_redirected_within_the_origin(location: str, path: str) -> None:
    def server(request: Request) -> Outcome:
        return Response(302, {"location": location}) if request.url.endswith(FLOW_ID) else ok(wire_flow())

    driver = Driver(server)
    assert driver.run(driver.calls.get_flow(FLOW_ID)).flow_id == FLOW_ID
    assert [urlsplit(request.url).path for request in driver.sent] == [FLOW, path]
    assert driver.sent[0].headers == driver.sent[1].headers


@pytest.mark.parametrize(
    ("call", "location", "where"),
    [
        (lambda p: p.get_flow(FLOW_ID), "https://other.example/x", "https://other.example,"),
        (lambda p: p.get_flow(FLOW_ID), "http://vi.example/x", "http://vi.example,"),
        (lambda p: p.get_flow(FLOW_ID), "https://vi.example:8443/x", "https://vi.example,"),
        (lambda p: p.get_flow(FLOW_ID), "//other.example/x", "https://other.example,"),
        (lambda p: p.get_flow(FLOW_ID), f"https://{'a' * 200}/x", f"https://{'a' * 92}…,"),
        (lambda p: p.delete_flow(FLOW_ID), "/x", "https://vi.example,"),
        (lambda p: p.replace_flow(FLOW_ID, wire_spec()), "/x", "https://vi.example,"),
        (lambda p: p.get_flow(FLOW_ID), "https://[x", "an invalid URL"),
    ],
)
def test_another_redirect_is_not_followed(call: Call, location: str, where: str) -> None:
    driver = Driver(lambda _: Response(307, {"location": location}))
    with pytest.raises(ViResponseError) as caught:
        driver.run(call(driver.calls))
    assert f"the server redirects (307) to {where}" in str(caught.value)
    assert len(driver.sent) == 1
