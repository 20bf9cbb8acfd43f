"""Checks of arguments that hold several values, as types for models and as functions for single arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, TypeAdapter

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.run_state import RunState
from vi_airflow_provider.selection.arguments import AttributeValue, Items, Text, one_of, validated

#: The states in which a run can be deleted.
ENDED: Final = tuple(state.value for state in RunState if state.is_ended)
_STATES: Final = tuple(state.value for state in RunState)


def _one_or_several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _sequence(value: Any) -> Any:
    if isinstance(value, str | bytes | int | float | Mapping):
        raise ValueError(f"{value!r:.80} is not a list of strings; write {[str(value)]!r:.80}")
    return value


def _mapping(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r:.80} is not a mapping of strings, like {{'line': '3'}}")
    return value


def _state(value: Any) -> RunState:
    if isinstance(value, str) and value in _STATES:
        return RunState(value)
    raise ValueError(f"{value!r:.80} is not {one_of(value, _STATES)}")


def _ended(states: frozenset[RunState]) -> frozenset[RunState]:
    if not states or not states.issubset(ENDED):
        raise ValueError(f"some of {', '.join(map(repr, ENDED))} expected: other runs are never deleted")
    return states


def _not_rendered(text: str) -> str:
    if text in ("True", "False"):  # "None" is refused wherever text is expected
        raise ValueError(f"{text!r} is what a template makes of a value that is not text; it would protect nothing")
    return text


#: In front of a collection type: one text is accepted in place of several.
OneOrSeveral: Final = BeforeValidator(_one_or_several)
Texts = Annotated[tuple[Text, ...], BeforeValidator(_sequence), Items]
Attributes = Annotated[dict[str, AttributeValue], BeforeValidator(_mapping)]
State = Annotated[RunState, BeforeValidator(_state)]
States = Annotated[frozenset[State], Items, OneOrSeveral]
EndedStates = Annotated[States, AfterValidator(_ended)]
ProtectedText = Annotated[Text, AfterValidator(_not_rendered)]
#: The value of an attribute; unlike a name, it may be empty.
ProtectedValue = Annotated[AttributeValue, AfterValidator(_not_rendered)]
ProtectedTexts = Annotated[frozenset[ProtectedText], BeforeValidator(_sequence), Items]
ProtectedAttributes = Annotated[dict[ProtectedText, ProtectedValue], BeforeValidator(_mapping)]


def check_of(kind: Any) -> Callable[[str, Any], Any]:
    """Return the check of an argument that has such a type or is absent."""

    @cache
    def adapter() -> TypeAdapter[Any]:
        return TypeAdapter(kind)  # built when it is first needed: few DAG files need all of them

    def check(name: str, value: Any) -> Any:
        return None if value is None else validated(adapter(), name, value)

    return check


def some_states(name: str, value: Any) -> Any:
    """Return an argument that is at least one state of a run."""
    states = check_of(States)(name, value)
    if states is not None and not states:
        raise ViValidationError(f"{name}: at least one is required, like 'succeeded'")
    return states


def document_list(name: str, value: Any) -> Any:
    """Return an argument that is a report, or a list of its outcomes.

    :raises ViValidationError: it can be neither
    """
    if isinstance(value, str | bytes | int | float):
        raise ViValidationError(f"{name}: {value!r:.80} is neither the report of a dry run nor a list of its outcomes")
    return value
