"""Every sample in the documentation runs, and shows the values that the code returns."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.documents import SECRET_KEY
from tests.unit.docs.pages import PAGES, Block, blocks
from tests.unit.docs.samples import run
from tests.unit.docs.vi_server import ORGANIZATION, Vi, connect
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.operators.flows import DeleteFlowOperator, GetFlowOperator, ListFlowsOperator

#: Runs take their time: their examples are only parsed here, and the operators are run against the emulator in
#: tests/unit/training.
RUN_EXAMPLES: Final = {
    "operators/start_run.md": {"train", "sweep"},
    "operators/get_run.md": {"read"},
    "operators/kill_run.md": {"kill"},
    "operators/list_runs.md": {"recent", "read"},
    "sensors/run_state.md": {"start", "trained"},
    "operators/get_run_outputs.md": {"metrics"},
    "operators/export_model.md": {"model"},
    "operators/export_run_logs.md": {"log"},
    "operators/prune_runs.md": {"prune"},
    "operators/kill_overdue_runs.md": {"kill_overdue"},
    "operators/export_runs.md": {"export"},
}
#: The samples of emulator.md are run by test_emulator_page.py, those of the tutorial by `make test-package`.
NOT_RUN: Final = ("emulator.md", "tutorial.md", *RUN_EXAMPLES)
RUNNABLE: Final = [block for page in PAGES if page not in NOT_RUN for block in blocks(page, "python")]


@pytest.mark.parametrize("block", RUNNABLE, ids=str)
def test_python_sample_runs(block: Block, busy_vi: Vi, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as stack:
        if "get_async_conn" in block.code:
            connect(monkeypatch, host=stack.enter_context(busy_vi.on_loopback()))
        run(block)


@pytest.mark.parametrize("page", RUN_EXAMPLES)
def test_run_example_is_a_dag(page: str) -> None:
    names: dict[str, Any] = {}
    exec(blocks(page, "python")[0].code, names)  # noqa: S102 - our own documentation
    assert set(names["dag"].task_ids) == RUN_EXAMPLES[page]


def test_list_example_deletes_nothing(busy_vi: Vi, capsys: pytest.CaptureFixture[str]) -> None:
    run(blocks("operators/list_flows.md", "python")[0])
    assert "would_delete: [{'flow_id': 'tmp-1', 'outcome': 'would_delete'" in capsys.readouterr().out
    assert "tmp-1" in busy_vi.flows


def example(page: str) -> Any:
    """Return the result of the last task of a page's last example."""
    return list(run(blocks(page, "python")[-1]).values())[-1]


#: A page, the index of one of its JSON blocks, and a call that returns the value shown there.
JSON_EXAMPLES: Final[list[tuple[str, int, Callable[[], Any]]]] = [
    ("operators/list_flows.md", 0, lambda: ListFlowsOperator(task_id="t").execute({})),
    ("operators/list_flows.md", 1, lambda: ListFlowsOperator(task_id="t", result="summaries").execute({})),
    ("operators/list_flows.md", 2, lambda: ListFlowsOperator(task_id="t", result="ids").execute({})),
    ("operators/get_flow.md", 0, lambda: GetFlowOperator(task_id="t", flow_id="flow_abc123").execute({})),
    ("operators/delete_flow.md", 0, lambda: DeleteFlowOperator(task_id="t", flow_id="flow_abc123").execute({})),
    ("operators/create_flow.md", 0, lambda: example("operators/create_flow.md")),
    ("operators/update_flow.md", 0, lambda: example("operators/update_flow.md")),
    ("sensors/flow_exists.md", 0, lambda: example("sensors/flow_exists.md")),
    ("sensors/flow_spec.md", 0, lambda: example("sensors/flow_spec.md")),
    ("operators/export_flows.md", 0, lambda: example("operators/export_flows.md") | {"sha256": "SHA256"}),
    ("links.md", 0, lambda: ViHook().settings.ui_url("flow_abc123")),
]


@pytest.mark.parametrize(("page", "number", "call"), JSON_EXAMPLES, ids=[f"{p}-{n}" for p, n, _ in JSON_EXAMPLES])
def test_json_example_equals_the_returned_value(page: str, number: int, call: Callable[[], Any], vi: Vi) -> None:
    assert call() == json.loads(blocks(page, "json")[number].code)


def test_every_json_example_is_compared() -> None:
    shown = {
        (block.page, n)
        for page in PAGES
        if page not in ("VI_API.md", "recipes.md")
        for n, block in enumerate(blocks(page, "json"))
    }
    assert shown == {(page, number) for page, number, _ in JSON_EXAMPLES}


def test_summary_example_equals_the_output_of_info(vi: Vi, capsys: pytest.CaptureFixture[str]) -> None:
    flow = ViHook().get_flow("flow_abc123")
    text = flow.info()
    assert capsys.readouterr().out.endswith(f"{text}\n")
    assert text.replace(flow.digest, "DIGEST") == blocks("documents.md", "text", "info()")[0].code


def test_every_connection_example_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    definitions = [
        definition
        for page in PAGES
        for block in blocks(page, "bash")
        for definition in re.findall(r"^export AIRFLOW_CONN_(\w+)='(.+)'$", block.code, re.MULTILINE)
    ]
    assert len(definitions) >= 7
    for name, value in definitions:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", value.replace("dtvi_…", SECRET_KEY))
        organization = "acme-research" if name == "VI_RESEARCH" else ORGANIZATION
        assert ViHook(name.lower()).settings.organization_id == organization
