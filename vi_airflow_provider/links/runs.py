"""The button "Open run in Vi" of a task."""

from __future__ import annotations

from vi_airflow_provider.links.flows import ViFlowLink


class ViRunLink(ViFlowLink):
    """Opens the run of a task in Vi's web application; stored before the task waits for the run."""

    @property
    def name(self) -> str:
        """Text on the button."""
        return "Open run in Vi"
