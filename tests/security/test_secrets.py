"""Search everything that a whole Airflow at DEBUG writes for secrets, after every feature has succeeded and failed.

The search covers Airflow's home with its logs and its database (rendered fields, XComs, triggers, serialized DAGs),
archives, exports, reports, and all output of Airflow and the emulator. A second secret is planted once in each kind of
place, and must be found there.
"""

from __future__ import annotations

import base64
import html
import json
import os
import sqlite3
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.fernet import Fernet

from demo.deployment import free_port
from demo.local_airflow import environment
from tests.background import in_background
from tests.security.leaks import contents, leaks_in, make_secret, places_that_leak
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID

ROOT: Final = Path(__file__).parents[2]
KEY: Final = make_secret("key", 103, "dtvi_")
WRONG_KEY: Final = make_secret("wrong key", 103, "dtvi_")
SHORT_KEY: Final = make_secret("short key", 90, "dtvi_")
PROXY_PASSWORD: Final = make_secret("proxy password", 60)
URL_PASSWORD: Final = make_secret("URL password", 60)
SIGNATURE: Final = make_secret("signature", 64).replace("&", "_")  # a URL would end the signature there
PLANTED: Final = make_secret("planted", 103, "dtvi_")
SECRETS: Final = {
    "key": KEY,
    "wrong key": WRONG_KEY,
    "short key": SHORT_KEY,
    "proxy password": PROXY_PASSWORD,
    "password in a URL": URL_PASSWORD,
    "signature of a URL": SIGNATURE,
}


# --- the search itself ---------------------------------------------------------------------------------------------

#: Encodings of a secret, and the minimum length of a part that must be found.
FORMS: Final[dict[str, tuple[int, Callable[[str], str]]]] = {
    "raw": (20, lambda text: text),
    "backwards": (20, lambda text: text[::-1]),
    "as a repr": (30, repr),
    "in HTML": (30, html.escape),
    "in a URL": (30, urllib.parse.quote),
    "in a form": (30, urllib.parse.quote_plus),
    "in JSON": (30, json.dumps),
    "in JSON in JSON": (30, lambda text: json.dumps(json.dumps(text))),
    "in base64": (40, lambda text: base64.b64encode(text.encode()).decode()),
    "in base64 with more": (40, lambda text: base64.b64encode(f"Bearer {text}\n".encode()).decode()),
    "in base64 for URLs": (40, lambda text: base64.urlsafe_b64encode(f"u:{text}".encode()).decode()),
}


@pytest.mark.parametrize("form", FORMS)
def test_part_of_a_secret_is_found_in_every_encoding(form: str) -> None:
    length, write = FORMS[form]
    written = write(KEY)
    for start in range(15, len(written) - length - 15):  # without the prefix
        part = written[start : start + length]
        assert leaks_in(f"before {part} after".encode(), KEY), part
    assert not leaks_in(write(PLANTED).encode(), KEY)


# --- the scenario -----------------------------------------------------------------------------------------------------


class _EchoingHandler(BaseHTTPRequestHandler):
    """Rejects every request, and echoes its credentials in several ways."""

    def do_GET(self) -> None:
        sent = " ".join(self.headers.values())
        key = sent.partition("Bearer ")[2].partition(" ")[0]
        message = f"{self.headers.get('Proxy-Authorization')} {key} {key[5:]} {key[-30:]} {urllib.parse.quote(key)}"
        body = json.dumps({"message": f"Unknown key: {message} {sent}"}).encode()
        self.send_response(407 if "Proxy-Authorization" in self.headers else 401, key[20:60])
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Cloud-Trace-Context", key[10:90])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_PATCH = do_DELETE = do_CONNECT = do_GET  # noqa: N815 - names of the library

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def echoing_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _EchoingHandler) as server, in_background(server.serve_forever):
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def connections(vi: str, echoing_server: str) -> dict[str, dict[str, Any]]:
    """Return connections that work, and connections with every kind of mistake."""
    refused = f"127.0.0.1:{free_port()}"
    proxy_user = f"user:{urllib.parse.quote(PROXY_PASSWORD, safe='')}"

    def conn(host: str = vi, password: str = KEY, extra: Any = None, login: str = DEFAULT_ORGANIZATION_ID) -> Any:
        short = {"max_retries": 1, "max_retry_delay": 0.01, "retry_budget": 5}
        settings = extra if isinstance(extra, str) else {**short, **(extra or {})}
        return {"conn_type": "vi", "host": host, "login": login, "password": password, "extra": settings}

    return {
        "env": conn(),
        "db": conn(),
        "quoted": conn(f"http://{echoing_server}"),
        "refused": conn(f"http://{refused}"),
        "newline": conn(password=f"{KEY}\n"),
        "wrong": conn(password=WRONG_KEY),
        "short": conn(password=SHORT_KEY),
        "tls": conn(vi.replace("http:", "https:")),
        "host_and_key": conn(host=f"https://{KEY}@127.0.0.1"),
        "key_as_host": conn(host=KEY, password="x"),
        "key_as_login": conn(login=KEY),
        "key_as_extra": conn(extra={"page_size": KEY}),
        "broken_extra": conn(extra='{"proxy": "http://' + proxy_user + "@127.0.0.1"),
        "unknown_extra": conn(extra={"password": KEY, "proxi": f"http://{proxy_user}@127.0.0.1"}),
        "bad_proxy": conn(extra={"proxy": f"ftp://{proxy_user}@127.0.0.1"}),
        "bad_template": conn(extra={"ui_url_template": "{" + KEY + "}"}),
        "proxy_refused": conn(extra={"proxy": f"http://{proxy_user}@{refused}"}),
        "proxy_quotes": conn(extra={"proxy": f"http://{proxy_user}@{echoing_server}"}),
        "proxy_tunnel": conn("https://127.0.0.1:1", extra={"proxy": f"http://{proxy_user}@{echoing_server}"}),
    }


#: Every operator runs on these: on the first, all succeed; on the second, all fail, and the server echoes the key.
EVERYTHING: Final = ("env", "quoted")
#: One operator for each client runs on these; on all others, one operator.
SOMETHING: Final = ("db", "refused", "tls", "proxy_quotes")
#: Stored in the database; the others are set in the environment.
STORED: Final = ("db", "refused", "newline", "proxy_quotes", "key_as_extra")
WORKING: Final = {"env", "db", "newline"}
#: A checkpoint whose download the storage host rejects.
REJECTED: Final = "epoch-013-1"
#: On working connections: the flow does not exist, or the URL of the model is rejected.
FAILING: Final = {"defer.db", "rejected_model.env"}


@dataclass(frozen=True)
class Evidence:
    """The files and the outcome of a run."""

    home: Path
    outcome: dict[str, Any]

    @property
    def printed(self) -> str:
        return (self.home / "printed.log").read_text(errors="replace")


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory, echoing_server: str) -> Evidence:
    home = tmp_path_factory.mktemp("home")
    with EmulatorProcess(home) as vi:
        run_airflow(home, vi.url, echoing_server)
    return Evidence(home, json.loads((home / "outcome.json").read_text()))


class EmulatorProcess:
    """The emulator in a process of its own. The banner with its key is discarded, the rest of its output is kept."""

    def __init__(self, home: Path) -> None:
        server = ("--port", "0", "--secret-key", KEY, "--organization-id", DEFAULT_ORGANIZATION_ID)
        arguments = (*server, "--run-seconds", "6")  # active when a sensor begins to wait, on a busy machine, too
        self._log = (home / "emulator-errors.log").open("wb")
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "vi_airflow_provider.emulator", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._home = home

    def __enter__(self) -> EmulatorProcess:
        assert self._process.stdout
        banner = [self._process.stdout.readline() for _ in range(5)]
        self.url = banner[1].removeprefix("url: ").strip()
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("requests", "health", "faults"):
            with urllib.request.urlopen(f"{self.url}/_emulator/{name}") as response:  # noqa: S310
                (self._home / f"emulator-{name}.json").write_bytes(response.read())
        self._process.terminate()
        (self._home / "emulator.log").write_text(self._process.communicate(timeout=20)[0])
        self._log.close()


def run_airflow(home: Path, vi: str, echoing_server: str) -> None:
    files = home / "files"
    conns = connections(vi, echoing_server)
    scenario = {
        "files": str(files),
        "archive": f"{files}/archives/made-before.flows.jsonl",
        "outcome": str(home / "outcome.json"),
        "everything": EVERYTHING,
        "something": SOMETHING,
        "one thing": [name for name in conns if name not in EVERYTHING + SOMETHING],
        "connections": list(conns),
        "urls": [
            f"sftp://user:{urllib.parse.quote(URL_PASSWORD, safe='')}@files.example/folder/flows.jsonl",
            f"https://files.example/flows.jsonl?X-Amz-Date=20260101&X-Amz-Signature={SIGNATURE}",
        ],
        "stored": {name: {**conns[name], "extra": _text(conns[name]["extra"])} for name in STORED},
        "wait": "PT0.5S",
        "rejected": REJECTED,
        "downloads": str(home.parent / f"{home.name}-downloads"),
        "planted": PLANTED,
        "working": sorted(WORKING),
    }
    # Outside of the searched folder, because this file contains the secrets.
    script = home.parent / f"{home.name}-scenario.json"
    script.write_text(json.dumps(scenario))
    variables = {
        "SECURITY_SCENARIO": str(script),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parent / "dags"),
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(conns[name]) for name in conns if name not in STORED},
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    with (home / "printed.log").open("wb") as printed:
        subprocess.run(
            [sys.executable, "-m", "tests.security.airflow_process"],
            cwd=ROOT,
            env={**inherited, **environment(home), **variables},
            stdout=printed,
            stderr=subprocess.STDOUT,
            check=True,
            timeout=900,
        )
    # The in-process supervisor of dag.test() logs the values that it is asked to mask; a real supervisor does not.
    lines = (home / "printed.log").read_bytes().splitlines(keepends=True)
    (home / "printed.log").write_bytes(b"".join(line for line in lines if b"msg=MaskSecret(value=" not in line))


def _text(extra: Any) -> str:
    return extra if isinstance(extra, str) else json.dumps(extra)


def test_each_task_succeeds_or_fails_as_intended(evidence: Evidence) -> None:
    states = evidence.outcome["states"]
    assert len(states) > 40
    for task_id, state in states.items():
        succeeds = task_id.rpartition(".")[2] in WORKING and task_id not in FAILING
        assert state == ("success" if succeeds or task_id == "leak" else "failed"), task_id
    assert {name for name, (works, _) in evidence.outcome["tested"].items() if works} == WORKING
    assert {name for name, seen in evidence.outcome["events"].items() if seen} == WORKING


@pytest.mark.parametrize("name", SECRETS)
def test_no_part_of_a_secret_is_written_anywhere(evidence: Evidence, name: str) -> None:
    assert places_that_leak(evidence.home, SECRETS[name]) == set()


def test_no_part_of_a_pre_signed_url_is_written_anywhere(evidence: Evidence) -> None:
    urls = (evidence.home.parent / f"{evidence.home.name}-downloads").read_text().splitlines()
    assert len(urls) == 4  # one for the model that is stored, three that are rejected
    for url in urls:
        assert places_that_leak(evidence.home, url.rpartition("signature=")[2]) == set()


def test_stored_connections_are_encrypted(evidence: Evidence) -> None:
    with closing(sqlite3.connect(evidence.home / "airflow.db")) as database:
        stored = dict(database.execute("SELECT conn_id, is_encrypted AND is_extra_encrypted FROM connection"))
    assert stored == dict.fromkeys(STORED, 1)


#: Where the leaking task and trigger put the planted secret: one of each kind of place.
PLACES: Final = {
    "printed.log": "output and logs",
    "files/exports/leak.html": "a report",
    "airflow.db": "the file of the database",
    "airflow.db: xcom": "an XCom, in base64",
    "airflow.db: rendered_task_instance_fields": "a rendered field, URL-encoded",
    "airflow.db: serialized_dag": "a serialized DAG, reversed",
    "outcome.json": "arguments of a trigger, URL-encoded",
}


@pytest.mark.parametrize("place", PLACES)
def test_leak_in_each_kind_of_place_is_found(evidence: Evidence, place: str) -> None:
    assert place in places_that_leak(evidence.home, PLANTED)


def test_search_covers_everything_that_a_task_writes(evidence: Evidence) -> None:
    searched = dict(contents(evidence.home))
    assert b"GET /workspaces/" in searched["printed.log"]  # at DEBUG
    assert b"Traceback (most recent call last)" in searched["printed.log"]
    assert b"urllib3.connectionpool" in searched["printed.log"]
    assert json.loads(searched["emulator-requests.json"])["requests"]
    assert {Path(name).suffix for name in searched if name.startswith("files/")} >= {
        ".jsonl",
        ".json",
        ".html",
        ".log",
        ".bin",
    }
    classes = {classpath.rpartition(".")[2] for classpath, _ in evidence.outcome["triggers"]}
    assert classes == {"FlowTrigger", "FlowEventTrigger", "RunTrigger", "RunStateTrigger", "RunEventTrigger"}
