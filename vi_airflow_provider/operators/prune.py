"""``PruneFlowsOperator``: deletes flows by policy, unattended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vi_airflow_provider.operators.cleanup import PruneBaseOperator
from vi_airflow_provider.task import LazyModule

if TYPE_CHECKING:
    from vi_airflow_provider.cleanup import kind
    from vi_airflow_provider.cleanup.kind import Kind
else:
    kind = LazyModule("vi_airflow_provider.cleanup.kind")


class PruneFlowsOperator(PruneBaseOperator):
    """Delete the flows that a policy selects: list, plan, guard, archive, read again, delete.

    By default, it deletes nothing (``dry_run=True``). It can be retried or cleared at any point: what was deleted is in
    an archive, and what is left is planned again.

    The arguments are those of :class:`~vi_airflow_provider.operators.cleanup.PruneBaseOperator`. ``keep_last`` spares
    the most recent flows of each training project.

    :return: the report: counts by outcome, ``archive``, ``earlier_archives`` (of tries that ended during their deletes)
        and ``report`` (URLs), ``outcomes`` and ``spared_flows``
    """

    def _kind(self) -> Kind:
        return kind.FLOWS
