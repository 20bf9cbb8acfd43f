"""What a cleanup must spare, and which rules of its policy match no flow at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.validation import describe_errors
from vi_airflow_provider.cleanup.subject import Subject, id_of, name_of
from vi_airflow_provider.selection.collection_arguments import ProtectedAttributes, ProtectedTexts
from vi_airflow_provider.selection.matching import attributes_match, name_matches


class Rule(NamedTuple):
    """One condition on a flow or a run, labelled with the argument that it comes from."""

    label: str
    matches: Callable[[Subject], bool]


class Protections(BaseModel):
    """Which flows or runs are never deleted. When in doubt, one is protected. The name of a run is that of its flow.

    :param protect_ids: those with these ids
    :param protect_names: those whose name matches one of these globs, or is one of these texts, brackets included
    :param protect_attributes: those that have one of these attributes with its value
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protect_ids: ProtectedTexts = frozenset()
    protect_names: ProtectedTexts = frozenset()
    protect_attributes: ProtectedAttributes = {}

    @classmethod
    def build(cls, **rules: Any) -> Self:
        """Build the rules from what a DAG author writes; ``None`` means not given.

        :raises ViValidationError: a value is unusable; the message names the argument
        """
        try:
            return cls(**{name: value for name, value in rules.items() if value is not None})
        except ValidationError as error:
            reason = describe_errors(error)
        raise ViValidationError(reason)

    def protection(self, subject: Subject) -> str | None:
        """Return the rule that protects a flow or a run, ``None`` without such a rule."""
        if id_of(subject) in self.protect_ids:
            return "protected by id"
        for pattern in sorted(self.protect_names):
            if _name_is_protected(pattern, subject):
                return f"protected by name ({pattern})"
        for key, value in sorted(self.protect_attributes.items()):
            if _has_attribute(key, value, subject):
                return f"protected by attribute {key}={value}"
        return None

    def rules(self) -> Iterator[Rule]:
        """Yield the rules one by one, except the ids."""
        for pattern in sorted(self.protect_names):
            yield Rule(f"protect_names: {pattern}", partial(_name_is_protected, pattern))
        for key, value in sorted(self.protect_attributes.items()):
            yield Rule(f"protect_attributes: {key}={value}", partial(_has_attribute, key, value))

    def empty(self) -> list[str]:
        """Return the protections that were given, and hold no rule."""
        given = self.model_fields_set & Protections.model_fields.keys()
        return sorted(name for name in given if not getattr(self, name))


class UnmatchedRules:
    """Finds the rules that match nothing in a listing.

    Such a rule may be misspelled. What matters is the whole listing, not only what is in scope or old enough: a rule
    that protects a young flow does its work.
    """

    def __init__(self, protections: Protections, scope: Iterable[Rule]) -> None:
        self._empty = [f"{name}: empty" for name in protections.empty()]
        self._ids = set(protections.protect_ids)
        self._rules = [*protections.rules(), *scope]
        self._seen = 0

    def see(self, subject: Subject) -> None:
        """Note which rules match a flow or a run."""
        self._seen += 1
        self._ids.discard(id_of(subject))
        if self._rules:
            self._rules = [rule for rule in self._rules if not rule.matches(subject)]

    def labels(self) -> list[str]:
        """Return the rules that match nothing; none if the listing is empty."""
        if not self._seen:
            return []
        ids = [f"protect_ids: {flow_id}" for flow_id in sorted(self._ids)]
        return [*self._empty, *ids, *(rule.label for rule in self._rules)]


def _name_is_protected(pattern: str, subject: Subject) -> bool:
    # Brackets are a set of characters in a glob, and often meant as they are: "[prod] *". Both readings protect.
    name = name_of(subject)
    return name_matches(pattern, name) or name_matches(pattern.replace("[", "[[]"), name)


def _has_attribute(key: str, value: str, subject: Subject) -> bool:
    return attributes_match({key: value}, subject.metadata.attributes)
