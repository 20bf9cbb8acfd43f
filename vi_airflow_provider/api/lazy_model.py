"""pydantic models whose instances may hold only some of their fields, and decode the rest on first access.

Theory of operation
===================

States. An instance is *complete* or *incomplete*. pydantic makes complete ones. :func:`incomplete` makes one from the
first fields of its model and a :class:`Rest`, and :func:`completed` turns it into a complete one, once, for good::

    incomplete(model, known, rest)  --(first access to anything missing)-->  rest.decode() -> completed()

What is missing. pydantic reads an instance through ``__dict__``, ``__pydantic_extra__`` and
``__pydantic_fields_set__``. An incomplete instance has a ``__dict__`` without the later fields, and the other two are
slots without a value. Python calls ``__getattr__`` for an attribute that is not found, so access to any of them, by a
caller, by pydantic's Python code or by its Rust serializer, triggers the decoding. A dump therefore sees the whole
document, even one nested in another model.

Invariants.

* A complete instance cannot be told from one that pydantic validated: same fields in the same order, same
  ``fields_set`` and extra. Equality, hash, copy, pickle and dumps depend on that.
* ``known`` holds valid values: what is built lazily has been checked before, so completing can fail only for a value
  that no parser can build.
* Methods of pydantic that read ``__dict__`` before anything that is missing (``__iter__``, ``__eq__``, ``__copy__`` …)
  are overridden here and complete the instance first. A new release of pydantic may add one: the property tests in
  ``test_lazy_flow`` compare every public operation with that of an eager twin.
* Completing is serialized by one reentrant lock: two threads may read one instance, and documents nest.
* ``__dict__`` is replaced *and* its old object refilled, because pydantic may hold the old one while it asks.

If you change the order of fields in ``known``, ``__repr__`` and dumps of half-read documents change their order.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from pydantic._internal._repr import ReprArgs

    from vi_airflow_provider.api.canonical import CanonicalForms

L = TypeVar("L", bound="LazyModel")

_get, _set = object.__getattribute__, object.__setattr__  # bypass __getattr__ and the frozen models

#: The slots that every instance needs, set in half the time.
_set_fields: Final = BaseModel.__dict__["__dict__"].__set__
_set_private: Final = BaseModel.__dict__["__pydantic_private__"].__set__


#: Held while an instance is completed. Reentrant, because documents nest.
_decoding: Final = threading.RLock()


class Rest(Protocol):
    """What an incomplete instance does not hold yet."""

    def decode(self, instance: Any, asked: str | None) -> None:
        """Add the field that is accessed, or all missing ones; what this raises, the access raises.

        Fields are added to the existing ``__dict__``, since pydantic may hold it already.
        """


class RestOfDocument(Rest, Protocol):
    """What an incomplete instance does not hold, if it is a whole document."""

    def wire(self, instance: Any) -> dict[str, Any] | None:
        """Return the document in its wire form, unless something mutable was decoded and may have been changed."""

    def forms(self, instance: Any) -> CanonicalForms | None:
        """Return the canonical forms under the same condition, if that is cheaper than from the wire form."""


class LazyModel(BaseModel):
    """Base of models that can be completed later. An instance that pydantic has validated is complete."""

    __slots__ = ("_rest",)

    if not TYPE_CHECKING:  # or mypy would accept every misspelt attribute

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

    # These read __dict__ before they access anything that is missing.

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


_new: Final = object.__new__
_set_rest: Final = LazyModel.__dict__["_rest"].__set__


def incomplete(model: type[L], known: dict[str, Any], rest: Rest) -> L:
    """Return an instance that holds the first fields of a model, and decodes the others on first access.

    :param known: the first fields by name, in order, with valid values; the instance keeps this dict
    :param rest: decodes the others
    """
    instance = _new(model)
    _set_fields(instance, known)
    _set_private(instance, None)
    _set_rest(instance, rest)
    return instance


def completed(instance: LazyModel, given: set[str], extra: dict[str, Any]) -> None:
    """Declare that an instance has all its fields, and put them in order.

    :param given: the names of the fields that the document has, including those of ``extra``
    :param extra: the fields that the model does not know
    """
    held, names = instance.__dict__, type(instance).__pydantic_fields__
    if list(held) != list(names):
        ordered = {name: held[name] for name in names}
        _set_fields(instance, ordered)
        # pydantic may hold the old dict already and continue with it; everybody else sees the new one.
        held.clear()
        held.update(ordered)
    _set(instance, "__pydantic_fields_set__", given)
    _set(instance, "__pydantic_extra__", extra)
    _set(instance, "_rest", None)


def undecoded_wire(instance: LazyModel) -> dict[str, Any] | None:
    """Return the wire form of a document of which nothing was decoded yet; cheaper than a dump."""
    rest: RestOfDocument | None = _rest_of(instance)
    return None if rest is None else rest.wire(instance)


def undecoded_forms(instance: LazyModel) -> CanonicalForms | None:
    """Return the canonical forms of a document of which nothing was read yet that a caller can change."""
    rest: RestOfDocument | None = _rest_of(instance)
    return None if rest is None else rest.forms(instance)


def _rest_of(instance: LazyModel) -> Any:
    try:
        return _get(instance, "_rest")
    except AttributeError:  # pydantic has made it
        return None


def _complete(instance: LazyModel) -> None:
    with _decoding:
        if (rest := _rest_of(instance)) is not None:
            rest.decode(instance, None)
