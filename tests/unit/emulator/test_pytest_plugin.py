"""The plugin in pytest runs of other projects."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

PLUGIN = "vi_airflow_provider.emulator.pytest_plugin"
SETTINGS = "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
#: Only this plugin: the other installed plugins take seconds to load.
ALONE: Mapping[str, str] = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": PLUGIN}

RunPytest = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_pytest(tmp_path: Path) -> RunPytest:
    """Run pytest on a test file in a project of its own."""

    def run(source: str, *arguments: str, env: Mapping[str, str] | None = ALONE) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_it.py").write_text(source)
        command = [sys.executable, "-m", "pytest", "-W", "error", "--strict-markers", "-q", *arguments]
        return subprocess.run(  # noqa: S603
            command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_unused_plugin_loads_no_server(run_pytest: RunPytest, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    done = run_pytest(
        "import sys\n"
        "def test():\n"
        f"    assert {PLUGIN!r} in sys.modules\n"
        "    own = {name for name in sys.modules if name.startswith('vi_airflow_provider.emulator')}\n"
        f"    assert own == {{'vi_airflow_provider.emulator', {PLUGIN!r}}}\n"
        "    assert not {'starlette', 'uvicorn', 'airflow', 'pydantic', 'vi'} & set(sys.modules)\n",
        env=None,
    )
    assert done.returncode == 0, done.stdout


def test_import_loads_only_pytest() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        f"import {PLUGIN}\n"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('vi_airflow_provider')))"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "[]\n"


def test_each_test_gets_a_fresh_emulator_and_the_connection(run_pytest: RunPytest) -> None:
    done = run_pytest(
        "import json, os, pytest\n"
        "urls = []\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_fresh(vi_emulator, n):\n"
        "    urls.append(vi_emulator.url)\n"
        "    assert len(set(urls)) == 1\n"
        "    assert len(vi_emulator.store.flow_ids()) == 40\n"
        "    assert not vi_emulator.requests and not vi_emulator.faults.rules()\n"
        "    assert json.loads(os.environ['AIRFLOW_CONN_VI_DEFAULT']) == vi_emulator.connection\n"
        "    vi_emulator.store.delete_flow(vi_emulator.store.flow_ids()[-1])\n"
        "    vi_emulator.faults.add(status=503)\n"
        "@pytest.mark.vi_emulator(flows=25, seed=1, page_cap=10)\n"
        "def test_marked(vi_emulator):\n"
        "    assert len(vi_emulator.store.flow_ids()) == 25\n"
        "def test_after():\n"
        "    assert 'AIRFLOW_CONN_VI_DEFAULT' not in os.environ\n"
    )
    assert "4 passed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("marker", "message"), [("flows=-1", "flows must not be negative"), ("flow=1", "unexpected keyword argument")]
)
def test_invalid_marker_is_explained(run_pytest: RunPytest, marker: str, message: str) -> None:
    done = run_pytest(f"import pytest\n@pytest.mark.vi_emulator({marker})\ndef test(vi_emulator): pass\n")
    assert done.returncode != 0
    assert message in done.stdout


def test_the_marker_is_registered(run_pytest: RunPytest) -> None:
    assert "@pytest.mark.vi_emulator(flows=" in run_pytest("", "--markers").stdout


def test_missing_dependency_names_the_extra(run_pytest: RunPytest) -> None:
    done = run_pytest("import sys\nsys.modules['uvicorn'] = None\ndef test(vi_emulator): pass\n")
    assert "pip install 'vi-airflow-provider[emulator]'" in done.stdout
