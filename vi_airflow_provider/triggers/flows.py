"""``FlowTrigger``: a gate for a flow that waits on the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vi_airflow_provider.gates.condition import Gate, Target
from vi_airflow_provider.gates.flow_source import FLOWS
from vi_airflow_provider.selection.xcom import xcom_value
from vi_airflow_provider.triggers.gate import GateTrigger

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.gates.condition import Awaited


class FlowTrigger(GateTrigger[Target, "Flow"]):
    """Waits until a gate for a flow opens; all arguments but one are those of :class:`GateTrigger`.

    :param send_flow: send the whole flow in the event, and not only its id
    """

    _kind = "flow"
    _source = FLOWS

    def __init__(self, *, send_flow: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.send_flow = send_flow

    def _stored_arguments(self) -> list[str]:
        return super()._stored_arguments() + ([] if self.send_flow else ["send_flow"])

    def _read_gate(self) -> Gate:
        return Gate.model_validate(self.gate)

    def _certain(self, gate: Awaited[Target, Flow]) -> bool:
        return isinstance(gate, Gate) and gate.condition.absent

    async def _carried(self, flow: Flow) -> dict[str, Any]:
        # Like an XCom, the event is stored by Airflow, which would misread some flows.
        return xcom_value(flow) if self.send_flow else {"flow_id": flow.flow_id}
