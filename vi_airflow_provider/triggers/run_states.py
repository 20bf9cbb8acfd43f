"""``RunStateTrigger``: a gate for a training run that waits on the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vi_airflow_provider.gates.pacing import MAX_SPREAD
from vi_airflow_provider.gates.run_condition import RunGate, RunTarget
from vi_airflow_provider.gates.run_source import CHECKPOINTS, RUNS
from vi_airflow_provider.training.summary import summarize
from vi_airflow_provider.triggers.gate import GateTrigger
from vi_airflow_provider.triggers.shared import shared_client, shared_poller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.models import Run, RunOutput

__all__ = ["RunGate", "RunStateTrigger", "summarize_found"]


def summarize_found(run: Run, outputs: Sequence[RunOutput], url: str) -> dict[str, Any]:
    """Return what a task returns that has waited for a run, in every mode.

    :param outputs: the checkpoints of all pages, of a run that has ended
    """
    return summarize(run, outputs, None, adopted=False, url=url)


class RunStateTrigger(GateTrigger[RunTarget, "Run"]):
    """Waits until a gate for a run opens; its event carries the summary of the run."""

    _kind = "run"
    _source = RUNS

    def _read_gate(self) -> RunGate:
        return RunGate.model_validate(self.gate)

    async def _carried(self, run: Run) -> dict[str, Any]:
        outputs: list[RunOutput] = []
        if run.state.is_ended:
            async with shared_poller(self.vi_conn_id, CHECKPOINTS) as poller, poller.subscribe(run.run_id):
                outputs = await poller.poll(run.run_id, MAX_SPREAD) or []

        async def url(client: AsyncViClient) -> str:
            return client.settings.run_url(run)

        async with shared_client(self.vi_conn_id) as client:
            return summarize_found(run, outputs, await client.call(url))
