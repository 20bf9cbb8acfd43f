"""The optional state file: a store that survives a restart."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.schema import (
    Document,
    check_flow_spec,
    check_id,
    check_metadata,
    check_project_spec,
    check_run_spec,
    encode,
)

FORMAT = 1


class StateError(Exception):
    """A state file that cannot be used; one line, naming the file and the reason."""


@dataclass(frozen=True)
class State:
    """The persistent content of a store."""

    organization_id: str
    flows: list[Document]
    runs: list[Document]
    #: None in files that were written before there were training projects.
    projects: list[Document] | None = None

    def encode(self) -> bytes:
        """JSON with one document per line, for readable diffs."""
        head = encode({"format": FORMAT, "organizationId": self.organization_id})[:-1]
        kinds = {"flows": self.flows, "runs": self.runs, "trainingProjects": self.projects or []}
        lists = (
            f'"{name}":[\n'.encode() + b",\n".join(map(encode, documents)) + b"\n]" for name, documents in kinds.items()
        )
        return head + b",\n" + b",\n".join(lists) + b"}\n"

    @classmethod
    def decode(cls, text: bytes) -> State:
        """Read and validate the content of a state file; ValueError or ApiError if it is invalid."""
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"not a state file of format {FORMAT}")
        organization_id, flows, runs = (content.get(key) for key in ("organizationId", "flows", "runs"))
        if not (isinstance(organization_id, str) and isinstance(flows, list) and isinstance(runs, list)):
            raise ValueError("organizationId, flows or runs is missing")
        for index, flow in enumerate(flows):
            _check(flow, f"flows[{index}]", ("flowId", "workspaceId", "selfLink", "etag"))
            check_flow_spec(flow.get("spec"), f"flows[{index}].spec")
        for index, run in enumerate(runs):
            _check(run, f"runs[{index}]", ("runId",))
            check_run_spec(run.get("spec"), f"runs[{index}].spec")
        projects = content.get("trainingProjects")
        if not isinstance(projects, list | None):
            raise ValueError("trainingProjects must be an array")
        for index, project in enumerate(projects or []):
            _check(project, f"trainingProjects[{index}]", ("trainingProjectId",))
            check_project_spec(project.get("spec"), f"trainingProjects[{index}].spec")
        return cls(organization_id, flows, runs, projects)


class StateFile:
    """A file that always holds one complete state: the one before or the one after a change."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._saved = 0

    def load(self) -> State | None:
        """The saved state, or None if the file does not exist yet."""
        try:
            return State.decode(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"cannot read the state file {self.path}: {error.strerror}") from error
        except (ValueError, ApiError, RecursionError) as error:
            raise StateError(f"the state file {self.path} is corrupt: {error}") from error

    def save(self, revision: int, snapshot: Callable[[], tuple[int, State]]) -> None:
        """Return once the file holds this revision or a later one.

        A writer that waited for the lock usually finds its change already written by its predecessor.
        """
        with self._lock:
            if revision <= self._saved:
                return
            newest, state = snapshot()
            self._replace(state.encode())
            self._saved = newest

    def _replace(self, content: bytes) -> None:
        try:
            # In the same folder: a rename is atomic only within one file system.
            descriptor, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(self.path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StateError(f"cannot write the state file {self.path}: {error.strerror}") from error


def _check(document: object, path: str, strings: tuple[str, ...]) -> None:
    if not isinstance(document, dict):
        raise ValueError(f"{path} must be an object")
    for name in strings:
        if not isinstance(document.get(name), str):
            raise ValueError(f"{path}.{name} must be a string")
    check_id(document[strings[0]], f"{path}.{strings[0]}")
    check_metadata(document.get("metadata"), f"{path}.metadata")
