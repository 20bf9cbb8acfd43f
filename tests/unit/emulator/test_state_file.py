from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.unit.emulator.support import FakeClock
from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.settings import Settings
from vi_airflow_provider.emulator.store.state_file import StateError, StateFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vi.json"


@pytest.fixture
def backend(path: Path, clock: FakeClock) -> Backend:
    return Backend(Settings(flows=12), clock=clock, state=path)


def everything(backend: Backend) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    flows = [backend.store.get_flow(id_) for id_ in backend.store.flow_ids()]
    runs = [dict(run) for run in backend.store.runs.view_page(None, 1000).items]
    return flows, runs


def test_a_new_file_starts_with_the_samples(backend: Backend, path: Path) -> None:
    content = json.loads(path.read_bytes())
    assert content["organizationId"] == backend.settings.organization_id
    assert len(content["flows"]) == 12
    assert len(content["runs"]) == 1


def test_changes_survive_a_restart(backend: Backend, path: Path, clock: FakeClock, spec: dict[str, Any]) -> None:
    backend.store.put_flow("f1", {"spec": spec, "metadata": {"attributes": {"a": "ü"}}})
    backend.store.runs.plans.add(scenario="fail_at_end")
    backend.store.put_run("r1", {"spec": {"flow": spec}})
    backend.store.projects.write("p1", {"spec": {"name": "Pallets", "type": "vqa"}})
    backend.store.delete_flow(backend.store.flow_ids()[-1])
    again = Backend(Settings(flows=3, seed=9), clock=clock, state=path)
    assert everything(again) == everything(backend)
    assert again.store.get_flow("f1")["spec"] == spec
    assert again.store.projects.get("p1") == backend.store.projects.get("p1")
    assert again.store.runs.get("r1") == backend.store.runs.get("r1")


def test_file_without_projects_gets_the_samples(backend: Backend, path: Path, clock: FakeClock) -> None:
    content = json.loads(path.read_bytes())
    del content["trainingProjects"]
    path.write_text(json.dumps(content))
    assert "weld-inspection" in Backend(clock=clock, state=path).store.projects


def test_every_change_is_saved_before_its_response(backend: Backend, path: Path, spec: dict[str, Any]) -> None:
    def saved_ids() -> set[str]:
        return {flow["flowId"] for flow in json.loads(path.read_bytes())["flows"]}

    backend.store.put_flow("f1", {"spec": spec})
    assert "f1" in saved_ids()
    backend.store.patch_flow("f1", {"spec": {"name": "patched"}})
    assert b"patched" in path.read_bytes()
    backend.store.delete_flow("f1")
    assert "f1" not in saved_ids()
    added = backend.store.add_sample_flows(2, seed=77)
    assert set(added) < saved_ids()
    backend.reset(flows=1)
    assert len(saved_ids()) == 1


def test_a_refused_change_is_not_saved(backend: Backend, path: Path) -> None:
    before = path.stat().st_ino
    with pytest.raises(Exception, match="not found"):
        backend.store.delete_flow("nope")
    assert path.stat().st_ino == before


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_failed_write_keeps_the_old_file_and_no_other(
    backend: Backend, path: Path, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    before = path.read_bytes()

    def fail(*_: Any) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync" if failing == "fsync" else "pathlib.Path.replace", fail)
    with pytest.raises(StateError, match=r"cannot write the state file .*No space left"):
        backend.store.put_flow("f1", {"spec": spec})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_many_writers_leave_the_last_state(
    backend: Backend, path: Path, clock: FakeClock, spec: dict[str, Any]
) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: backend.store.put_flow(f"f{n}", {"spec": spec}), range(50)))
    assert everything(Backend(clock=clock, state=path)) == everything(backend)


def test_waiting_writers_find_their_change_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    file = StateFile(path)
    monkeypatch.setattr(file, "_replace", writes.append)
    state = type("State", (), {"encode": lambda self: b"x"})()
    for revision in (1, 2, 3, 4):
        file.save(revision, lambda: (3, state))  # what is newest when the first of them writes
    assert len(writes) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[]", "not a state file of format 1"),
        ('{"format": 2}', "not a state file of format 1"),
        ('{"format": 1}', "organizationId, flows or runs is missing"),
        ('{"format":1,"organizationId":"o","flows":[5],"runs":[]}', "flows[0] must be an object"),
        ('{"format":1,"organizationId":"o","flows":[{"flowId":5}],"runs":[]}', "flows[0].flowId must be a string"),
        ('{"format":1,"organizationId":"o","flows":[],"runs":[{"runId":"a b"}]}', "runs[0].runId id must be"),
        ('{"format":1,"organizationId":"o","flows":[],"runs":[],"trainingProjects":5}', "trainingProjects must be"),
        (
            '{"format":1,"organizationId":"o","flows":[],"runs":[{"runId":"a","metadata":{}}]}',
            "runs[0].metadata.timeCreated is required",
        ),
    ],
)
def test_corrupt_file_is_refused_with_name_and_reason(path: Path, content: str, reason: str) -> None:
    path.write_text(content)
    with pytest.raises(StateError) as caught:
        Backend(state=path)
    assert str(caught.value).startswith(f"the state file {path} is corrupt: ")
    assert reason in str(caught.value)
    assert path.read_text() == content


def test_a_file_of_another_organization_is_refused(backend: Backend, path: Path) -> None:
    with pytest.raises(StateError, match="belongs to organization e0e0e0e0"):
        Backend(Settings(organization_id="other"), state=path)


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot read the state file"):
        Backend(state=tmp_path)


def test_missing_folder_is_refused_on_start(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot write the state file"):
        Backend(state=tmp_path / "no" / "vi.json")
