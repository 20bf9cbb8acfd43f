"""pydantic models whose instances may hold a part of their fields, and decode the rest when somebody asks for it.

pydantic reads an instance from its ``__dict__``, ``__pydantic_extra__`` and ``__pydantic_fields_set__``. In an instance
that is not complete, the last two are missing. Whoever asks for them, or for a field that is missing, comes to
``__getattr__``, and that completes the instance. So a dump, also one within another model, sees the whole of it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from pydantic._internal._repr import ReprArgs

L = TypeVar("L", bound="LazyModel")

_get, _set = object.__getattribute__, object.__setattr__  # past __getattr__, and although the models are frozen


#: Held while an instance is completed: two threads may read it at once. Reentrant, as a document holds others.
_decoding: Final = threading.RLock()


class Rest(Protocol):
    """What an incomplete instance does not hold yet."""

    def decode(self, instance: Any, asked: str | None) -> None:
        """Add the field that is asked for, or all that is missing; what this raises, the asking raises.

        Fields are added to ``__dict__`` as it is, since pydantic may hold it already.
        """


class RestOfDocument(Rest, Protocol):
    """What an incomplete instance does not hold, where it is a whole document."""

    def wire(self, instance: Any) -> dict[str, Any] | None:
        """Return the document in its wire form, if nothing of it was decoded that somebody may have changed."""


class LazyModel(BaseModel):
    """Base of models that can be completed later. An instance that pydantic has validated is complete."""

    __slots__ = ("_rest",)

    if not TYPE_CHECKING:  # or mypy would take every misspelt attribute for one that is decoded later

        def __getattr__(self, name: str) -> Any:
            with _decoding:
                if name not in self.__dict__ and (rest := _rest_of(self)) is not None:
                    rest.decode(self, name)
            try:
                return _get(self, name)
            except AttributeError:
                return super().__getattr__(name)

    def __eq__(self, other: object) -> bool:
        _complete(self)
        if isinstance(other, LazyModel):
            _complete(other)
        return super().__eq__(other)

    def __hash__(self) -> int:
        _complete(self)
        return hash((type(self), *self.__dict__.values()))

    # These read __dict__ before they ask for anything that is missing.

    def __iter__(self) -> Any:
        _complete(self)
        return super().__iter__()

    def __repr_args__(self) -> ReprArgs:
        _complete(self)
        return super().__repr_args__()

    def __copy__(self) -> Self:
        _complete(self)
        return super().__copy__()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        _complete(self)
        return super().__deepcopy__(memo)

    def copy(self, **options: Any) -> Self:
        """Copy in pydantic's deprecated way."""
        _complete(self)
        return super().copy(**options)

    def __getstate__(self) -> dict[Any, Any]:
        _complete(self)
        return super().__getstate__()


def incomplete(model: type[L], known: dict[str, Any], rest: Rest) -> L:
    """Return an instance that holds the first fields of a model, and decodes the others when one is asked for.

    :param known: the first fields by their names, in their order, valid; the instance keeps this dict
    :param rest: has the others
    """
    instance = model.__new__(model)
    _set(instance, "__dict__", known)
    _set(instance, "__pydantic_private__", None)
    _set(instance, "_rest", rest)
    return instance


def completed(instance: LazyModel, given: set[str], extra: dict[str, Any]) -> None:
    """Declare that an instance has all its fields, and put them in order.

    :param given: the names of what the document has, those of ``extra`` among them
    :param extra: what of it the model does not know
    """
    held = instance.__dict__
    ordered = {name: held[name] for name in type(instance).__pydantic_fields__}
    _set(instance, "__dict__", ordered)
    # pydantic may hold this dict already, and goes on with it when it has what it asked for. Others see the new one.
    held.clear()
    held.update(ordered)
    _set(instance, "__pydantic_fields_set__", given)
    _set(instance, "__pydantic_extra__", extra)
    _set(instance, "_rest", None)


def undecoded_wire(instance: LazyModel) -> dict[str, Any] | None:
    """Return the wire form of a document that nobody has read yet; that saves decoding it."""
    rest: RestOfDocument | None = _rest_of(instance)
    return None if rest is None else rest.wire(instance)


def _rest_of(instance: LazyModel) -> Any:
    try:
        return _get(instance, "_rest")
    except AttributeError:  # pydantic has made it
        return None


def _complete(instance: LazyModel) -> None:
    with _decoding:
        if (rest := _rest_of(instance)) is not None:
            rest.decode(instance, None)
