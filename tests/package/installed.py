"""Use the built wheel as its users do: in an environment that has nothing else of this repository.

Airflow must find the provider, every module must be importable, the example DAGs inside the wheel must parse, and the
tutorial must run as printed.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tests.layers import ROOT
from tests.package.tutorial import read_tutorial, run_tutorial

#: Runs in the clean environment: imports every module but those of extras that are not installed.
IMPORT_ALL: Final = """
import importlib, pkgutil, sys
import vi_airflow_provider as package
assert "site-packages" in package.__file__, package.__file__
names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
optional = (".__main__", ".pytest_plugin", ".lineage")  # the last two need pytest and OpenLineage's provider
names = [name for name in names if ".example_dags" not in name and not name.endswith(optional)]
for name in names:
    importlib.import_module(name)
print(f"{len(names)} modules imported")
"""
PARSE_EXAMPLES: Final = """
import os, vi_airflow_provider
from airflow.dag_processing.dagbag import DagBag
folder = os.path.join(os.path.dirname(vi_airflow_provider.__file__), "example_dags")
bag = DagBag(folder)
assert not bag.import_errors, bag.import_errors
assert len(bag.dag_ids) >= 7, bag.dag_ids
print(f"{len(bag.dag_ids)} example DAGs parsed")
"""


def check_installed(uv: Path, python: str, wheel: Path, constraints: Path, environment: Path) -> None:
    """Install the wheel with the pins of Airflow 3.3, and use it.

    :param environment: folder of the new environment, which is replaced
    :raises AssertionError: something does not work
    """
    _run([uv, "venv", "-q", "--clear", "--seed", "--python", python, environment])
    requirement = f"vi-airflow-provider[emulator,parquet] @ {wheel.resolve().as_uri()}"
    installed = environment / "bin" / "python"
    _run([uv, "pip", "install", "-q", "--python", installed, "-c", constraints, "apache-airflow==3.3.2", requirement])
    with tempfile.TemporaryDirectory() as home:
        variables = clean_variables(environment, Path(home))
        _run([installed, "-m", "pip", "check"], variables)
        _run([installed, "-c", IMPORT_ALL], variables)
        _run([installed, "-c", PARSE_EXAMPLES], variables)
        _run([environment / "bin" / "airflow", "providers", "get", "vi-airflow-provider"], variables)
        run_tutorial(variables, Path(home))
        _run([uv, "pip", "install", "-q", "--python", installed, "-c", constraints, "pytest"])
        _run([environment / "bin" / "pytest", "-q", write_ci_test(Path(home, "project"))], variables)


def write_ci_test(folder: Path) -> Path:
    """Write the test of a DAG that the page of recipes shows, beside the DAG of the tutorial."""
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    shown = re.search(r"^:caption: test_cleanup\.py\n\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown, "the page shows no test_cleanup.py"
    dags, _ = read_tutorial((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"))
    files = {
        folder / "tests" / "test_cleanup.py": shown[1],
        folder / "dags" / "cleanup.py": dags["airflow/dags/cleanup.py"].replace("/tmp/", f"{folder}/"),  # noqa: S108
    }
    for file, code in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code, encoding="utf-8")
    return folder / "tests"


def clean_variables(environment: Path, home: Path) -> dict[str, str]:
    """Return environment variables without Airflow's, Python's and our own settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "PYTHON", "VIRTUAL_ENV", "VI_", "PYTEST"))
    }
    path = f"{environment}/bin:{os.environ['PATH']}"
    return kept | {"HOME": str(home), "AIRFLOW_HOME": str(home / "airflow"), "PATH": path}


def _run(command: list[str | Path], variables: dict[str, str] | None = None) -> None:
    folder = ROOT if variables is None else variables["HOME"]
    done = subprocess.run(  # noqa: S603
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    if variables is not None:
        print(f"{Path(command[0]).name} {str(command[-1]).splitlines()[-1]:.60}: {done.stdout.splitlines()[-1]:.100}")
