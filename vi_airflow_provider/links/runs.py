"""The button "Open run in Vi" of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vi_airflow_provider.links.flows import ViFlowLink

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Run
    from vi_airflow_provider.api.settings import ViSettings


class ViRunLink(ViFlowLink):
    """Opens the run of a task in Vi's web application; stored before the task waits for the run."""

    @property
    def name(self) -> str:
        """Text on the button."""
        return "Open run in Vi"


def run_url(settings: ViSettings, run: Run) -> str:
    """Return the web address of a run, as ``training.identity`` does, which is not imported with a DAG file."""
    return settings.ui_url(run.metadata.attributes.get("vi_airflow.flow_id", ""), run.run_id)
