"""The verbs of the API, bound once for those who block and once for those who await.

A verb is a function of values that returns steps or a paginator (``protocol.flows``). ``blocking`` and its siblings
turn it into a method that carries the steps out; signature, types and docstring stay those of the verb. ``ViClient``
and ``ViHook`` share one list, ``AsyncViClient`` has the same names in the other. A new verb is one line in each.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from types import FunctionType
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from pydantic import BaseModel

from vi_airflow_provider.api.models import Flow, FlowPage
from vi_airflow_provider.api.protocol.codec import flow_page
from vi_airflow_provider.api.protocol.flows import FlowCalls
from vi_airflow_provider.api.protocol.messages import Steps
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.protocol.runs import RunCalls
from vi_airflow_provider.api.protocol.training_projects import TrainingProjectCalls

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class ViProtocol(FlowCalls, RunCalls, TrainingProjectCalls):
    """All calls of the Vi API for one organization, as steps."""


def blocking(verb: Callable[Concatenate[ViProtocol, P], Steps[T]]) -> Callable[Concatenate[BlockingVerbs, P], T]:
    """Bind a verb to a method that returns its value."""

    @wraps(verb)
    def method(self: BlockingVerbs, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(verb(self._calls, *args, **kwargs))

    return _described(method, verb, "{}")


def iterating(
    verb: Callable[Concatenate[ViProtocol, P], Paginator[M]],
) -> Callable[Concatenate[BlockingVerbs, P], Iterator[M]]:
    """Bind a listing to a method that yields its documents."""

    @wraps(verb)
    def method(self: BlockingVerbs, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[M]:
        return self._documents(verb(self._calls, *args, **kwargs))

    return _described(method, verb, "Iterator[{}]")


def paging(
    verb: Callable[Concatenate[ViProtocol, P], Paginator[Flow]],
) -> Callable[Concatenate[BlockingVerbs, P], Iterator[FlowPage]]:
    """Bind a listing to a method that yields its pages."""

    @wraps(verb)
    def method(self: BlockingVerbs, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[FlowPage]:
        paginator = verb(self._calls, *args, **kwargs)
        return (flow_page(self._run(steps)) for steps in iter(paginator.next_page, None))

    return _described(method, verb, "Iterator[FlowPage]")


def awaiting(
    verb: Callable[Concatenate[ViProtocol, P], Steps[T]],
) -> Callable[Concatenate[AwaitableVerbs, P], Coroutine[Any, Any, T]]:
    """Bind a verb to a coroutine function that returns its value."""

    @wraps(verb)
    async def method(self: AwaitableVerbs, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(verb(self._calls, *args, **kwargs))

    return _described(method, verb, "{}")


def async_iterating(
    verb: Callable[Concatenate[ViProtocol, P], Paginator[M]],
) -> Callable[Concatenate[AwaitableVerbs, P], AsyncIterator[M]]:
    """Bind a listing to a method whose result yields its documents."""

    @wraps(verb)
    def method(self: AwaitableVerbs, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[M]:
        return self._documents(verb(self._calls, *args, **kwargs))

    return _described(method, verb, "AsyncIterator[{}]")


def async_paging(
    verb: Callable[Concatenate[ViProtocol, P], Paginator[Flow]],
) -> Callable[Concatenate[AwaitableVerbs, P], AsyncIterator[FlowPage]]:
    """Bind a listing to a method whose result yields its pages."""

    @wraps(verb)
    def method(self: AwaitableVerbs, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[FlowPage]:
        paginator = verb(self._calls, *args, **kwargs)
        return _pages(self, paginator)

    return _described(method, verb, "AsyncIterator[FlowPage]")


async def _pages(client: AwaitableVerbs, paginator: Paginator[Flow]) -> AsyncIterator[FlowPage]:
    while (steps := paginator.next_page()) is not None:
        yield flow_page(await client._run(steps))


_RETURNED: Final = re.compile(r"(?:Steps|Paginator)\[(.*)\]")

F = TypeVar("F", bound=Callable[..., Any])


def _described(method: F, verb: Any, returns: str) -> F:
    """Give a method the signature that ``help()`` shows: the verb's, with what the method returns."""
    inner = _RETURNED.fullmatch(verb.__annotations__["return"])
    result = returns.format(inner[1] if inner else "")
    method.__annotations__ = {**verb.__annotations__, "return": result}
    # ``inspect`` looks for the signature in what a function wraps; to build one for each verb delays the first call.
    wrapped = FunctionType(verb.__code__, verb.__globals__, verb.__name__, verb.__defaults__, verb.__closure__)
    wrapped.__kwdefaults__, wrapped.__annotations__ = verb.__kwdefaults__, method.__annotations__
    method.__wrapped__ = wrapped  # type: ignore[attr-defined]
    return method


class BlockingVerbs(ABC):
    """The verbs of ``ViClient`` and ``ViHook``."""

    list_flows = iterating(FlowCalls.list_flows)
    iter_flow_pages = paging(FlowCalls.iter_flow_pages)
    list_simple_flows = iterating(FlowCalls.list_simple_flows)
    scan_flows = blocking(FlowCalls.scan_flows)
    get_flow = blocking(FlowCalls.get_flow)
    flow_exists = blocking(FlowCalls.flow_exists)
    find_flow = blocking(FlowCalls.find_flow)
    delete_flow = blocking(FlowCalls.delete_flow)
    delete_flow_if = blocking(FlowCalls.delete_flow_if)
    delete_flows = blocking(FlowCalls.delete_flows)
    create_flow = blocking(FlowCalls.create_flow)
    replace_flow = blocking(FlowCalls.replace_flow)
    put_flow_if = blocking(FlowCalls.put_flow_if)
    restore_flow = blocking(FlowCalls.restore_flow)
    restore_flow_if = blocking(FlowCalls.restore_flow_if)
    update_flow = blocking(FlowCalls.update_flow)

    list_runs = iterating(RunCalls.list_runs)
    list_simple_runs = iterating(RunCalls.list_simple_runs)
    find_runs = blocking(RunCalls.find_runs)
    scan_runs = blocking(RunCalls.scan_runs)
    get_run = blocking(RunCalls.get_run)
    start_run = blocking(RunCalls.start_run)
    update_run = blocking(RunCalls.update_run)
    kill_run = blocking(RunCalls.kill_run)
    kill_run_if = blocking(RunCalls.kill_run_if)
    delete_run = blocking(RunCalls.delete_run)
    delete_run_if = blocking(RunCalls.delete_run_if)
    get_run_logs = blocking(RunCalls.get_run_logs)
    list_run_outputs = iterating(RunCalls.list_run_outputs)
    get_run_output = blocking(RunCalls.get_run_output)

    list_training_projects = iterating(TrainingProjectCalls.list_training_projects)
    get_training_project = blocking(TrainingProjectCalls.get_training_project)
    create_training_project = blocking(TrainingProjectCalls.create_training_project)
    update_training_project = blocking(TrainingProjectCalls.update_training_project)
    delete_training_project = blocking(TrainingProjectCalls.delete_training_project)
    check_training_project_name = blocking(TrainingProjectCalls.check_training_project_name)
    list_accelerators = blocking(TrainingProjectCalls.list_accelerators)
    get_quota = blocking(TrainingProjectCalls.get_quota)
    get_flow_statistics = blocking(TrainingProjectCalls.get_flow_statistics)
    generate_flow_statistics = blocking(TrainingProjectCalls.generate_flow_statistics)
    get_organization = blocking(TrainingProjectCalls.get_organization)

    @property
    @abstractmethod
    def _calls(self) -> ViProtocol:
        """The calls, as steps."""

    @abstractmethod
    def _run(self, steps: Steps[T]) -> T:
        """Carry steps out, and return their value."""

    @abstractmethod
    def _documents(self, paginator: Paginator[M]) -> Iterator[M]:
        """Yield the documents of a listing."""


class AwaitableVerbs(ABC):
    """The verbs of ``AsyncViClient``."""

    list_flows = async_iterating(FlowCalls.list_flows)
    iter_flow_pages = async_paging(FlowCalls.iter_flow_pages)
    list_simple_flows = async_iterating(FlowCalls.list_simple_flows)
    scan_flows = awaiting(FlowCalls.scan_flows)
    get_flow = awaiting(FlowCalls.get_flow)
    flow_exists = awaiting(FlowCalls.flow_exists)
    find_flow = awaiting(FlowCalls.find_flow)
    delete_flow = awaiting(FlowCalls.delete_flow)
    delete_flow_if = awaiting(FlowCalls.delete_flow_if)
    delete_flows = awaiting(FlowCalls.delete_flows)
    create_flow = awaiting(FlowCalls.create_flow)
    replace_flow = awaiting(FlowCalls.replace_flow)
    put_flow_if = awaiting(FlowCalls.put_flow_if)
    restore_flow = awaiting(FlowCalls.restore_flow)
    restore_flow_if = awaiting(FlowCalls.restore_flow_if)
    update_flow = awaiting(FlowCalls.update_flow)

    list_runs = async_iterating(RunCalls.list_runs)
    list_simple_runs = async_iterating(RunCalls.list_simple_runs)
    find_runs = awaiting(RunCalls.find_runs)
    scan_runs = awaiting(RunCalls.scan_runs)
    get_run = awaiting(RunCalls.get_run)
    start_run = awaiting(RunCalls.start_run)
    update_run = awaiting(RunCalls.update_run)
    kill_run = awaiting(RunCalls.kill_run)
    kill_run_if = awaiting(RunCalls.kill_run_if)
    delete_run = awaiting(RunCalls.delete_run)
    delete_run_if = awaiting(RunCalls.delete_run_if)
    get_run_logs = awaiting(RunCalls.get_run_logs)
    list_run_outputs = async_iterating(RunCalls.list_run_outputs)
    get_run_output = awaiting(RunCalls.get_run_output)

    list_training_projects = async_iterating(TrainingProjectCalls.list_training_projects)
    get_training_project = awaiting(TrainingProjectCalls.get_training_project)
    create_training_project = awaiting(TrainingProjectCalls.create_training_project)
    update_training_project = awaiting(TrainingProjectCalls.update_training_project)
    delete_training_project = awaiting(TrainingProjectCalls.delete_training_project)
    check_training_project_name = awaiting(TrainingProjectCalls.check_training_project_name)
    list_accelerators = awaiting(TrainingProjectCalls.list_accelerators)
    get_quota = awaiting(TrainingProjectCalls.get_quota)
    get_flow_statistics = awaiting(TrainingProjectCalls.get_flow_statistics)
    generate_flow_statistics = awaiting(TrainingProjectCalls.generate_flow_statistics)
    get_organization = awaiting(TrainingProjectCalls.get_organization)

    @property
    @abstractmethod
    def _calls(self) -> ViProtocol:
        """The calls, as steps."""

    @abstractmethod
    async def _run(self, steps: Steps[T]) -> T:
        """Carry steps out, and return their value."""

    @abstractmethod
    def _documents(self, paginator: Paginator[M]) -> AsyncIterator[M]:
        """Yield the documents of a listing."""
