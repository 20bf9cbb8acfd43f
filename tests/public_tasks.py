"""Every operator and sensor of the provider, as its metadata and the lists ``__all__`` name them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Final

from airflow.providers.common.compat.sdk import BaseOperator

from vi_airflow_provider.provider_info import get_provider_info


def _names(module: ModuleType) -> list[str]:
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return getattr(module, "__all__", own)


def _tasks(kind: str) -> Iterator[type[BaseOperator]]:
    for group in get_provider_info()[kind]:
        for module in map(importlib.import_module, group["python-modules"]):
            values = (getattr(module, name) for name in _names(module) if not name.startswith("_"))
            yield from (value for value in values if isinstance(value, type) and issubclass(value, BaseOperator))


OPERATORS: Final = tuple(dict.fromkeys(_tasks("operators")))
SENSORS: Final = tuple(dict.fromkeys(_tasks("sensors")))
TASKS: Final = (*OPERATORS, *SENSORS)
