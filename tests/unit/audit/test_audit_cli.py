"""``python -m vi_airflow_provider.audit``: what it prints, and the exit code that a script goes by."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from tests.unit.audit.support import export, flow
from vi_airflow_provider.audit import reader
from vi_airflow_provider.audit.__main__ import main
from vi_airflow_provider.storage import manifest

ROOT: Final = Path(__file__).resolve().parents[3]
Outcome = tuple[int, str, str]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    # Airflow 3.0 discovers file systems once, and prints to stdout what it finds.
    ObjectStoragePath("file:///").exists()
    capsys.readouterr()

    def call(*arguments: Any) -> Outcome:
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("name", ["flows.jsonl", "flows.jsonl.gz", "flows.csv"])
def test_verify_reports_a_complete_export(name: str, cli: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / name
    manifest = export(str(path), [flow("a"), flow("b")], name.split(".")[1])
    assert cli("verify", path) == (0, f"{path} is complete: 2 flows, sha256 {manifest.sha256}\n", "")


def test_verify_reports_a_changed_export_on_stderr_with_code_2(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    export(str(path), [flow()])
    path.write_bytes(path.read_bytes().replace(b"Weld", b"Wild"))
    mismatch = f"{path} does not match its manifest: it was truncated or changed\n"
    detail = f"  {flow().flow_id}: changed since it was exported\n"
    assert cli("verify", path) == (2, "", mismatch + detail)


def test_equal_exports_do_not_differ(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    export(str(tmp_path / "old.jsonl"), [flow()])
    export(str(tmp_path / "new.jsonl.gz"), [flow(spec__blocks__0__style={}, etag="another")])
    assert cli("diff", tmp_path / "old.jsonl", tmp_path / "new.jsonl.gz") == (0, "0 added, 0 removed, 0 changed\n", "")


def test_diff_of_different_selections_says_so_on_stderr(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    export(str(old), [flow()], filters={"name_pattern": "Weld*"})
    export(str(new), [flow()], filters={"limit": 5})
    code, out, err = cli("diff", old, new)
    assert (code, out) == (0, "0 added, 0 removed, 0 changed\n")
    assert err.startswith("The exports have different selections: ")
    assert err.endswith(f" {new}: limit=5. {old}: name_pattern='Weld*'.\n")
    old.with_name("old.jsonl.manifest.json").unlink()
    assert cli("diff", old, new) == (0, out, "")


def test_different_exports_are_shown_as_a_diff_with_code_1(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    export(str(tmp_path / "old.jsonl"), [flow("a"), flow("gone", spec__name="Old one")])
    export(str(tmp_path / "new.jsonl"), [flow("a", spec__settings={"seed": 8}), flow("new", spec__name="New one")])
    assert cli("diff", tmp_path / "old.jsonl", tmp_path / "new.jsonl") == (
        1,
        "+ new  New one\n"
        "- gone  Old one\n"
        "~ a  Weld seam defects - Qwen3-VL 4B\n"
        "    spec.settings.seed: 7 → 8\n"
        "1 added, 1 removed, 1 changed\n",
        "",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verify", "missing.jsonl"], "it does not exist"),
        (["verify", "nowhere://x/y.jsonl"], "nowhere"),
        (["diff", "good.jsonl", "missing.jsonl"], "/missing.jsonl"),
        (["diff", "unsorted.jsonl", "good.jsonl"], "not sorted by id: 'a' follows 'b'"),
        (["diff", "good.jsonl", "text.jsonl"], "/text.jsonl is not a jsonl export"),
        (["diff", "good.jsonl", "folder"], "folder"),
    ],
)
def test_unreadable_export_is_one_line_on_stderr_with_code_2(
    arguments: list[str], words: str, cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export(str(tmp_path / "good.jsonl"), [flow("a"), flow("b")])
    lines = (tmp_path / "good.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "unsorted.jsonl").write_bytes(lines[1] + lines[0])
    (tmp_path / "text.jsonl").write_bytes(b"hello")
    (tmp_path / "folder").mkdir()
    code, printed, error = cli(*arguments)
    assert (code, printed) == (2, "")
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["verify", "diff"])
def test_outage_is_not_reported_as_a_difference(
    command: str, cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndpointConnectionError(Exception):
        """As botocore's, which is no OSError."""

    def fail(*_: Any) -> Any:
        raise EndpointConnectionError("could not connect:\nconnection refused")

    path = tmp_path / "flows.jsonl"
    export(str(path), [flow()])
    monkeypatch.setattr(reader, "open_to_read", fail)
    monkeypatch.setattr(manifest, "open_to_read", fail)
    arguments = [path] if command == "verify" else [path, path]
    error = "EndpointConnectionError: could not connect: connection refused\n"
    assert cli(command, *arguments) == (2, "", error)


@pytest.mark.parametrize("arguments", [[], ["verify"], ["diff", "one"], ["compare", "one", "two"]], ids=str)
def test_unknown_command_shows_the_usage(
    arguments: list[str], cli: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli(*arguments)
    assert "usage: python -m vi_airflow_provider.audit" in capsys.readouterr().err


def test_module_can_be_run(tmp_path: Path) -> None:
    uri = (tmp_path / "flows.jsonl").as_uri()
    export(uri, [flow()])
    command = [sys.executable, "-m", "vi_airflow_provider.audit", "verify", uri]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)  # noqa: S603 - ourselves
    assert done.returncode == 0, done.stderr
    assert f"{uri} is complete: 1 flows" in done.stdout


# --- the output ----------------------------------------------------------------------------------------------------


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    audit = f"{sys.executable} -W ignore -m vi_airflow_provider.audit"
    script = f"set -o pipefail; {command.replace('AUDIT', audit)}"
    given = {**os.environ, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(  # noqa: S603 - ourselves
        ["/bin/bash", "-c", script], cwd=folder, env=given, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """A folder with two exports whose diff is longer than a pipe holds."""
    export(str(tmp_path / "old.jsonl"), [])
    export(str(tmp_path / "new.jsonl"), [flow(f"f{number:05}", spec__name="größer " * 30) for number in range(700)])
    return tmp_path


def test_reader_that_stops_early_does_not_change_the_exit_code(exports: Path) -> None:
    done = shell("AUDIT diff old.jsonl new.jsonl | head -n 1", exports)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("+ f00000  ")


def test_closed_pipe_does_not_fail_verify(exports: Path) -> None:
    done = shell("AUDIT verify new.jsonl | true", exports)
    assert (done.returncode, done.stderr) == (0, "")


def test_ascii_terminal_shows_escapes(exports: Path) -> None:
    done = shell("AUDIT diff old.jsonl new.jsonl", exports, PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (done.returncode, done.stderr) == (1, "")
    assert "gr\\xf6\\xdfer" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_not_reported_as_an_unreadable_export(exports: Path) -> None:
    done = shell("AUDIT diff old.jsonl new.jsonl > /dev/full", exports)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "the output cannot be written: [Errno 28] No space left on device\n"


def test_closed_output_does_not_change_the_exit_code(exports: Path) -> None:
    assert shell("AUDIT verify new.jsonl >&-", exports).returncode == 0
    assert shell("AUDIT diff new.jsonl new.jsonl >&-", exports).returncode == 0
    done = shell("AUDIT diff old.jsonl new.jsonl >&-", exports)
    assert (done.returncode, done.stderr) == (1, "")
