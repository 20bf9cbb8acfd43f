"""A response about another document than the requested one is never returned, whatever mixed them up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.documents import FLOW_ID, ORGANIZATION_ID, SECRET_KEY, wire_flow, wire_page
from tests.transports import (
    CREATE,
    DELETE_IF,
    EXISTS,
    FIND,
    GET,
    LIST,
    REPLACE,
    REPLACE_IF,
    RESTORE_IF,
    UPDATE,
    WAYS,
    Call,
    Case,
    Outcome,
    Raised,
    Verdict,
    http,
    settings_for,
)
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViResponseError

OTHERS: Final = {
    "another flow": {"flowId": "other"},
    "a flow of another organization": {"workspaceId": "other"},
    "both": {"flowId": "other", "workspaceId": "other"},
    "the same id in another case": {"flowId": FLOW_ID.upper()},
}
MIXED_UP: Final = Raised(ViResponseError, 200, 1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize(
    "call", [GET, EXISTS, FIND, CREATE, REPLACE, UPDATE, DELETE_IF, REPLACE_IF, RESTORE_IF], ids=lambda call: call.name
)
def test_a_response_about_another_flow_is_an_error(
    call: Call, what: str, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script: tuple[Outcome, ...] = (http(200, wire_flow(**OTHERS[what])),)
    assert way(Case(what, call, script, Verdict(MIXED_UP, 1, ())), monkeypatch) == Verdict(MIXED_UP, 1, ())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", [REPLACE_IF, RESTORE_IF], ids=lambda call: call.name)
def test_a_written_flow_is_compared_with_the_request(call: Call, way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (http(404), http(200, wire_flow(flowId="other")))
    expected = Verdict(MIXED_UP, 2, ())
    assert way(Case("write", call, script, expected), monkeypatch) == expected


@pytest.mark.parametrize("way", WAYS)
def test_each_flow_of_a_listing_is_of_the_organization(way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (http(200, wire_page(wire_flow(flowId="a"), wire_flow(flowId="b", workspaceId="other"))),)
    expected = Verdict(MIXED_UP, 1, ())
    assert way(Case("listing", LIST, script, expected), monkeypatch) == expected


def test_the_error_names_both_flows_and_both_organizations(requests_mock: Any) -> None:
    path = f"https://vi.example/workspaces/{ORGANIZATION_ID}/flows"
    with ViClient(settings_for("https://vi.example")) as vi:
        requests_mock.get(f"{path}/{FLOW_ID}", json=wire_flow(flowId="other"))
        with pytest.raises(ViResponseError, match=f"about flow 'other', but flow '{FLOW_ID}' was requested"):
            vi.get_flow(FLOW_ID)
        requests_mock.get(f"{path}/{FLOW_ID}", json=wire_flow(workspaceId="theirs"))
        with pytest.raises(ViResponseError, match=f"about organization 'theirs', but organization '{ORGANIZATION_ID}'"):
            vi.get_flow(FLOW_ID)


#: A server that responds to each request with the flow it names, and processes that share one client.
FORK: Final = r"""\
import asyncio, json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from tests.documents import wire_flow
from tests.transports import settings_for
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps(wire_flow(flowId=self.path.rpartition("/")[2])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

def serve(pipe):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    os.write(pipe, f"{server.server_port}\n".encode())
    server.serve_forever()

def ask_blocking(client, name):
    for number in range(60):
        assert client.get_flow(f"{name}-{number}").flow_id == f"{name}-{number}"

async def ask_async(client, name):
    for number in range(60):
        assert (await client.get_flow(f"{name}-{number}")).flow_id == f"{name}-{number}"

def in_children(work):
    children = []
    for name in ("first", "second", "third"):
        if (pid := os.fork()) == 0:
            try:
                work(name)
                os._exit(0)
            except BaseException as error:
                print(name, repr(error), file=sys.stderr, flush=True)
                os._exit(1)
        children.append(pid)
    return children

read, write = os.pipe()
if (server := os.fork()) == 0:
    serve(write)
settings = settings_for(f"http://127.0.0.1:{int(os.read(read, 10))}", max_retries=0)
if sys.argv[1] == "ViClient":
    client = ViClient(settings)
    client.get_flow("before")
    children = in_children(lambda name: ask_blocking(client, name))
    ask_blocking(client, "parent")
    client.close()
else:
    async def parent():
        client = AsyncViClient(settings)
        await client.get_flow("before")
        def child(name):
            asyncio._set_running_loop(None)
            asyncio.run(ask_async(client, name))
        children = in_children(child)
        await ask_async(client, "parent")
        await client.close()
        return children
    children = asyncio.run(parent())
codes = [os.waitpid(pid, 0)[1] for pid in children]
os.kill(server, 9)
print(codes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("client", ["ViClient", "AsyncViClient"])
def test_processes_that_fork_from_one_share_no_connection(client: str) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", FORK, client],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout == "[0, 0, 0]\n", done.stderr
    assert done.stderr == ""
    assert SECRET_KEY not in done.stdout
