"""The Python samples of the README run in a DAG; and what runs the samples and commands of each page."""

from __future__ import annotations

import configparser
import re
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from tests.unit.docs.pages import PAGES, README, ROOT, Block, blocks
from tests.unit.docs.test_samples import NOT_RUN
from tests.unit.docs.vi_server import Vi

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
#: What runs the commands of a page.
COMMANDS: Final = {
    "audit.md": "tests/unit/docs/test_audit_pages.py",
    "audit_report.md": "tests/unit/docs/test_audit_pages.py",
    "cli.md": "tests/unit/docs/test_cli_page.py",
    "connection.md": "tests/unit/docs/test_samples.py",
    "emulator.md": "tests/unit/docs/test_emulator_page.py",
    "fault_matrix.md": "tests/unit/docs/test_readme_samples.py",
    "index.md": "tests/unit/docs/test_readme_samples.py",
    "links.md": "tests/unit/docs/test_samples.py",
    "performance.md": "tests/unit/docs/test_readme_samples.py",
    "recipes.md": "tests/unit/docs/test_samples.py",
    "reliability.md": "tests/unit/docs/test_readme_samples.py",
    "tutorial.md": "tests/package/tutorial.py",
}
#: Pages whose Python samples are run elsewhere.
PYTHON: Final = {"emulator.md", "tutorial.md"}


@pytest.mark.parametrize("block", blocks(README, "python"), ids=str)
def test_sample_of_the_readme_runs(block: Block, vi: Vi) -> None:
    @task(task_id="train")
    def train(flow: Any) -> None:
        """Stands for a task of the reader's."""

    names: dict[str, Any] = {"__name__": "sample", "train": train}
    with DAG("sample", start_date=START, schedule=None) as dag:
        exec(compile(block.code, str(block), "exec"), names)  # noqa: S102 - our own documentation
        counts = names.get("count_blocks")
    assert dag.task_ids or (counts is not None and counts.function() == len(vi.flows["flow_abc123"]["spec"]["blocks"]))


def test_every_page_with_commands_names_what_runs_them() -> None:
    languages = ("bash", "console", "sh", "shell", "toml")
    pages = {page for page in PAGES if any(blocks(page, language) for language in languages)}
    assert pages == COMMANDS.keys()
    for page, test in COMMANDS.items():
        text = (ROOT / test).read_text(encoding="utf-8")
        assert page in text or "for page in PAGES" in text, page


def test_every_page_with_python_is_run() -> None:
    from tests.unit.docs.test_samples import RUN_EXAMPLES

    assert set(NOT_RUN) - RUN_EXAMPLES.keys() == PYTHON


@pytest.mark.parametrize(
    "page", ["fault_matrix.md", "index.md", "performance.md", "reliability.md", "../CONTRIBUTING.md"]
)
def test_make_targets_and_test_paths_of_commands_exist(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = "\n".join(block.code for language in ("bash", "console") for block in blocks(page, language))
    for target in re.findall(r"^(?:\$ )?make ([a-z-]+)", commands, re.MULTILINE):
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target
    for path in re.findall(r"\btests/[\w./]+", commands):
        assert (ROOT / path).exists(), path
    for extra in re.findall(r"vi-airflow-provider\[(\w+)\]", commands):
        assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_settings_of_recipes_are_readable() -> None:
    (block,) = blocks("recipes.md", "ini")
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(block.code)
    assert set(settings["secrets"]) == {"backend", "backend_kwargs"}


def test_ci_steps_of_recipes_are_readable() -> None:
    yaml = pytest.importorskip("yaml")
    (block,) = blocks("recipes.md", "yaml")
    steps = yaml.safe_load(block.code)["steps"]
    assert [step["run"] for step in steps if "run" in step][-1] == "pytest tests"
