"""The page of examples shows each of them, and the sample for MLflow logs what it should."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from tests.unit.docs.pages import ROOT, text_of
from tests.versions import AIRFLOW
from vi_airflow_provider.emulator import Emulator

SUMMARY = {
    "run_id": "r1",
    "state": "succeeded",
    "flow_name": "Weld seams",
    "flow_digest": "d1",
    "url": "https://vi.example/r1",
    "best": {"metrics": {"f1": 0.9, "loss": None}},
}


def test_page_of_examples_shows_every_example() -> None:
    shown = re.findall(r"^```\{literalinclude\} \.\./dags_examples/(\w+)\.py$", text_of("examples.md"), re.MULTILINE)
    assert shown == sorted(path.stem for path in (ROOT / "dags_examples").glob("*.py"))


class FakeMlflow(ModuleType):
    def __init__(self) -> None:
        super().__init__("mlflow")
        self.calls: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda value: self.calls.append((name, value))

    @contextmanager
    def start_run(self, run_name: str) -> Iterator[None]:
        self.calls.append(("start_run", run_name))
        yield


@pytest.mark.skipif(AIRFLOW < (3, 2), reason="Airflow 3.1 has the callback in another module")
def test_late_audit_is_reported_by_the_triggerer() -> None:
    shown = re.search(r"^:caption: late_audit\.py\n\n(.*?)^```$", text_of("recipes.md"), re.MULTILINE | re.DOTALL)
    assert shown
    names: dict[str, Any] = {}
    exec(compile(shown[1], "recipes.md", "exec"), names)  # noqa: S102 - our own documentation
    assert names["LATE"].callback.path.endswith("ViReportNotifier")


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow 3.3 brought retry policies")
def test_count_is_retried_as_the_server_requests(vi_emulator: Emulator) -> None:
    shown = re.search(r"^:caption: count_flows\.py\n\n(.*?)^```$", text_of("recipes.md"), re.MULTILINE | re.DOTALL)
    assert shown
    names: dict[str, Any] = {}
    exec(compile(shown[1], "recipes.md", "exec"), names)  # noqa: S102 - our own documentation
    (operator,) = names["dag"].tasks
    assert isinstance(operator.retry_policy, names["ViRetryPolicy"])
    assert operator.python_callable() == 40


def test_mlflow_sample_logs_parameters_and_finite_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.search(r"^:caption: log_to_mlflow\.py\n\n(.*?)^```$", text_of("recipes.md"), re.MULTILINE | re.DOTALL)
    assert shown
    names: dict[str, Any] = {}
    exec(compile(shown[1], "recipes.md", "exec"), names)  # noqa: S102 - our own documentation
    mlflow = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    names["log_to_mlflow"].function(SUMMARY)
    assert mlflow.calls == [
        ("set_experiment", "Weld seams"),
        ("start_run", "r1"),
        ("log_params", {"flow_digest": "d1", "seed": 7}),
        ("log_metrics", {"f1": 0.9}),
        ("set_tags", {"vi_url": "https://vi.example/r1", "vi_state": "succeeded"}),
    ]
