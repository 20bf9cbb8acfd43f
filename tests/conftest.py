"""A home of its own for Airflow, set up before anything imports it.

Each pytest process (also each worker of xdist) has one and deletes it when it ends. No database is created here:
unit tests need none.
"""

from __future__ import annotations

import atexit
import faulthandler
import json
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

if "airflow" in sys.modules:
    raise RuntimeError("Airflow was imported before tests/conftest.py could give it a home of its own")

_HOME = Path(tempfile.mkdtemp(prefix="vi-airflow-home-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
(_HOME / "dags").mkdir()

# OpenLineage writes its events here, and only those of the DAG that a test runs for it.
LINEAGE = _HOME / "lineage.jsonl"
_TRANSPORT = {"type": "file", "log_file_path": str(LINEAGE), "append": True}
_POLICY = [
    {"scope": {}, "controls": {"emit": False}},
    {"scope": {"dag_id": "lineage"}, "controls": {"emit": True}},
    {"scope": {"dag_id": "train_a_model"}, "controls": {"emit": True}},
]

os.environ |= {
    "AIRFLOW_HOME": str(_HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(_HOME / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
    "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(_TRANSPORT),
    "AIRFLOW__OPENLINEAGE__EMISSION_POLICY": json.dumps(_POLICY),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
}
if version("apache-airflow").startswith("2."):
    # The only executor that works with SQLite; Airflow 3 no longer has it.
    os.environ["AIRFLOW__CORE__EXECUTOR"] = "SequentialExecutor"


def pytest_unconfigure() -> None:
    """End the process with the traceback of every thread if one of them keeps it from ending within five minutes."""
    main = sys.modules["__main__"].__spec__
    if main is not None and main.name == "pytest.__main__" and sys.__stderr__ is not None:  # not in mutation tests
        faulthandler.dump_traceback_later(300, exit=True, file=sys.__stderr__)
