"""Base class of the operators that delete or restore flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.task import instance_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class CleanupOperator(ViBaseOperator):
    """Base of the operators that delete or restore flows: they can be killed, and each try has its own archives.

    Airflow 3 only calls ``on_kill`` when it ends a task, and raises nothing, so the writes check what it leaves here.
    """

    _killed = False

    def on_kill(self) -> None:
        """Let no further write begin."""
        self._killed = True

    def killed(self) -> bool:
        """Return whether the task is to end."""
        return self._killed

    def attempt(self, context: Context, *labels: str) -> dict[str, Any]:
        """Return the fields of ``cleanup.destination.Attempt``; ``labels`` are further parts of archive names."""
        task_instance = context.get("ti")
        return {
            "instance": instance_of(context) if task_instance else "",
            "is_retry": bool(task_instance and task_instance.try_number > 1),
            "labels": (self.dag_id, self.task_id, *labels),
        }
