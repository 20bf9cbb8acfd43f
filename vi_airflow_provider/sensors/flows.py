"""Sensors for flows: hold a DAG until a flow is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseSensorOperator, PokeReturnValue

from vi_airflow_provider.links.flows import ViFlowLink
from vi_airflow_provider.operators.base import DEFAULT_CONN_ID, ViTaskMixin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context


class FlowExistsSensor(ViTaskMixin, BaseSensorOperator):
    """Wait until a flow exists, by id or by name. Its XCom is the flow as a dict.

    :param flow_id: the flow's id
    :param flow_name: or its name, exactly; of several flows the one that was updated last counts
    :param training_project: only a flow of this training project counts
    :param vi_conn_id: id of a connection of type ``vi``
    """

    template_fields: Sequence[str] = ("vi_conn_id", "flow_id", "flow_name", "training_project")
    operator_extra_links = (ViFlowLink(),)
    ui_color = "#e4effb"

    def __init__(
        self,
        *,
        flow_id: str | None = None,
        flow_name: str | None = None,
        training_project: str | None = None,
        vi_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flow_id = flow_id
        self.flow_name = flow_name
        self.training_project = training_project
        self.vi_conn_id = vi_conn_id

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        with self.vi(context, self.flow_id or "") as hook:
            flow = hook.find_flow(flow_id=self.flow_id, name=self.flow_name, training_project=self.training_project)
        if flow is None:
            self.log.info("There is no flow %s yet.", self.flow_id or repr(self.flow_name))
            return PokeReturnValue(is_done=False)
        self.log.info("Flow %s is there: %s", flow.flow_id, flow.spec.name)
        return PokeReturnValue(is_done=True, xcom_value=flow.model_dump(mode="json"))
