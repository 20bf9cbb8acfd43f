"""Run clients in turns (A B C A B C), so that a disturbance of the machine affects all of them."""

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

#: Flows of the organization on which a client warms up: imports, connections, caches filled on first use.
WARM_UP: Final = 100


@dataclass(frozen=True)
class Client:
    """A client under measurement, and its expected results.

    :param label: its name in the results
    :param run: ``module:function`` in ``benchmarks.clients``
    :param options: arguments of that function
    :param expected: exact counts of what it finds and of the requests it sends
    :param size: number of flows it handles, if not all
    """

    label: str
    run: str
    options: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, int] = field(default_factory=dict)
    size: int | None = None


class Runner:
    """Runs clients and collects the measurements.

    :param home: folder for all files of the run
    :param progress: prints a line of progress
    """

    def __init__(self, plan: Plan, server: Server, home: Path, progress: Callable[[str], None]) -> None:
        self.plan = plan
        self.server = server
        self.home = home
        self.progress = progress
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
        """Run clients in turns against an organization with ``flows`` flows, and keep the measurements.

        :param warm_up: flows of the organization on which they warm up
        :param in_turns: warm up one client at a time, because each deletes the flows it finds
        """
        rounds = rounds or self.plan.rounds
        self.progress(f"{suite}: {scenario} ({', '.join(each.label for each in clients)}; {rounds} rounds)")
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
        """Run each client once, concurrently, so that the cost of the first use is not measured."""
        if self.plan.smoke:
            return
        for client, worker in zip(clients, workers, strict=True):
            worker.begin(client.run, client.options, arguments)
        for worker in workers:
            worker.result()

    def checked(self, client: Client, found: dict[str, Any]) -> dict[str, Any]:
        """Merge the figures of a run with the counters of the server.

        :raises BenchmarkError: a count differs from the expected one
        """
        row = found | {f"server_{name}": value for name, value in self.server.counts().items()}
        for name, value in client.expected.items():
            if row[name] != value:
                raise BenchmarkError(f"{client.label}: {name} is {row[name]}, expected {value}")
        return row

    @contextmanager
    def worker(self, label: str) -> Iterator[Worker]:
        """Provide a worker: a new one for each client, or a shared one in a smoke test."""
        if not self.plan.smoke:
            with Worker(self._variables, self._log(label)) as worker:
                yield worker
        else:
            if self._shared is None:
                self._shared = self._closing.enter_context(Worker(self._variables, self._log("worker")))
            yield self._shared

    def environment(self) -> dict[str, str]:
        """Return the environment of a worker process."""
        return dict(self._variables)

    def close(self) -> None:
        """Stop the shared worker and close the logs."""
        self._closing.close()

    def _log(self, label: str) -> IO[bytes]:
        return self._closing.enter_context((self.home / f"{label.replace(' ', '-')}.log").open("ab"))
