"""The button "Open in Vi" opens the URL that the task stored."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from vi_airflow_provider.links import flows as links
from vi_airflow_provider.links.flows import ViFlowLink


def test_the_button_is_named() -> None:
    assert ViFlowLink().name == "Open in Vi"


@pytest.mark.parametrize(("stored", "opened"), [("https://ui.example/flow", "https://ui.example/flow"), (None, "")])
def test_the_button_opens_the_stored_url(stored: str | None, opened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[dict[str, Any]] = []

    class Store:
        @staticmethod
        def get_value(**key: Any) -> str | None:
            requested.append(key)
            return stored

    monkeypatch.setattr(links, "XCom", Store)
    task_instance: Any = object()
    assert ViFlowLink().get_link(BaseOperator(task_id="task"), ti_key=task_instance) == opened
    assert requested == [{"ti_key": task_instance, "key": ViFlowLink().xcom_key}]


def test_links_compare_equal_so_that_a_parsed_dag_is_stable() -> None:
    assert ViFlowLink() == ViFlowLink()
