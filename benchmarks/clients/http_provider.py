"""Airflow's HTTP provider, used as in its documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.flows import ORGANIZATION_ID, flow_id

if TYPE_CHECKING:
    from collections.abc import Callable

_FLOWS: Final = f"workspaces/{ORGANIZATION_ID}/flows"


def list_flows(page_size: int) -> Callable[[], Any]:
    """``HttpOperator`` with a pagination function and a response filter."""
    from airflow.providers.http.operators.http import HttpOperator

    def next_page(response: Any) -> dict[str, Any] | None:
        cursor = response.json().get("nextPage")
        return {"data": {"p": cursor}} if cursor else None

    def key(responses: Any) -> list[Any]:
        # If there is only one page, the response itself is passed, not a list.
        pages = responses if isinstance(responses, list) else [responses]
        return [
            (flow["flowId"], flow["spec"]["name"], flow["metadata"]["lastUpdated"])
            for page in pages
            for flow in page.json()["items"]
        ]

    def run() -> dict[str, int]:
        operator = HttpOperator(
            task_id="list",
            method="GET",
            endpoint=_FLOWS,
            data={"s": page_size},
            pagination_function=next_page,
            response_filter=key,
        )
        return {"flows": len(operator.execute({}))}

    return run


def gates() -> Callable[..., Any]:
    """``HttpSensorTrigger``, to which ``HttpSensor(deferrable=True)`` defers, for each flow."""
    from airflow.providers.http.triggers.http import HttpSensorTrigger

    from benchmarks.clients.waiting import wait

    def run(first: int, count: int, poll: float, **times: float) -> dict[str, Any]:
        flows = [flow_id(number) for number in range(first, first + count)]
        triggers = {
            flow: HttpSensorTrigger(endpoint=f"{_FLOWS}/{flow}", method="GET", poke_interval=poll) for flow in flows
        }
        return wait(triggers, **times)

    return run
