"""The commands of ``docs/audit.md`` and ``docs/audit_report.md`` run on exports as the pages describe them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import pytest

from tests.tasks import TaskInstance
from tests.unit.cli.conftest import Cli, cli, environment
from tests.unit.docs.pages import blocks
from tests.unit.docs.test_cli_page import prints
from vi_airflow_provider.audit.__main__ import main
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.flows import ExportFlowsOperator

__all__ = ["cli", "environment"]  # the fixtures

BUCKET: Final = "s3://aws_default@bucket/audit"
BLOCKS: Final = ["dataset", "augmentation", "trainer"]


def export(folder: Path, day: str) -> Path:
    """Export all flows of the emulator, and return the file."""
    file = folder / f"{day}.jsonl"
    ExportFlowsOperator(task_id="export", destination=str(file)).execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]
    return file


def put(emulator: Emulator, flow_id: str, name: str, rate: float = 0.001) -> None:
    pipeline = [{"block": kind, "settings": {}, "style": {}} for kind in BLOCKS]
    pipeline[2]["settings"] = {"learningRate": rate}
    spec = {"name": name, "schema": "v1", "tolerations": {}, "settings": {}, "blocks": pipeline}
    emulator.store.put_flow(flow_id, {"spec": spec, "metadata": {"attributes": {}}})


@pytest.fixture
def nights(vi_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The exports of two nights between which a flow was added, one removed and one changed."""
    monkeypatch.chdir(tmp_path)
    put(vi_emulator, "flow_abc123", "Weld seam defects")
    put(vi_emulator, "flow_old17", "Weld seam defects (old)")
    export(tmp_path, "2026-09-30")
    put(vi_emulator, "flow_abc123", "Weld seam defects", 0.0005)
    put(vi_emulator, "flow_new42", "Paint defects")
    vi_emulator.store.delete_flow("flow_old17")
    export(tmp_path, "2026-10-01")
    return tmp_path


def shown(page: str, number: int) -> tuple[list[str], list[str]]:
    """Return the words of a command, and the lines that it is to print."""
    command, *lines = blocks(page, "console")[number].code.splitlines()
    return shlex.split(command.removeprefix("$ ")), lines


@pytest.mark.vi_emulator(flows=38)
def test_verification_and_comparison_print_what_the_page_shows(
    nights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, damaged, exit_code in ((0, False, 0), (2, False, 1), (1, True, 2)):
        if damaged:
            file = nights / "2026-10-01.jsonl"
            file.write_text(file.read_text().replace("0.0005", "0.0007"))
        words, lines = shown("audit.md", number)
        assert words[:3] == ["python", "-m", "vi_airflow_provider.audit"]
        assert main([word.replace(BUCKET, str(nights)) for word in words[3:]]) == exit_code
        out = "".join(capsys.readouterr())
        for line in lines:
            text = line.replace(BUCKET, str(nights)).replace("/audit/2026", f"{nights}/2026")
            assert prints(text.replace("9f2c…", "…"), out), (text, out)


def test_page_over_the_nights_is_written_where_the_page_shows(nights: Path, cli: Cli) -> None:
    words, (line,) = shown("audit_report.md", 0)
    code, out, err = cli(*(word.replace(BUCKET, str(nights)) for word in words[1:]))
    expected = line.replace(BUCKET, str(nights)).replace("64 exports", "2 exports")
    assert (code, prints(expected, out + err)) == (0, True), out + err
    assert (nights / "index.html").exists()
