"""Runs clients side by side: in turns, A B C A B C, so that what disturbs the machine disturbs them all."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from benchmarks.processes import BenchmarkError, Server, Worker, worker_environment
from benchmarks.results import Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.plan import Plan

#: Flows of the organization on which a client warms up: imports, connections, whatever is made at the first use.
WARM_UP: Final = 100


@dataclass(frozen=True)
class Client:
    """Who runs, and what must come of it.

    :param label: its name in the results
    :param run: ``module:function`` in ``benchmarks.clients``
    :param options: how it is made
    :param expected: what it must find, and how many requests of each kind it must send, exactly
    :param size: how many flows its work is about, if not all
    """

    label: str
    run: str
    options: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, int] = field(default_factory=dict)
    size: int | None = None


class Runner:
    """A server, workers, and the measurements so far.

    :param home: folder for everything that is written
    :param tell: shows a line of progress
    """

    def __init__(self, plan: Plan, server: Server, home: Path, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.server = server
        self.home = home
        self.tell = tell
        self.measurements: list[Measurement] = []
        self._variables = worker_environment(home, server.url)
        self._closing = ExitStack()
        self._shared: Worker | None = None

    def compare(
        self,
        suite: str,
        scenario: str,
        clients: Sequence[Client],
        *,
        flows: int,
        latency_ms: float = 0,
        rounds: int | None = None,
        warm_up: int = WARM_UP,
        in_turns: bool = False,
    ) -> None:
        """Let clients run in turns against an organization of so many flows, and keep what comes of it.

        :param warm_up: flows of the organization on which they warm up
        :param in_turns: have them warm up one after the other, since they delete what they find
        """
        rounds = rounds or self.plan.rounds
        self.tell(f"{suite}: {scenario} ({', '.join(each.label for each in clients)}; {rounds} rounds)")
        kept: list[list[dict[str, Any]]] = [[] for _ in clients]
        with ExitStack() as stack:
            workers = [stack.enter_context(self.worker(client.label)) for client in clients]
            groups = [slice(n, n + 1) for n in range(len(workers))] if in_turns else [slice(None)]
            for group in groups:
                self.server.begin(min(warm_up, flows), 0)
                self.warm_up(workers[group], clients[group], {})
            for _ in range(rounds):
                for client, worker, rows in zip(clients, workers, kept, strict=True):
                    self.server.begin(flows, latency_ms)
                    found = worker.measure(client.run, client.options, {})
                    rows.append(self.checked(client, found))
        for client, rows in zip(clients, kept, strict=True):
            size = client.size or flows
            self.measurements.append(Measurement(suite, scenario, client.label, size, latency_ms, rows))

    def warm_up(self, workers: Sequence[Worker], clients: Sequence[Client], arguments: dict[str, Any]) -> None:
        """Let each client run once, all at the same time: what is made at the first use is not measured."""
        if self.plan.smoke:
            return
        for client, worker in zip(clients, workers, strict=True):
            worker.begin(client.run, client.options, arguments)
        for worker in workers:
            worker.result()

    def checked(self, client: Client, found: dict[str, Any]) -> dict[str, Any]:
        """Return what a run found along with what the server saw.

        :raises BenchmarkError: that is not what it had to be
        """
        row = found | {f"server_{name}": value for name, value in self.server.counts().items()}
        for name, value in client.expected.items():
            if row[name] != value:
                raise BenchmarkError(f"{client.label}: {name} is {row[name]}, and had to be {value}")
        return row

    @contextmanager
    def worker(self, label: str) -> Iterator[Worker]:
        """Lend a worker: one of its own for each client, unless the plan has one for all."""
        if not self.plan.smoke:
            with Worker(self._variables, self._log(label)) as worker:
                yield worker
        else:
            if self._shared is None:
                self._shared = self._closing.enter_context(Worker(self._variables, self._log("worker")))
            yield self._shared

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that measures."""
        return dict(self._variables)

    def close(self) -> None:
        """End what is shared."""
        self._closing.close()

    def _log(self, label: str) -> IO[bytes]:
        return self._closing.enter_context((self.home / f"{label.replace(' ', '-')}.log").open("ab"))
