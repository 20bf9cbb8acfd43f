"""The page over the exports of a folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from tests.documents import wire_run
from tests.unit.audit.support import attached_memory, export, flow
from tests.unit.audit.test_report import Page
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Run
from vi_airflow_provider.audit import comparison, plan
from vi_airflow_provider.audit.__main__ import main
from vi_airflow_provider.audit.index import Index, read_index
from vi_airflow_provider.audit.report.index import index_page, write_index
from vi_airflow_provider.audit.run_record import record_run
from vi_airflow_provider.audit.subject import RUNS
from vi_airflow_provider.cleanup.archive import write_archive

HOSTILE: Final = "</style><script>owned()</script>{{style}}"


def night(folder: Path, day: int, flows: Any, name: str = "2026-07-{:02}.jsonl", **facts: Any) -> Path:
    path = folder / name.format(day)
    path.parent.mkdir(exist_ok=True)
    export(str(path), flows, path.name.split(".")[1], created_at=f"2026-07-{day:02}T02:00:00+00:00", **facts)
    return path


def index(folder: Path) -> Index:
    return read_index(ObjectStoragePath(str(folder)))


def changes(folder: Path) -> list[Any]:
    (series,) = index(folder).series
    return [entry.changes and tuple(entry.changes.values()) for entry in series.entries]


@pytest.fixture
def nights(tmp_path: Path) -> Path:
    """A folder with four nights, two of them equal."""
    night(tmp_path, 1, [flow("a"), flow("b")])
    night(tmp_path, 2, [flow("a"), flow("b")], "2026/2026-07-{:02}.jsonl")
    night(tmp_path, 3, [flow("a", spec__name="other"), flow("c"), flow("d")])
    night(tmp_path, 4, [flow("a", spec__name="other"), flow("c")], report=b"report")
    return tmp_path


def test_exports_are_listed_newest_first_with_their_changes(nights: Path) -> None:
    (series,) = index(nights).series
    assert [entry.manifest.name[:10] for entry in series.entries] == [f"2026-07-0{day}" for day in (4, 3, 2, 1)]
    assert changes(nights) == [(0, 1, 0), (2, 1, 1), (0, 0, 0), None]
    assert [entry.report is not None for entry in series.entries] == [True, False, False, False]


def test_files_are_read_only_if_the_manifests_do_not_tell(nights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    original = comparison.compared

    def recorded(old: str, new: str) -> Any:
        compared.append(new)
        return original(old, new)

    monkeypatch.setattr(comparison, "compared", recorded)
    assert changes(nights)[1] == (2, 1, 1)
    assert [Path(uri).name for uri in compared] == ["2026-07-03.jsonl"]


def test_equal_files_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in (1, 2):
        night(tmp_path, day, [flow("a")])
    monkeypatch.setattr("vi_airflow_provider.audit.index.merge_by_id", None)
    assert changes(tmp_path) == [(0, 0, 0), None]


def test_spelling_of_a_number_is_no_change(tmp_path: Path) -> None:
    night(tmp_path, 1, [flow("a", spec__settings={"seed": 1})])
    night(tmp_path, 2, [flow("a", spec__settings={"seed": 1.0})])
    assert changes(tmp_path) == [(0, 0, 0), None]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_other_formats_are_compared_by_their_manifests(form: str, tmp_path: Path) -> None:
    for day, name in ((1, "old"), (2, "new")):
        night(tmp_path, day, [flow("a", spec__name=name), flow(f"only-{day}")], f"{{}}.{form}")
    assert changes(tmp_path) == [(1, 1, 1), None]


def test_series_differ_in_kind_organization_format_and_selection(tmp_path: Path) -> None:
    flows = [flow("a")]
    night(tmp_path, 1, flows)
    night(tmp_path, 2, flows, filters={"older_than": "P1D"})
    night(tmp_path, 3, flows, filters={"older_than": "PT24H"})  # the same selection
    night(tmp_path, 4, flows, organization_id="other")
    night(tmp_path, 5, flows, "{}.csv")
    night(tmp_path, 6, [record_run(Run.model_validate(wire_run()), [])], subject=RUNS)
    found = [
        (each.newest.subject.noun, each.newest.described.created_at[9:10], len(each.entries))
        for each in index(tmp_path).series
    ]
    assert sorted(found) == [("flow", "1", 1), ("flow", "3", 2), ("flow", "4", 1), ("flow", "5", 1), ("run", "6", 1)]


@pytest.mark.parametrize(
    ("one", "other", "series"),
    [
        ({"updated_after": "2026-01-01T01:00:00+01:00"}, {"updated_after": "2026-01-01T00:00:00Z"}, 1),
        ({"attributes": {"a": "1", "b": "2"}}, {"attributes": {"b": "2", "a": "1"}}, 1),
        ({"attributes": {"a": "1"}}, {"attributes": {"a": "2"}}, 2),
        ({"limit": 1}, {"limit": 2}, 2),
        ({"name_pattern": None}, {}, 1),
        ({"future": [1]}, {"future": [1]}, 1),
        ({"future": [1]}, {"future": [2]}, 2),
        ({"cls": 1}, {}, 2),
    ],
)
def test_selections_are_compared_by_their_meaning(one: Any, other: Any, series: int, tmp_path: Path) -> None:
    for day, filters in ((1, one), (2, other)):
        night(tmp_path, day, [flow("a")], filters=filters)
    assert len(index(tmp_path).series) == series


def test_each_selection_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 21):
        night(tmp_path, day, [flow("a")], filters={"updated_after": f"2026-07-{day:02}T00:00:00Z"})
    built: list[Any] = []
    build = plan.Selection.build

    def noted(*arguments: Any) -> Any:
        built.append(arguments)
        return build(*arguments)

    monkeypatch.setattr(plan.Selection, "build", noted)
    assert len(index(tmp_path).series) == 20
    assert len(built) == 20


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "JSONDecodeError"),
        (b"[]", "TypeError"),
        (b"\xff\xfe", "UnicodeDecodeError"),
        (b'{"kind": "webpack"}', "KeyError"),
        ({"created_at": "yesterday"}, "'yesterday' is not a time with a time zone"),
        ({"created_at": "2026-07-01T00:00:00"}, "is not a time with a time zone"),
        ({"created_at": "0001-01-01T00:00:00+23:00"}, "is not a time with a time zone"),
        ({"count": 10**400}, "is impossible"),
        ({"size": -1}, "is impossible"),
        ({"filters": 5}, "filters"),
    ],
)
def test_damaged_manifest_is_named_in_one_sentence(content: Any, reason: str, nights: Path) -> None:
    manifest = nights / "2026-07-04.jsonl.manifest.json"
    if isinstance(content, dict):
        content = json.dumps(json.loads(manifest.read_text()) | content, indent=1).encode()
    manifest.write_bytes(content)
    page, found = write_index(str(nights))
    (sentence,) = found.unreadable
    assert reason in sentence
    assert str(manifest) in sentence
    assert "\n" not in sentence
    assert len(found.series[0].entries) == 3
    assert any(reason in text for text in Page(page.read_text()).texts["li"])


def test_archive_is_neither_listed_nor_damaged(nights: Path) -> None:
    write_archive(str(nights), "saved", {}, "acme", {})
    assert index(nights).unreadable == []
    assert index(nights).count == 4


def test_missing_or_damaged_data_is_shown_in_its_row(nights: Path) -> None:
    (nights / "2026-07-03.jsonl").write_bytes(b"not json\n")
    (nights / "2026-07-04.jsonl").unlink()
    (series,) = index(nights).series
    assert series.entries[0].data is None
    assert series.entries[1].changes is None
    page, _ = write_index(str(nights))
    seen = Page(page.read_text()).texts["span"]
    assert "data is missing" in seen
    assert any("2026-07-03.jsonl is not a jsonl export" in text for text in seen)


def test_same_folder_gives_the_same_bytes(nights: Path) -> None:
    page, _ = write_index(str(nights))
    first = page.read_bytes()
    assert write_index(str(nights))[0].read_bytes() == first
    assert write_index(f"{nights}/")[0].read_bytes() == first


def test_data_of_manifests_and_names_of_files_stay_text(tmp_path: Path) -> None:
    facts = {"organization_id": HOSTILE, "filters": {"name_pattern": HOSTILE}}
    for day in (1, 2):
        night(tmp_path, day, [flow("a")], '{}"><script>.jsonl', **facts)
    (tmp_path / f"{HOSTILE.replace('/', '')}.manifest.json").write_text("{")
    page, _ = write_index(str(tmp_path))
    seen = Page(page.read_text())
    assert "script" not in seen.elements
    assert HOSTILE in seen.texts["bdi"]
    (style,) = seen.texts["style"]
    hashed = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = [value for tag, _, value in seen.attributes if tag == "meta" and value.startswith("default-src")]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{hashed}'; img-src")
    assert not [name for _, name, _ in seen.attributes if name == "style" or name.startswith("on")]


def test_links_are_relative_to_the_page(nights: Path) -> None:
    night(nights, 5, [flow("a")], "a:b c%2F{}.jsonl")
    page, _ = write_index(str(nights), str(nights / "pages" / "all.html"))
    links = [value for tag, name, value in Page(page.read_text()).attributes if (tag, name) == ("a", "href")]
    assert "./../2026/2026-07-02.jsonl" in links
    assert "./../a%3Ab%20c%252F5.jsonl" in links
    assert all(link.startswith("./") for link in links)


def test_folder_in_an_object_store_gets_its_page() -> None:
    with attached_memory():
        export("memory://audit/2026/one.jsonl", [flow("a")])
        page, found = write_index("memory://audit")
        assert (page.name, found.count) == ("index.html", 1)
        assert ObjectStoragePath("memory://audit/index.html").exists()
        assert 'href="./2026/one.jsonl"' in page.read_text()
        # A browser could not follow a link from another storage.
        for other in ("memory://other/index.html", "/audit.html"):
            elsewhere = index_page(page.parent, ObjectStoragePath(other), found)
            assert "href=" not in elsewhere.partition("<body>")[2]


def test_folder_without_exports_gets_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "misspelled"
    assert main(["index", str(missing)]) == 2
    assert capsys.readouterr().err == f"{missing} has no exports\n"
    assert not missing.exists()


def test_url_with_a_secret_is_refused() -> None:
    with pytest.raises(ViValidationError, match=r"^folder: the URL carries a password"):
        write_index("s3://key:secret@bucket/audit")


def test_command_writes_the_page(nights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nights / "x.manifest.json").write_text("{")
    assert main(["index", str(nights)]) == 0
    assert capsys.readouterr().out.endswith(f"{nights}/index.html: 4 exports, unreadable manifests: 1\n")


def test_page_that_cannot_be_written_is_reported_with_code_3(nights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nights / "taken").mkdir()
    assert main(["index", str(nights), "--output", str(nights / "taken")]) == 3
    assert "taken cannot be written: not a regular file" in capsys.readouterr().err
    assert list((nights / "taken").iterdir()) == []


def test_moved_folder_keeps_its_links(nights: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    write_index(str(nights))
    moved = tmp_path_factory.mktemp("moved") / "folder"
    shutil.copytree(nights, moved)
    page = Page((moved / "index.html").read_text())
    links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert len(links) == 9
    assert all((moved / link).is_file() for link in links)
