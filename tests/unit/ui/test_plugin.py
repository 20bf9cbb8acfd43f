"""The plug-in: cheap where tasks run, complete in the web server, and harmless when its app cannot be built."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest

from tests.versions import AIRFLOW
from vi_airflow_provider.ui.plugin import ViPlugin

has_pages = pytest.mark.skipif(AIRFLOW < (3, 1), reason="Airflow before 3.1 has no pages of plug-ins")


def in_new_process(code: str) -> Any:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_airflow_finds_the_plugin_by_its_entry_point() -> None:
    (found,) = [point for point in entry_points(group="airflow.plugins") if point.name == "vi"]
    assert found.load() is ViPlugin


ALLOWED = {"vi_airflow_provider", *(f"vi_airflow_provider.{name}" for name in ("provider_info", "ui", "ui.plugin"))}
#: What every process of Airflow has loaded before it loads plug-ins.
AIRFLOW_LOADED = "import airflow.plugins_manager\nfrom airflow.providers.common.compat.sdk import AirflowPlugin, conf"


def test_importing_the_plugin_loads_no_library() -> None:
    loaded = in_new_process(f"""
import json, sys
{AIRFLOW_LOADED}
before = set(sys.modules)
from vi_airflow_provider.ui.plugin import ViPlugin
ViPlugin()
print(json.dumps(sorted(set(sys.modules) - before)))
""")
    ours = {name for name in loaded if name.startswith("vi_airflow_provider")}
    # The package itself may be loaded, as Airflow reads the metadata of providers.
    assert {"vi_airflow_provider.ui", "vi_airflow_provider.ui.plugin"} <= ours <= ALLOWED
    assert set(loaded) - ours <= set(sys.stdlib_module_names)


def test_importing_the_plugin_takes_less_than_3_ms() -> None:
    # CPU time of the best of several processes: other processes on this machine do not count.
    times = [
        in_new_process(f"""
import time
{AIRFLOW_LOADED}
start = time.thread_time()
from vi_airflow_provider.ui.plugin import ViPlugin
ViPlugin()
print(time.thread_time() - start)
""")
        for _ in range(3)
    ]
    assert min(times) < 0.003


@has_pages
def test_task_process_that_loads_all_plugins_loads_no_fastapi_for_this_one() -> None:
    plugins = "plugins_manager._get_plugins()[0]" if AIRFLOW >= (3, 2) else "plugins_manager.plugins"
    loaded = in_new_process(f"""
import json, sys
from airflow import plugins_manager
plugins_manager.ensure_plugins_loaded()
names = [type(plugin).__name__ for plugin in {plugins}]
print(json.dumps([names, sorted(name for name in sys.modules if name.startswith("vi_airflow_provider.ui"))]))
""")
    assert "ViPlugin" in loaded[0]
    assert loaded[1] == ["vi_airflow_provider.ui", "vi_airflow_provider.ui.plugin"]


@has_pages
def test_web_server_gets_the_app() -> None:
    (app,) = ViPlugin().fastapi_apps
    assert (app["url_prefix"], app["name"]) == ("/vi", "Datature Vi")


@has_pages
def test_app_that_cannot_be_built_does_not_stop_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no app")

    monkeypatch.setattr("vi_airflow_provider.ui.app.create_app", fail)
    with caplog.at_level(logging.ERROR):
        assert ViPlugin().fastapi_apps == []
    assert "The page of Datature Vi is not available" in caplog.text


@pytest.mark.parametrize("value", ["False", "not a boolean"])
def test_page_can_be_switched_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__VI__UI_ENABLED", value)
    assert ViPlugin().fastapi_apps == []


@pytest.mark.parametrize("version", ["2.11.2", "3.0.6"])
def test_earlier_versions_of_airflow_get_nothing(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vi_airflow_provider.ui.plugin.airflow_version", version)
    assert ViPlugin().fastapi_apps == []


@has_pages
def test_configured_connections_reach_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("vi_airflow_provider.ui.app.create_app", lambda connections, **_: seen.append(connections))
    monkeypatch.setenv("AIRFLOW__VI__UI_CONNECTIONS", " vi_one, vi_two,,")
    assert ViPlugin().fastapi_apps
    assert seen == [["vi_one", "vi_two"]]
