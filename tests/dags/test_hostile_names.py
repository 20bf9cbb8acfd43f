"""Templates inside flows are data: Airflow never renders them when a flow comes back through an XCom."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from demo import local_airflow
from vi_airflow_provider.emulator import Emulator

NAME: Final = "{{ 7 * 7 }}{% set x = 1 %}{{ conn.vi_default.password }}{# gone #}\n../x"
SPEC: Final[dict[str, Any]] = {
    "name": NAME,
    "schema": "v1",
    "tolerations": {"{{ 7 * 7 }}": [NAME]},
    "settings": {"prompt": NAME, "{{ 7 * 7 }}": {"deep": [NAME]}},
    "blocks": [{"block": NAME, "settings": {"systemPrompt": NAME}, "style": {}}],
    "trainingProject": NAME,
}
ATTRIBUTES: Final = {"team": NAME, "{{ 7 * 7 }}": "{{ var.value.get('x', '49') }}"}


@pytest.fixture
def vi(vi_emulator: Emulator) -> Emulator:
    """The emulator with three flows, two of them with templates in every field."""
    vi_emulator.reset(flows=0)
    for flow_id in ("original", "other"):
        vi_emulator.store.put_flow(flow_id, {"spec": SPEC, "metadata": {"attributes": ATTRIBUTES}})
    vi_emulator.store.put_flow("renamed", {"spec": {**SPEC, "name": "before"}})
    return vi_emulator


def test_template_in_a_flow_is_never_rendered(vi: Emulator, database: None) -> None:
    dag = local_airflow.load_dags(Path(__file__).parent / "hostile")["hostile_names"]
    run = local_airflow.run(dag)
    assert str(getattr(run.state, "value", run.state)) == "success"

    flows = {flow_id: vi.store.get_flow(flow_id) for flow_id in vi.store.flow_ids()}
    assert not {"original", "other", "renamed"} & flows.keys()  # deleted, with the etags of the listing
    for flow_id in ("copy-of-original", "copy-of-other"):
        flow = flows.pop(flow_id)
        assert (flow["spec"], flow["metadata"]["attributes"]) == (SPEC, ATTRIBUTES)
    assert flows.pop("copy-of-renamed")["spec"] == {**SPEC, "name": "before"}
    assert len(flows) == 3  # created by `remake`, under new ids
    names = sorted(flow["spec"].pop("name") for flow in flows.values())
    assert names == ["before", NAME, NAME]
    assert all({**flow["spec"], "name": NAME} == SPEC for flow in flows.values())

    (one,) = local_airflow.returned(run, "one")
    assert one["spec"]["name"] == NAME
