"""Concurrent deletes: each flow once, and none after a failure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.documents import ORGANIZATION_ID, SECRET_KEY
from tests.scripted_server import Act, After, ScriptedServer, http_bytes
from vi_airflow_provider.api.errors import ViPermissionError, ViValidationError
from vi_airflow_provider.hooks.vi import ViHook

GONE = Act(http_bytes(204, keep=True), After.KEEP)
MISSING = Act(http_bytes(404, b'{"message":"not found"}', keep=True), After.KEEP)
FORBIDDEN = Act(http_bytes(403, b'{"message":"read only"}', keep=True), After.KEEP)
IDS = [f"flow-{number}" for number in range(20)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        uri = f"vi://{ORGANIZATION_ID}:{SECRET_KEY}@127.0.0.1:{server.address.partition(':')[2]}/http"
        monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", uri)
        yield server


def asked(server: ScriptedServer) -> list[str]:
    return [request.target.rpartition("/")[2] for request in server.received]


def test_each_flow_is_deleted_once_in_the_order_of_the_ids(server: ScriptedServer) -> None:
    server.acts += [GONE] * len(IDS)
    deleted = ViHook().delete_flows(iter(IDS), concurrency=8)
    assert [(flow.id, flow.deleted, flow.already_absent) for flow in deleted] == [(each, True, False) for each in IDS]
    assert sorted(asked(server)) == sorted(IDS)
    assert 1 < server.connections <= 8


def test_an_absent_flow_is_no_failure(server: ScriptedServer) -> None:
    server.acts += [GONE, MISSING, GONE]
    deleted = ViHook().delete_flows(IDS[:3], concurrency=1)
    assert [flow.already_absent for flow in deleted] == [False, True, False]


def test_after_a_failure_no_further_delete_begins(server: ScriptedServer) -> None:
    server.acts += [GONE, GONE, FORBIDDEN, *[GONE] * 20]
    with pytest.raises(ViPermissionError, match="flow-2"):
        ViHook().delete_flows(IDS, concurrency=1)
    assert asked(server) == IDS[:3]


@pytest.mark.parametrize(
    ("ids", "concurrency"), [([*IDS, "../runs"], 8), ([*IDS, None], 8), (IDS, 0), (IDS, 2.5), (IDS, True)]
)
def test_an_invalid_argument_deletes_nothing(server: ScriptedServer, ids: Any, concurrency: Any) -> None:
    with pytest.raises(ViValidationError):
        ViHook().delete_flows(ids, concurrency=concurrency)
    assert server.requests == 0


def test_deleting_nothing_sends_nothing(server: ScriptedServer) -> None:
    assert ViHook().delete_flows([]) == []
    assert server.requests == 0
