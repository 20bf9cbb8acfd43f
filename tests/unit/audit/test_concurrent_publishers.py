"""Two tasks export to one destination at a time: whatever the order of their steps, the file has its manifest."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any, Final

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from tests.documents import ORGANIZATION_ID
from tests.unit.audit.support import attached_memory, export, flow
from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.audit import writer
from vi_airflow_provider.audit.manifest import ExportManifest
from vi_airflow_provider.audit.subject import FLOWS, Subject
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.storage.manifest import sha256_and_size

URI: Final = "memory://bucket/flows.jsonl"
#: The operations on the storage, before each of which the other task may take its turn.
STEPS: Final = ("read_manifest", "sha256_of", "write_atomically")


@dataclass
class Task:
    """An export of one flow to :data:`URI` in a thread of its own, which waits for its turn before each step."""

    name: str
    #: The file whose writing fails.
    fails_at: str = ""
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    waits: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    ended: bool = False
    error: BaseException | None = None
    subject: Subject[Flow] = FLOWS

    def file(self) -> IO[bytes]:
        return BytesIO()

    def fingerprints(self) -> Iterator[tuple[str, str]]:
        yield self.name, flow(self.name).fingerprint

    def step(self, name: str, *arguments: Any) -> None:
        self.waits.release()
        self.turn.acquire()
        if name == "write_atomically" and self.fails_at and str(arguments[0]).endswith(self.fails_at):
            raise OSError("the disk is full")

    def publish(self) -> None:
        current.task = self
        content = BytesIO(canonical_json(flow(self.name).to_wire()) + b"\n")
        sha256, size = sha256_and_size(content)
        facts: Any = (1, sha256, size, f"2026-07-01T00:00:00.{self.name}", ORGANIZATION_ID, {}, "0")
        version = ExportManifest("flows.jsonl", "jsonl", *facts)
        spool: Any = self
        try:
            writer.publish(spool, ObjectStoragePath(URI), content, version)
        except BaseException as error:
            self.error = error
        finally:
            self.ended = True
            self.waits.release()


current = threading.local()


@pytest.fixture(autouse=True)
def _steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def stepping(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any) -> Any:
            if task := getattr(current, "task", None):
                task.step(name, *arguments)
            return act(*arguments)

        return instead

    for name in STEPS:
        monkeypatch.setattr(writer, name, stepping(name, getattr(writer, name)))


def run(tasks: list[Task], choices: list[int]) -> list[int]:
    """Run the tasks, each step by the task that is chosen; return the choices that were made while both ran."""
    for task in tasks:
        threading.Thread(target=task.publish, daemon=True).start()
        task.waits.acquire()
    made: list[int] = []
    while running := [task for task in tasks if not task.ended]:
        choice = 0
        if len(running) > 1:
            choice = choices[len(made)] if len(made) < len(choices) else 0
            made.append(choice)
        running[choice].turn.release()
        running[choice].waits.acquire()
    return made


def every_order(tasks: Callable[[], list[Task]], check: Callable[[list[Task], list[int]], None]) -> int:
    """Run fresh tasks in every order of their steps, and return the number of orders."""
    orders, choices = 0, list[int]()
    while True:
        attached = tasks()
        made = run(attached, choices)
        check(attached, made)
        orders += 1
        while made and made[-1] == 1:
            made.pop()
        if not made:
            return orders
        choices = [*made[:-1], 1]


@pytest.mark.parametrize(
    ("before", "fails_at"),
    [([], ""), (["older", "old"], ""), (["old"], ".manifest.json")],
    ids=["new", "replaced", "replaced while one fails"],
)
def test_file_has_its_manifest_in_every_order_of_two_publishers(fails_at: str, before: list[str]) -> None:
    with attached_memory():
        store = ObjectStoragePath(URI).fs

        def tasks() -> list[Task]:
            store.store.clear()
            for flow_id in before:
                export(URI, [flow(flow_id)])
            return [Task("a", fails_at), Task("b")]

        def check(done: list[Task], order: list[int]) -> None:
            first, second = done
            assert second.error is None, order
            assert isinstance(first.error, OSError) if fails_at else first.error is None, order
            stored = verify(URI, every_document=True)
            expected = {"b"} if fails_at else {"a", "b"}
            assert stored.created_at.rpartition(".")[2] in expected, order

        logging.disable()  # hundreds of warnings
        try:
            assert every_order(tasks, check) > 50
        finally:
            logging.disable(logging.NOTSET)
