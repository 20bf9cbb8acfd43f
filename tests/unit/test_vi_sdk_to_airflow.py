"""The documentation is true: its samples run, its tables say what the code says, its links lead somewhere.

Every Python block of ``docs/`` runs here, against a small Vi in this file. The name of the file is that of the page
where this matters most: each sample of the vendor's flows page has an equivalent that works.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import importlib
import inspect
import json
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests_mock
import time_machine
from airflow.providers.common.compat.sdk import DAG, conf

from tests.documents import SECRET_KEY
from tests.versions import extra_may_be_no_json
from vi_airflow_provider.api import errors, models
from vi_airflow_provider.api.errors import ViConfigurationError, ViError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.api.protocol.flows import error_class, may_retry
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Request, Response
from vi_airflow_provider.api.settings import EXTRA_FIELDS, ViSettings
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.operators.flows import (
    DeleteFlowOperator,
    GetFlowOperator,
    ListFlowsOperator,
)
from vi_airflow_provider.provider_info import get_provider_info

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
#: Pages whose samples run here. Those of the emulator are tests of a user's, and parts of them.
RUNNABLE = [page for page in PAGES if page != "emulator.md"]

ENDPOINT = "https://api.vi.datature.com"
ORGANIZATION = "acme-vision"
NOW = datetime(2026, 10, 1, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)

#: Each sample of the vendor's flows page: its title, and what the equivalent here must print or return.
VENDOR_SAMPLES = {
    "Basic listing": ["Flow: flow_abc123", "Created: 1782864000123"],
    "Iterate through all pages with details": ["  Name: Weld seam defects", "  Blocks: 3", "2 flows, next page: 2"],
    "Find recent flows (last 7 days)": ["Found 1 recent flows", "'flow_id': 'new'"],
    "Collect all flows": ["Total flows: 4", "['flow_abc123', 'flow_in_use', 'tmp-1', 'new']"],
    "Basic usage": ["Flow ID: flow_abc123", "Name: Weld seam defects", "Blocks: 3", "'kind': 'Flow'"],
    "Display detailed information": ["Flow: Weld seam defects", "  Training project: weld-inspection"],
    "Inspect flow blocks": ["Blocks (3):", "  3. vlm-model", "      splitRatio: 0.2"],
    "Access flow settings": ["Global Settings:", "  seed: 7", "Tolerations:"],
    "Access specific properties": ["Organization: acme-vision", "Training Project: weld-inspection", "project: 'weld"],
    "Delete a flow": ["flow_abc123: deleted=True, already absent=False", "'outcome': 'deleted'"],
    "Delete with confirmation": ["Kept.\n", "Deleted.\n", "'outcome': 'would_delete'", "'outcome': 'deleted'"],
    "Response types": [],
}


# --- reading the pages -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    section: str
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def _blocks(page: str, language: str, section: str | None = None) -> list[Block]:
    """Return the fenced blocks of a page in one language, of all sections or of one."""
    found: list[Block] = []
    heading, fence, start, lines = "", "", 0, [""]
    for number, line in enumerate((DOCS / page).read_text().splitlines(), 1):
        if line.startswith("```") and not fence:
            fence, start, lines = line, number, []
        elif line == "```":
            found.append(Block(page, start, heading, fence[3:], "\n".join(lines)))
            fence = ""
        elif fence:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    assert not fence, f"{page}:{start}: the block has no end"
    return [b for b in found if b.language == language and section in (None, b.section)]


def _section(page: str, heading: str) -> str:
    """Return the text under a heading, up to the next heading of the same level."""
    text = (DOCS / page).read_text()
    start = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert start, f"{page} has no section {heading!r}"
    rest = text[start.end() :]
    end = re.search(rf"^#{{1,{len(start[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def _rows(text: str) -> list[list[str]]:
    """Return the rows of all tables in a text, their cells without quotes; not the heads."""
    rows = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        is_head = number + 1 < len(lines) and lines[number + 1].startswith("|---")
        if line.startswith("|") and not line.startswith("|---") and not is_head:
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            rows.append([cell.strip().strip("`").replace("\\|", "|") for cell in cells])
    return rows


def _first_table(page: str, heading: str) -> list[list[str]]:
    table = re.search(r"(^\|.*\n)+", _section(page, heading), re.MULTILINE)
    assert table, f"{page}, section {heading!r}: no table"
    return _rows(table[0])


def _slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


# --- a small Vi --------------------------------------------------------------------------------------------------


def _wire_flow(flow_id: str = "flow_abc123", **metadata: Any) -> dict[str, Any]:
    """Return the flow that the pages show, as the wire has it."""
    sample = json.loads(_blocks("operators/get_flow.md", "json")[0].code)
    wire = Flow.model_validate(sample).to_wire()
    wire |= {"flowId": flow_id, "selfLink": f"/workspaces/{ORGANIZATION}/flows/{flow_id}"}
    wire["metadata"] |= metadata
    return wire


@dataclass
class Vi:
    """The server's side of the six endpoints (docs/VI_API.md section 3)."""

    flows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, flow_id: str, name: str = "Weld seam defects", **metadata: Any) -> None:
        self.flows[flow_id] = _wire_flow(flow_id, **metadata)
        self.flows[flow_id]["spec"]["name"] = name

    def answer(self, method: str, url: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any] | None]:
        parts = urlsplit(url)
        match = re.fullmatch(rf"/workspaces/{ORGANIZATION}/(?:flows|simpleFlows)(?:/([\w-]+))?", parts.path)
        if match is None:
            return 404, {"message": "no such organization"}
        if (flow_id := match[1]) is None:
            query = parse_qs(parts.query)
            first, size = int(query.get("p", ["0"])[0]), int(query["s"][0])
            more = first + size < len(self.flows)
            items = list(self.flows.values())[first : first + size]
            return 200, {"items": items, "nextPage": str(first + size) if more else None}
        if method == "PUT":
            assert body is not None
            self.flows[flow_id] = _wire_flow(
                flow_id,
                timeCreated=NOW_MS,
                lastUpdated=NOW_MS,
                generation=1,
                attributes=body.get("metadata", {}).get("attributes", {}),
            ) | {"spec": body["spec"], "etag": '"1-0"'}
        if flow_id not in self.flows:
            return 404, {"error": "Not Found", "message": f"Flow {flow_id} not found"}
        if method == "DELETE":
            if flow_id == "flow_in_use":
                return 409, {"message": "a run uses the flow"}
            del self.flows[flow_id]
            return 204, None
        flow = self.flows[flow_id]
        if method == "PATCH":
            assert body is not None
            flow["spec"] |= body.get("spec", {})
            attributes = flow["metadata"]["attributes"] | body.get("metadata", {}).get("attributes", {})
            flow["metadata"] |= {
                "attributes": {key: value for key, value in attributes.items() if value is not None},
                "lastUpdated": NOW_MS,
                "generation": flow["metadata"]["generation"] + 1,
            }
            flow["etag"] = f'"{flow["metadata"]["generation"]}-0"'
        return 200, copy.deepcopy(flow)

    @contextlib.contextmanager
    def on_loopback(self) -> Iterator[str]:
        """Serve the same on a socket, for the client that requests-mock does not reach; yield the address."""
        vi = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, document = vi.answer("GET", self.path, None)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


def _connect(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    connection = {"conn_type": "vi", "login": ORGANIZATION, "password": SECRET_KEY} | fields
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps(connection))


@pytest.fixture
def vi(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vi]:
    """A Vi with the flow that the pages show, behind the connection ``vi_default``, on 1 October 2026."""
    vi = Vi()
    vi.add("flow_abc123")

    def answer(request: requests_mock.request._RequestObjectProxy, context: Any) -> str:
        assert request.headers["Authorization"] == f"Bearer {SECRET_KEY}"
        context.status_code, document = vi.answer(request.method, request.url, request.json() if request.body else None)
        return "" if document is None else json.dumps(document)

    _connect(monkeypatch)
    with requests_mock.Mocker() as mocker, time_machine.travel(NOW, tick=True):
        mocker.register_uri(requests_mock.ANY, re.compile(f"{ENDPOINT}/workspaces/"), text=answer)
        yield vi


@pytest.fixture
def busy_vi(vi: Vi) -> Vi:
    """The same with more flows: one in use, one old, one new."""
    vi.add("flow_in_use", "In use")
    vi.add("tmp-1", "tmp-1", lastUpdated=1)
    vi.add("new", "New", timeCreated=NOW_MS - 24 * 3600 * 1000)
    return vi


# --- running a sample --------------------------------------------------------------------------------------------


class TaskInstance:
    """What a task sees of its task instance; the results are those of one run of a DAG."""

    dag_id, run_id, map_index, try_number = "docs", "manual", -1, 1

    def __init__(self, task_id: str, results: dict[str, Any]) -> None:
        self.task_id = task_id
        self._results = results

    def xcom_push(self, key: str, value: Any) -> None:
        json.dumps(value)

    def xcom_pull(self, task_ids: str, **_: Any) -> Any:
        return self._results[task_ids]

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        return None


def _execute(task: Any, results: dict[str, Any], dag: DAG) -> Any:
    context = {
        "ti": TaskInstance(task.task_id, results),
        "params": dag.params.dump(),
        "dag_run": SimpleNamespace(start_date=NOW),
        "macros": SimpleNamespace(timedelta=timedelta),
        "expanded_ti_count": None,
    }
    if hasattr(task, "expand_input"):
        (name, source) = next(iter(task.expand_input.value.items()))
        values = source.resolve(context)
        return [_execute(task.unmap({name: value}), results, dag) for value in values]
    if getattr(task, "mode", None) == "reschedule":
        task.mode = "poke"  # the other one looks into Airflow's database
    task.render_template_fields(context)
    return task.execute(context)


def _run_tasks(dag: DAG) -> dict[str, Any]:
    """Execute the tasks of a DAG in order, without Airflow's machinery; return their results."""
    results: dict[str, Any] = {}
    for task in dag.topological_sort():
        results[task.task_id] = _execute(task, results, dag)
        json.dumps(results[task.task_id])
    return results


def _run(block: Block) -> dict[str, Any]:
    """Run a sample as a reader would: in a DAG, its tasks afterwards; print and return what they return.

    What it writes to /tmp goes to a folder of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        code = block.code.replace("dtvi_…", SECRET_KEY).replace("/tmp/", f"{folder}/")  # noqa: S108 - in the text
        results = _run_code(code, str(block))
    results = json.loads(json.dumps(results).replace(folder, "/tmp"))  # noqa: S108
    for task_id, result in results.items():
        print(f"{task_id}: {result!r}")
    return results


def _run_code(code: str, origin: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "sample"}
    with DAG("sample", start_date=NOW, schedule=None) as dag:
        exec(compile(code, origin, "exec"), namespace)  # noqa: S102 - our own page
    for value in namespace.values():
        function = getattr(value, "function", None)
        if function is not None and not inspect.signature(function).parameters:
            print(f"{function.__name__}: {function()!r}")
    # A sample that makes a DAG of its own leaves ours empty.
    return _run_tasks(namespace.get("dag", dag))


# --- samples -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [b for page in RUNNABLE for b in _blocks(page, "python")], ids=str)
def test_every_python_sample_runs(block: Block, busy_vi: Vi, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as stack:
        if "get_async_conn" in block.code:
            _connect(monkeypatch, host=stack.enter_context(busy_vi.on_loopback()))
        _run(block)


@pytest.mark.parametrize("title", VENDOR_SAMPLES)
def test_each_sample_of_the_vendor_has_an_equivalent(
    title: str, busy_vi: Vi, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = _blocks("vi-sdk-to-airflow.md", "python", title)
    assert blocks
    for block in blocks:
        busy_vi.add("flow_abc123")  # an earlier block may have deleted it
        _run(block)
    printed = capsys.readouterr().out
    for expected in VENDOR_SAMPLES[title]:
        assert expected in printed


def test_nothing_but_the_samples_of_a_delete_deletes(busy_vi: Vi) -> None:
    for block in _blocks("vi-sdk-to-airflow.md", "python"):
        if not block.section.startswith("Delete"):
            _run(block)
    assert list(busy_vi.flows) == ["flow_abc123", "flow_in_use", "tmp-1", "new"]


def test_the_list_example_deletes_nothing(busy_vi: Vi, capsys: pytest.CaptureFixture[str]) -> None:
    _run(_blocks("operators/list_flows.md", "python")[0])
    assert "would_delete: [{'flow_id': 'tmp-1', 'outcome': 'would_delete'" in capsys.readouterr().out
    assert "tmp-1" in busy_vi.flows


def _example_call(page: str) -> Any:
    """Return the result of the last task of a page's example."""
    return list(_run(_blocks(page, "python")[-1]).values())[-1]


#: Page, number of its JSON block, and how to get what it shows.
XCOMS: list[tuple[str, int, Callable[[], Any]]] = [
    ("operators/list_flows.md", 0, lambda: ListFlowsOperator(task_id="t").execute({})),
    ("operators/list_flows.md", 1, lambda: ListFlowsOperator(task_id="t", result="summaries").execute({})),
    ("operators/list_flows.md", 2, lambda: ListFlowsOperator(task_id="t", result="ids").execute({})),
    ("operators/get_flow.md", 0, lambda: GetFlowOperator(task_id="t", flow_id="flow_abc123").execute({})),
    ("operators/delete_flow.md", 0, lambda: DeleteFlowOperator(task_id="t", flow_id="flow_abc123").execute({})),
    ("operators/create_flow.md", 0, lambda: _example_call("operators/create_flow.md")),
    ("operators/update_flow.md", 0, lambda: _example_call("operators/update_flow.md")),
    ("sensors/flow_exists.md", 0, lambda: _example_call("sensors/flow_exists.md")),
    ("sensors/flow_spec.md", 0, lambda: _example_call("sensors/flow_spec.md")),
    ("operators/export_flows.md", 0, lambda: _example_call("operators/export_flows.md") | {"sha256": "SHA256"}),
    ("links.md", 0, lambda: ViHook().settings.ui_url("flow_abc123")),
]


@pytest.mark.parametrize(("page", "number", "call"), XCOMS, ids=lambda value: str(value) if value != value else None)
def test_a_shown_xcom_is_what_the_task_returns(page: str, number: int, call: Callable[[], Any], vi: Vi) -> None:
    assert call() == json.loads(_blocks(page, "json")[number].code)


def test_every_shown_xcom_is_compared() -> None:
    shown = {(b.page, n) for page in PAGES if page != "VI_API.md" for n, b in enumerate(_blocks(page, "json"))}
    assert shown == {(page, number) for page, number, _ in XCOMS}


def test_the_shown_summary_is_what_info_prints(vi: Vi, capsys: pytest.CaptureFixture[str]) -> None:
    flow = ViHook().get_flow("flow_abc123")
    text = flow.info()
    assert capsys.readouterr().out.endswith(f"{text}\n")
    assert text.replace(flow.digest, "DIGEST") == _blocks("documents.md", "text", "info()")[0].code


def test_every_shown_connection_is_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0
    for page in PAGES:
        for block in _blocks(page, "bash"):
            for name, value in re.findall(r"^export AIRFLOW_CONN_(\w+)='(.+)'$", block.code, re.MULTILINE):
                monkeypatch.setenv(f"AIRFLOW_CONN_{name}", value.replace("dtvi_…", SECRET_KEY))
                assert ViHook(name.lower()).settings.organization_id == ORGANIZATION
                seen += 1
    assert seen >= 7


# --- tables ------------------------------------------------------------------------------------------------------


def _public_classes(kind: str) -> list[type]:
    modules = [importlib.import_module(name) for group in get_provider_info()[kind] for name in group["python-modules"]]
    return [
        value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and "Base" not in name and name[0] != "_"
    ]


def _page_of(cls: type) -> str:
    if cls is ViHook:
        return "hook.md"
    folder = "sensors" if cls.__name__.endswith("Sensor") else "operators"
    name = re.sub(r"(Operator|Sensor)$", "", cls.__name__)
    return f"{folder}/{re.sub(r'(?<!^)(?=[A-Z])', '_', name).lower()}.md"


def _arguments(cls: type) -> dict[str, inspect.Parameter]:
    """Return the arguments of a class that are this provider's own."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if base.__module__.startswith("vi_airflow_provider") and "__init__" in vars(base):
            found = dict(inspect.signature(base.__init__).parameters) | found  # type: ignore[misc]
    return {n: p for n, p in found.items() if n != "self" and p.kind is not inspect.Parameter.VAR_KEYWORD}


CLASSES = [cls for kind in ("operators", "sensors", "hooks") for cls in _public_classes(kind)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_class_has_a_page_with_all_its_arguments(cls: type) -> None:
    page = _page_of(cls)
    assert (DOCS / page).exists(), f"{cls.__name__} has no page docs/{page}"
    rows = {row[0]: row for row in _first_table(page, "Arguments")}
    arguments = _arguments(cls)
    assert set(rows) == set(arguments)
    for name, parameter in arguments.items():
        default = rows[name][2]
        if default == "required":
            assert parameter.default is inspect.Parameter.empty, name
        elif default == "configuration":
            assert parameter.default is conf.getboolean("operators", "default_deferrable"), name
        else:
            assert parameter.default == ast.literal_eval(default), name


@pytest.mark.parametrize("cls", [*_public_classes("operators"), *_public_classes("sensors")], ids=lambda c: c.__name__)
def test_each_page_says_which_arguments_are_templates(cls: Any) -> None:
    stored_as = {"dry_run": "dry_run_requested"}  # `dry_run` is a method of every operator
    for name, _, _, templated, *_ in _first_table(_page_of(cls), "Arguments"):
        assert templated == ("yes" if stored_as.get(name, name) in cls.template_fields else "no"), name


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_page_has_the_sections_that_a_reader_looks_for(cls: type) -> None:
    text = (DOCS / _page_of(cls)).read_text()
    for heading in ("Arguments", "Errors", "Example", *(() if cls is ViHook else ("XCom", "Notes"))):
        assert f"\n## {heading}\n" in text


def test_the_hook_page_has_all_methods_with_their_signatures() -> None:
    documented = {row[0] for row in _rows(_section("hook.md", "Methods"))}
    form_of_airflow_2 = {"get_ui_field_behaviour", "get_connection_form_widgets"}
    for name, member in vars(ViHook).items():
        if name[0] == "_" or name in form_of_airflow_2 or not inspect.isfunction(member):
            continue
        signature = inspect.signature(member)
        parameters = [p.replace(annotation=p.empty) for p in list(signature.parameters.values())[1:]]
        plain = signature.replace(parameters=parameters, return_annotation=signature.empty)
        assert f"{name}{plain}" in documented


def test_the_documents_page_has_all_fields() -> None:
    text = (DOCS / "documents.md").read_text()
    for model in (
        *(models.Flow, models.FlowSpec, models.FlowBlock, models.ResourceMetadata),
        *(models.FlowPage, models.SimpleFlow, models.DeletedFlow),
    ):
        start = re.search(rf"^`{model.__name__}`.*\n\n((?:\|.*\n)+)", text, re.MULTILINE)
        assert start, model
        assert [row[0] for row in _rows(start[1])] == list(model.model_fields)


def test_the_connection_page_has_all_keys_of_the_extra() -> None:
    rows = _rows(_section("connection.md", "Extra"))
    assert [row[0] for row in rows] == list(EXTRA_FIELDS)
    form = get_provider_info()["connection-types"][0]["conn-fields"]
    defaults = ViSettings(organization_id=ORGANIZATION, secret_key=SECRET_KEY)
    for key, label, _, default, bounds, _ in rows:
        assert form[key]["label"] == label
        value = getattr(defaults, key)
        assert default == (
            "none" if value is None else value if isinstance(value, str) else json.dumps(value).removesuffix(".0")
        ), key
        if match := re.fullmatch(r"([\d.]+) to ([\d.]+)", bounds):
            low, high = map(float, match.groups())
            for usable in (low, high):
                ViSettings.from_extra({key: usable}, organization_id=ORGANIZATION, secret_key=SECRET_KEY)
            for unusable in (low - 0.001, high + 1):
                with pytest.raises(ViConfigurationError, match=key):
                    ViSettings.from_extra({key: unusable}, organization_id=ORGANIZATION, secret_key=SECRET_KEY)


#: Situation in docs/connection.md, and the connection that is in it.
UNUSABLE: dict[str, dict[str, Any]] = {
    "no password": {"password": ""},
    "key cut": {"password": "dtvi_abc"},
    "key with white space inside": {"password": "dtvi_ab c"},
    "no login": {"login": ""},
    "login unusable": {"login": "../x"},
    "plain HTTP": {"host": "http://vi.example.com"},
    "credentials in the host": {"host": "https://user:password@vi.example.com"},
    "path in a plain URI": {"host": "vi.example.com", "schema": "gateway"},
    "unknown extra key": {"extra": {"pagesize": 5}},
    "extra is no JSON object": {"extra": "{page_size: 100"},
    "extra out of range": {"extra": {"page_size": 0}},
    "CA file missing": {"extra": {"verify": "/no/such.pem"}},
    "proxy is no URL": {"extra": {"proxy": "proxy.example"}},
}

#: Situation in docs/connection.md, and the answer that makes it: status, body, headers.
ANSWERS: dict[str, tuple[int, Any, dict[str, str]]] = {
    "401": (401, {"message": "Invalid secret key"}, {"x-cloud-trace-context": "105445aa7843bc8bf206b12000100000/1"}),
    "403": (403, {"message": "No access to training"}, {}),
    "404": (404, {"message": "not found"}, {}),
    "429": (429, {}, {"Retry-After": "30"}),
    "500": (500, {}, {}),
    "redirect to elsewhere": (302, {}, {"Location": "https://login.example/sso?back"}),
    "a web page": (200, "<html>", {"Content-Type": "text/html"}),
    "JSON without flows": (200, {"error": "x"}, {}),
}


def _shown_messages() -> dict[str, str]:
    return {row[0]: row[1] for row in _rows(_section("connection.md", "Test it"))}


@pytest.mark.parametrize(
    "situation",
    [pytest.param(name, marks=extra_may_be_no_json) if "no JSON" in name else name for name in UNUSABLE],
)
def test_a_connection_that_is_unusable_says_what_the_page_says(situation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _connect(monkeypatch, **UNUSABLE[situation])
    ok, message = ViHook().test_connection()
    assert not ok
    assert message.startswith(_shown_messages()[situation])


@pytest.mark.parametrize("situation", ANSWERS)
def test_a_connection_that_is_refused_says_what_the_page_says(situation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    status, body, headers = ANSWERS[situation]
    _connect(monkeypatch)
    with requests_mock.Mocker() as mocker:
        text = body if isinstance(body, str) else json.dumps(body) if body else ""
        mocker.get(requests_mock.ANY, status_code=status, text=text, headers=headers)
        ok, message = ViHook().test_connection()
    assert not ok
    assert message.startswith(_shown_messages()[situation])


def test_a_connection_that_works_says_what_the_page_says(vi: Vi) -> None:
    shown = _shown_messages()
    assert ViHook().test_connection() == (True, shown["the organization has flows"])
    vi.flows.clear()
    assert ViHook().test_connection() == (True, shown["it has none"])


def test_the_messages_of_the_network_are_those_of_the_code() -> None:
    rows = _rows(_section("connection.md", "Test it").partition("| layer |")[2].partition("\n\n")[0])
    assert len(rows) >= 10
    advice = ""
    for layer, message, shown, *_ in rows:
        kinds = [kind for kind in FailureKind if message.startswith(kind.value)]
        assert kinds, layer
        kind = max(kinds, key=lambda kind: len(kind.value))
        advice = advice if shown.startswith("the same") else shown.partition("`")[0]
        assert error_class(Failure(kind)).advice == advice, layer


def test_the_errors_page_has_the_whole_family() -> None:
    rows = {row[0]: row for row in _rows(_section("errors.md", "The family"))}
    family = {name: cls for name, cls in vars(errors).items() if inspect.isclass(cls) and issubclass(cls, ViError)}
    assert set(rows) == set(family)
    for name, (_, _, retries, advice) in rows.items():
        if name != "ViError":
            assert retries == ("used" if family[name].retryable else "not used"), name
            assert not family[name].advice or family[name].advice == advice, name


def test_the_errors_page_says_what_is_tried_again() -> None:
    rows = _rows(_section("errors.md", "What is tried again"))
    assert {row[0] for row in rows} >= {kind.value for kind in FailureKind}
    for situation, error, repeated, patch in rows:
        outcome = Response(int(situation)) if situation.isdecimal() else Failure(FailureKind(situation))
        assert error_class(outcome).__name__ == error, situation
        for methods, shown in ((("GET", "PUT", "DELETE"), repeated), (("PATCH",), patch)):
            for method in methods:
                assert ("yes" if may_retry(Request(method, "", "", {}), outcome) else "no") == shown, situation


# --- links -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [ROOT / "README.md", *(DOCS / page for page in PAGES)], ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert anchor in {_slug(heading) for heading in headings}, target


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    for page in PAGES:
        assert page == "README.md" or f"]({page})" in index


def test_every_section_that_the_code_cites_exists() -> None:
    headings = re.findall(r"^## (\d+)\. ", (DOCS / "VI_API.md").read_text(), re.MULTILINE)
    cited = {
        number
        for source in (ROOT / "vi_airflow_provider").rglob("*.py")
        for number in re.findall(r"VI_API\.md,? section (\d+)", source.read_text())
    }
    assert cited
    assert cited <= set(headings)
