"""``vi-airflow audit`` and ``flows export``: what ``python -m vi_airflow_provider.audit`` and the operator do."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Final

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from tests.unit.audit.support import export, flow
from tests.unit.cli.conftest import Cli
from vi_airflow_provider.audit.__main__ import main
from vi_airflow_provider.emulator import Emulator


@pytest.fixture
def old_and_new(tmp_path: Path) -> tuple[Path, Path]:
    # Airflow 3.0 discovers file systems once, and prints to stdout what it finds.
    ObjectStoragePath("file:///").exists()
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    export(str(old), [flow("a"), flow("gone", spec__name="Old\x1b[2J")], filters={"limit": 5})
    export(str(new), [flow("a", spec__settings={"seed": 8}), flow("new", spec__name="New one")])
    return old, new


@pytest.mark.parametrize("arguments", [("verify", "new"), ("verify", "missing"), ("diff", "old", "new")])
def test_text_and_codes_are_those_of_the_module(
    cli: Cli, old_and_new: tuple[Path, Path], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    command, *names = arguments
    paths = [str(old_and_new[0].with_name(f"{name}.jsonl")) for name in names]
    code = main([command, *paths])
    expected = (code, *capsys.readouterr())
    assert cli("audit", command, *paths) == expected
    assert cli("audit", command, *paths, "-o", "plain") == expected


@pytest.mark.parametrize(("folder", "page", "code"), [(".", "all.html", 0), (".", ".", 3), ("missing", "all.html", 2)])
def test_page_is_that_of_the_module(
    cli: Cli,
    old_and_new: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    page: str,
    code: int,
) -> None:
    monkeypatch.chdir(old_and_new[0].parent)
    assert main(["index", folder, "--output", page]) == code
    expected = (code, *capsys.readouterr())
    assert cli("audit", "index", folder, "--page", page) == expected


def test_page_replaces_no_export(cli: Cli, old_and_new: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old, _ = old_and_new
    before = old.read_bytes()
    assert cli("audit", "index", old.parent, "--page", old) == (2, "", f"--page: '{old}' does not end with .html.\n")
    assert main(["index", str(old.parent), "--output", str(old)]) == 2
    assert "does not end with .html" in capsys.readouterr().err
    assert old.read_bytes() == before


def test_diff_is_json_for_programs(cli: Cli, old_and_new: tuple[Path, Path]) -> None:
    code, out, err = cli("audit", "diff", *old_and_new, "-o", "json")
    assert code == 1
    assert err.startswith("The exports have different selections: ")
    assert "\x1b" not in out
    assert cli("audit", "diff", *old_and_new, "-o", "json").data == [
        {"kind": "added", "flow_id": "new", "name": "New one"},
        {"kind": "removed", "flow_id": "gone", "name": "Old\x1b[2J"},
        {
            "kind": "changed",
            "flow_id": "a",
            "name": "Weld seam defects - Qwen3-VL 4B",
            "changes": [{"path": "spec.settings.seed", "old": "7", "new": "8"}],
        },
    ]
    assert cli("audit", "diff", old_and_new[0], old_and_new[0], "-o", "json") == (0, "[]\n", "")


@pytest.mark.parametrize("name", ["old.jsonl", "new.jsonl", "old.jsonl.gz"])
def test_truncated_export_is_not_compared(
    cli: Cli, old_and_new: tuple[Path, Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = old_and_new[0].with_name(name)
    export(str(damaged), [flow("a"), flow("b")])
    whole = damaged.read_bytes()
    first, _, _ = (gzip.decompress(whole) if name.endswith(".gz") else whole).partition(b"\n")
    damaged.write_bytes(gzip.compress(first + b"\n") if name.endswith(".gz") else first + b"\n")
    pair = (str(damaged), str(old_and_new[1])) if name.startswith("old") else (str(old_and_new[0]), str(damaged))
    code, out, err = cli("audit", "diff", *pair)
    assert (code, out) == (2, "")
    assert f"{damaged} does not match its manifest: it was truncated or changed" in err
    assert main(["diff", *pair]) == 2
    assert capsys.readouterr().out == ""


def test_diff_needs_no_manifest(cli: Cli, old_and_new: tuple[Path, Path]) -> None:
    for path in old_and_new:
        path.with_name(f"{path.name}.manifest.json").unlink()
    code, _, err = cli("audit", "diff", *old_and_new)
    assert (code, err) == (1, "")


def test_diff_of_two_organizations_says_so(cli: Cli, old_and_new: tuple[Path, Path]) -> None:
    old, new = old_and_new
    export(str(old), [flow("a")], organization_id="another")
    assert cli("audit", "diff", old, new).err == f"{old} is an export of another organization, 'another'.\n"


def test_verify_prints_the_manifest_for_programs(cli: Cli, old_and_new: tuple[Path, Path]) -> None:
    found = cli("audit", "verify", old_and_new[0], "-o", "json").data
    assert (found["uri"], found["count"], found["filters"]) == (str(old_and_new[0]), 2, {"limit": 5})


def test_relative_path_is_meant_from_the_working_directory(
    cli: Cli, old_and_new: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(old_and_new[0].parent)
    assert cli("audit", "verify", "old.jsonl").code == 0


def test_export_is_complete_and_its_drift_is_code_1(cli: Cli, vi_emulator: Emulator, tmp_path: Path) -> None:
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    done = cli("flows", "export", first, "-o", "json")
    assert (done.code, done.data["count"], done.data["added"]) == (0, 40, None)
    assert cli("audit", "verify", first).code == 0
    arguments = ("--compare-to", first, "--fail-on-drift")
    assert cli("flows", "export", second, *arguments).code == 0
    vi_emulator.store.delete_flow(vi_emulator.store.flow_ids()[-1])
    code, out, err = cli("flows", "export", second, *arguments)
    assert code == 1
    assert str(second) in out
    assert err == f"The flows differ from {first}: 0 added, 1 removed, 0 changed.\n"
    assert cli("flows", "export", second, "--compare-to", f"{tmp_path}/").code == 0
    assert cli("flows", "export", second, "--compare-to", "previous").code == 0


def test_export_takes_the_filters_of_a_list(cli: Cli, tmp_path: Path) -> None:
    done = cli("flows", "export", tmp_path / "1.csv", "--limit", "3", "--no-csv-bom", "--html-report", "-o", "json")
    assert done.data["count"] == 3
    assert (tmp_path / "1.csv").read_bytes().startswith(b'"flow_id"')
    assert Path(done.data["report_uri"]).exists()


def test_export_to_compare_with_must_be_readable(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("flows", "export", tmp_path / "1.jsonl", "--compare-to", tmp_path / "none.jsonl")
    assert (code, out, list(tmp_path.iterdir())) == (2, "", [])


SIGNED: Final = "https://files.example/flows.jsonl?X-Amz-Signature=5ec2e7"


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "verify", SIGNED),
        ("audit", "diff", SIGNED, "/nowhere/flows.jsonl"),
        ("audit", "diff", "/nowhere/flows.jsonl", SIGNED),
        ("audit", "index", SIGNED),
        ("archive", "find", SIGNED),
        ("archive", "show", SIGNED),
        ("archive", "restore", SIGNED, "--yes"),
        ("flows", "export", SIGNED),
        ("flows", "export", "/nowhere/flows.jsonl", "--compare-to", SIGNED),
        ("flows", "prune", "--older-than", "P1D", "--no-dry-run", "--yes", "--archive-to", SIGNED),
    ],
    ids=" ".join,
)
def test_url_with_a_secret_is_refused_and_not_shown(
    cli: Cli, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert ": the URL carries a password or a signature" in err
    assert "5ec2e7" not in err
    if arguments[0] == "audit":
        assert main(arguments[1:]) == 2
        assert "5ec2e7" not in "".join(capsys.readouterr())


def test_failure_of_a_storage_names_what_has_failed(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("audit", "verify", tmp_path)
    assert code == 2
    assert err.startswith(f"{tmp_path} cannot be read as an export: Is a directory")
    code, _, err = cli("audit", "diff", tmp_path, "/nowhere/flows.jsonl")
    assert (code, err) == (2, f"{tmp_path} and /nowhere/flows.jsonl cannot be compared: {tmp_path}: Is a directory\n")
    (tmp_path / "file").touch()
    code, _, err = cli("flows", "export", tmp_path / "file" / "flows.jsonl")
    assert code == 3
    assert err.startswith(f"the export cannot be written to {tmp_path}/file/flows.jsonl: Not a directory")


def test_positional_argument_has_the_name_of_the_help(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("audit", "diff", "/nowhere/flows.jsonl", SIGNED)
    assert (code, err.partition(":")[0]) == (2, "NEW")
    code, _, err = cli("flows", "export", tmp_path)
    assert (code, err) == (2, f"FILE: '{tmp_path}' is an existing folder; add the name of the file.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "verify", ""),
        ("audit", "diff", "", "/new"),
        ("audit", "diff", "/old", ""),
        ("audit", "index", ""),
        ("archive", "find", ""),
        ("archive", "show", ""),
        ("archive", "restore", "", "--yes"),
        ("flows", "export", ""),
        ("flows", "export", "/nowhere/flows.jsonl", "--compare-to", ""),
        ("flows", "prune", "--older-than", "P1D", "--no-dry-run", "--yes", "--archive-to", ""),
        ("flows", "list", "--conn-id", ""),
    ],
    ids=" ".join,
)
def test_empty_place_or_connection_is_refused(
    cli: Cli, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert ": it is empty; a shell variable may be unset" in err
    assert list(tmp_path.iterdir()) == []
    if arguments[0] == "audit":
        assert main(arguments[1:]) == 2
