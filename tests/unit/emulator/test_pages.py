"""The web page behind "Open in Vi" of emulator connections."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.emulator.support import Client
from vi_airflow_provider.emulator import Emulator


def test_overview_links_to_every_flow(client: Client, emulator: Emulator) -> None:
    emulator.reset(flows=12)
    for path in ("", "/flows", "/flows/"):
        response = client("GET", f"//org/{emulator.organization_id}{path}", headers={"Authorization": None})
        assert response.status == 200
        html = response.body.decode()
        assert all(f"/org/{emulator.organization_id}/flows/{flow_id}" in html for flow_id in emulator.store.flow_ids())


def test_link_template_leads_to_the_flow(client: Client, emulator: Emulator) -> None:
    emulator.reset(flows=1)
    (flow_id,) = emulator.store.flow_ids()
    link = emulator.ui_url_template.format(organization_id=emulator.organization_id, flow_id=flow_id)
    assert link.startswith(emulator.url)
    response = client("GET", "/" + link.removeprefix(emulator.url))
    assert response.status == 200
    assert emulator.store.get_flow(flow_id)["spec"]["name"] in response.body.decode()


def test_documents_are_escaped(client: Client, emulator: Emulator, spec: dict[str, Any]) -> None:
    hostile = "<script>alert(1)</script>"
    emulator.store.put_flow("f1", {"spec": {**spec, "name": hostile}, "metadata": {"attributes": {hostile: hostile}}})
    for path in ("", "/flows/f1"):
        response = client("GET", f"//org/{emulator.organization_id}{path}")
        assert hostile.encode() not in response.body
        assert b"&lt;script&gt;" in response.body
        assert "default-src 'none'" in response.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["//org/other", "//org/other/flows/f1", "//org/{own}/flows/nope", "//org/"])
def test_unknown_pages_are_a_404(client: Client, emulator: Emulator, path: str) -> None:
    assert client("GET", path.format(own=emulator.organization_id)).status == 404


def test_pages_are_not_recorded_and_contain_no_key(client: Client, emulator: Emulator) -> None:
    assert b"dtvi_" not in client("GET", f"//org/{emulator.organization_id}").body
    assert emulator.requests == []


def test_scripts_of_other_pages_are_refused(client: Client, emulator: Emulator) -> None:
    path = f"//org/{emulator.organization_id}"
    assert client("GET", path, headers={"Origin": "https://page.example"}).status == 403
