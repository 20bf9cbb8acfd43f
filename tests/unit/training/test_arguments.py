"""The arguments of ``StartRunOperator``: what is unusable is refused for good, and nothing is paid for."""

from __future__ import annotations

from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.documents import wire_spec
from tests.tries import execute, starts
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.runs import StartRunOperator

pytestmark = pytest.mark.vi_emulator(flows=1, run_seconds=0.02, runs=0)

#: What JSON cannot express, or not in the same way in each process.
UNUSABLE_SETTINGS: Final[list[Any]] = [
    *({1: 2}, {"x": float("nan")}, {"x": {"a", "b"}}, {"x": [frozenset()]}, {"x": object()}, {"x": "\ud800"})
]
#: Values that templates, XComs and authors give, by argument.
UNUSABLE: Final[dict[str, list[Any]]] = {
    "flow_id": ["", "None", "a b", "a\n", 5, True, ["a"]],
    "flow": ["text", "None", 5, [], ["a"], {}, {"spec": 1}, {"spec": None}, wire_spec(settings={"seeds": {1, 2}})],
    "overrides": [
        *("None", "{}", 5, ["a"], {"unknown": 1}, {"name": None}, {"name": 5}, {"blocks": None}, {"blocks": []}),
        *({"settings": settings} for settings in UNUSABLE_SETTINGS),
    ],
    "training_project": ["", "None", 5, ["a"]],
    "attributes": ["None", "abc", [1], {1: "a"}, {"a": 1}, {"a": None}],
    "wait_for_completion": ["None", "maybe", None, 1],
    "poll_interval": ["None", "", None, 0, -1, float("nan"), True],
    "timeout": ["None", "", -1, float("inf"), True],
    "max_queue_time": ["None", "", -1, float("inf"), True],
    "max_duration": ["None", "", -1, float("inf"), True],
    "max_runs": ["None", "", None, 0, 1.0, True],
    "on_clear": ["None", "", None, "kill"],
    "best_metric": ["f1", "None", ("f1",), ("f1", "MAX"), ("", "max"), {"f1": "max"}],
    "tail_logs": ["None", "maybe", None, 1],
}


#: What the messages about documents name: the field, by its path.
NAMED_BY: Final = {"flow_id": "flow", "flow": "(flow|spec)", "overrides": "(overrides|spec|block)"}


def test_table_names_every_argument() -> None:
    assert UNUSABLE.keys() == {*StartRunOperator.template_fields} - {"vi_conn_id"}


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_argument_is_refused_before_a_start(
    vi_emulator: Emulator, flow_id: str, name: str, deferrable: bool
) -> None:
    for value in UNUSABLE[name]:
        arguments = {"flow_id": None if name == "flow" else flow_id, name: value, "deferrable": deferrable}
        with pytest.raises(AirflowFailException, match=f"ViValidationError: .*{NAMED_BY.get(name, name)}"):
            execute(**arguments)
    assert starts(vi_emulator) == []
