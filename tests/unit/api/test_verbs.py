"""Every verb exists for those who block and for those who await, with one signature and one docstring."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any, Final

import pytest

from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.protocol.exchange import Exchange
from vi_airflow_provider.api.protocol.messages import Steps
from vi_airflow_provider.api.verbs import AwaitableVerbs, BlockingVerbs, ViProtocol, blocking


def public(cls: type, *, without: type = object) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")} - set(dir(without))


VERBS: Final = sorted(public(ViProtocol, without=Exchange))


def test_both_clients_have_every_verb_and_nothing_else() -> None:
    assert len(VERBS) >= 16
    assert public(BlockingVerbs) == public(AwaitableVerbs) == set(VERBS)
    assert public(ViClient) == public(AsyncViClient) == {*VERBS, "close"}


@pytest.mark.parametrize("client", [BlockingVerbs, AwaitableVerbs])
@pytest.mark.parametrize("name", VERBS)
def test_a_method_has_signature_and_docstring_of_its_verb(name: str, client: type) -> None:
    verb, method = getattr(ViProtocol, name), getattr(client, name)
    signature: Any = inspect.signature(method)
    assert signature.parameters == inspect.signature(verb).parameters
    assert method.__doc__ == verb.__doc__
    assert method.__name__ == name


def test_a_verb_in_a_decorator_is_bound() -> None:
    verb = ViProtocol.flow_exists

    @wraps(verb)
    def counted(self: ViProtocol, flow_id: str) -> Steps[bool]:
        return verb(self, flow_id)

    method = blocking(counted)
    assert (method.__name__, method.__doc__) == ("flow_exists", verb.__doc__)
    assert list(inspect.signature(method).parameters) == ["self", "flow_id"]


@pytest.mark.parametrize(
    ("name", "blocking", "awaiting"),
    [
        ("get_flow", "Flow", "Flow"),
        ("find_flow", "Flow | None", "Flow | None"),
        ("delete_flows", "list[DeletedFlow]", "list[DeletedFlow]"),
        ("list_flows", "Iterator[Flow]", "AsyncIterator[Flow]"),
        ("iter_flow_pages", "Iterator[FlowPage]", "AsyncIterator[FlowPage]"),
    ],
)
def test_help_shows_what_a_method_returns(name: str, blocking: str, awaiting: str) -> None:
    assert inspect.signature(getattr(BlockingVerbs, name)).return_annotation == blocking
    assert inspect.signature(getattr(AwaitableVerbs, name)).return_annotation == awaiting


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_awaited_unless_it_yields(name: str) -> None:
    returns = str(inspect.signature(getattr(AwaitableVerbs, name)).return_annotation)
    assert inspect.iscoroutinefunction(getattr(AwaitableVerbs, name)) is not returns.startswith("AsyncIterator")
