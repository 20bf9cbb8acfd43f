"""Functions of this package that are imported when they are needed: Airflow alone takes seconds."""

from __future__ import annotations

import importlib
from typing import Any


def load(name: str) -> Any:
    """Import a function of this package.

    :param name: module and name, like ``flows.get_flow``
    """
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(f"vi_airflow_provider.cli.{module}"), function)
