"""``vi-airflow flows list`` and ``get`` against the emulator, in each format."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
import yaml

from tests.unit.cli.conftest import Cli
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.cli.flows import COLUMNS
from vi_airflow_provider.emulator import Emulator

#: What a terminal must not get: a command, a right-to-left mark, a line break, a lone surrogate.
HOSTILE: Final = "\x1b[31mred\u202eder\nnext\x9b2J\x7f"
SPEC: Final = {"name": HOSTILE, "schema": "v1", "tolerations": {}, "settings": {}, "blocks": []}


def parsed(text: str, output: str) -> Any:
    return json.loads(text) if output == "json" else yaml.safe_load(text)


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_list_for_programs_has_all_flows_with_the_same_fields(cli: Cli, vi_emulator: Emulator, output: str) -> None:
    code, out, err = cli("flows", "list", "-o", output)
    rows = parsed(out, output)
    assert (code, err) == (0, "")
    assert {row["flow_id"] for row in rows} == set(vi_emulator.store.flow_ids())
    assert all(tuple(row) == COLUMNS for row in rows)
    assert rows[0]["last_updated"].endswith("Z")


@pytest.mark.parametrize("output", ["table", "plain"])
def test_list_for_people_has_a_line_for_each_flow(cli: Cli, vi_emulator: Emulator, output: str) -> None:
    code, out, _ = cli("flows", "list", "-o", output)
    head, *lines = out.splitlines()
    assert code == 0
    assert head.split("|" if output == "table" else None)[0].strip() == "flow_id"
    ids = [line.split()[0] for line in lines if not line.startswith("=")]
    assert sorted(ids) == sorted(vi_emulator.store.flow_ids())


@pytest.mark.parametrize(
    ("output", "shown"),
    [("json", "[]\n"), ("yaml", "[]\n"), ("table", "No data found\n"), ("plain", "No data found\n")],
)
def test_empty_list_is_valid_in_each_format(cli: Cli, output: str, shown: str) -> None:
    assert cli("flows", "list", "--name-pattern", "no such flow", "-o", output) == (0, shown, "")


def test_list_is_filtered_as_the_operator_does(cli: Cli, vi_emulator: Emulator) -> None:
    vi_emulator.store.put_flow("wanted", {"spec": {**SPEC, "name": "Weld X"}, "metadata": {"attributes": {"a": "b=c"}}})
    found = cli("flows", "list", "--name-pattern", "Weld*", "--attribute", "a=b=c", "-o", "json").data
    assert [row["flow_id"] for row in found] == ["wanted"]
    assert cli("flows", "list", "--older-than", "P1000D", "-o", "json").data == []
    assert len(cli("flows", "list", "--updated-after", "2001-01-01T00:00:00Z", "--limit", "3", "-o", "json").data) == 3


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--limit", "x", "--limit: 'x' is not a whole number of at least 0."),
        (
            "--older-than",
            "90",
            "--older-than: '90' is not a timedelta or an ISO 8601 duration; write 'P90D', if days are meant.",
        ),
        (
            "--updated-after",
            "2026-01-01T00:00:00",
            "--updated-after: '2026-01-01T00:00:00' has no time zone; write '2026-01-01T00:00:00+00:00' for UTC.",
        ),
        ("--attribute", "team", "--attribute: 'team' is not of the form KEY=VALUE."),
    ],
)
def test_unusable_option_is_named_with_code_2(cli: Cli, option: str, value: str, message: str) -> None:
    assert cli("flows", "list", option, value) == (2, "", f"{message}\n")


def test_contradicting_attributes_are_refused(cli: Cli) -> None:
    code, _, err = cli("flows", "list", "--attribute", "a=1", "--attribute", "a=2")
    assert (code, err) == (2, "--attribute: 'a' is given with two values.\n")


def test_no_more_pages_are_read_than_the_limit_needs(cli: Cli, vi_emulator: Emulator) -> None:
    assert len(cli("flows", "list", "--limit", "3", "--page-size", "2", "-o", "json").data) == 3
    assert len([request for request in vi_emulator.requests if request.method == "GET"]) == 2


def test_get_prints_the_whole_document_for_programs(cli: Cli, vi_emulator: Emulator) -> None:
    flow_id = vi_emulator.store.flow_ids()[0]
    found = cli("flows", "get", flow_id, "-o", "json").data
    assert Flow.model_validate(found).to_wire() == vi_emulator.store.get_flow(flow_id)
    assert yaml.safe_load(cli("flows", "get", flow_id, "-o", "yaml").out) == found


def test_get_prints_the_facts_for_people(cli: Cli, vi_emulator: Emulator) -> None:
    flow_id = vi_emulator.store.flow_ids()[0]
    flow = Flow.model_validate(vi_emulator.store.get_flow(flow_id))
    out = cli("flows", "get", flow_id).out
    for fact in (flow.spec.name, flow.etag, flow.digest, flow.fingerprint, flow.spec.blocks[0].block):
        assert fact in out


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_hostile_name_cannot_command_a_terminal(cli: Cli, vi_emulator: Emulator, output: str) -> None:
    attributes = {HOSTILE: HOSTILE}
    vi_emulator.store.put_flow("hostile", {"spec": SPEC, "metadata": {"attributes": attributes}})
    for arguments in (("list", "--attribute", f"{HOSTILE}={HOSTILE}"), ("get", "hostile")):
        code, out, _ = cli("flows", *arguments, "-o", output)
        assert code == 0
        assert all(character == "\n" or character.isprintable() for character in out)
        assert len([line for line in out.splitlines() if "hostile" in line]) == 1 or output in ("json", "yaml")
        if output in ("json", "yaml"):
            rows = parsed(out, output)
            name = rows[0]["name"] if arguments[0] == "list" else rows["spec"]["name"]
            assert name == HOSTILE


def test_listing_that_fails_midway_leaves_no_valid_json(cli: Cli, vi_emulator: Emulator) -> None:
    vi_emulator.faults.add(path="/flows", skip=1, status=403)
    code, out, err = cli("flows", "list", "--page-size", "10", "-o", "json")
    assert code == 5
    assert "403 Forbidden" in err
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(out)
