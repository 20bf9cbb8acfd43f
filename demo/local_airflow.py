"""A real Airflow on SQLite, in one process and one folder, that can run DAG files.

Airflow reads its configuration when it is first imported, so call `configure` before any import of it.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES = Path(__file__).resolve().parent.parent / "dags_examples"


def configure(home: Path, **extra: str) -> None:
    """Point Airflow at a folder of its own.

    :raises RuntimeError: Airflow was imported before, so the configuration would have no effect
    """
    if "airflow" in sys.modules:
        raise RuntimeError("Airflow was imported before it was configured")
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(environment(home), **extra)


def environment(home: Path, lock_timeout: int = 5) -> dict[str, str]:
    """Return the environment of an Airflow that keeps everything in `home` and loads the example DAGs.

    :param lock_timeout: seconds to wait while another process writes to the database
    """
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout={lock_timeout}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def create_database() -> None:
    """Create Airflow's tables."""
    from airflow.utils import db

    logging.getLogger("alembic").setLevel(logging.WARNING)
    db.initdb()


def load_dags(folder: Path = EXAMPLES) -> dict[str, Any]:
    """Load the DAG files of a folder as the DAG processor does, and return the DAGs by id.

    :raises ImportError: a file cannot be loaded
    """
    try:
        from airflow.dag_processing import dagbag  # Airflow 3.2 and later
    except ImportError:
        from airflow.models import dagbag  # type: ignore[no-redef]
    bag = dagbag.DagBag(dag_folder=str(folder))
    if bag.import_errors:
        raise ImportError("\n".join(f"{path}: {error}" for path, error in bag.import_errors.items()))
    store_dags(bag, dagbag)
    return dict(bag.dags)


def store_dags(bag: Any, module: Any) -> None:
    """Store the DAGs of a bag and their assets in the database; Airflow 2 runs them without."""
    try:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
    except ImportError:
        return
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    if hasattr(module, "sync_bag_to_db"):
        module.sync_bag_to_db(bag, "dags-folder", None)
    else:  # Airflow 3.0
        bag.sync_to_db("dags-folder", None)


def run(dag: Any, conf: Mapping[str, Any] | None = None, logical_date: datetime | None = None) -> Any:
    """Run a DAG to its end in this process, as `airflow dags test` does, and return the DAG run.

    :param logical_date: date of the run; Airflow 2 has another name for this argument, and only accepts the default
    """
    date = {} if logical_date is None else {"logical_date": logical_date}
    return dag.test(run_conf=dict(conf or {}), **date)


def returned(dag_run: Any, task_id: str) -> list[Any]:
    """Return the return values of the instances of a task, ordered by map index."""
    from airflow.utils.session import create_session
    from sqlalchemy import select

    try:
        from airflow.models.xcom import XComModel  # Airflow 3
    except ImportError:
        from airflow.models.xcom import XCom

        model, value = XCom, lambda row: row.value
    else:
        model, value = XComModel, XComModel.deserialize_value
    query = select(model).filter_by(dag_id=dag_run.dag_id, run_id=dag_run.run_id, task_id=task_id, key="return_value")
    with create_session() as session:
        return [value(row) for row in session.scalars(query.order_by(model.map_index))]  # type: ignore[no-untyped-call]
