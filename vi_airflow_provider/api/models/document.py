"""What all documents of the Vi API have in common.

Each model reads two forms of itself: the wire (camelCase) and its own dump (snake_case, the XCom form), so
``Flow.model_validate(xcom_value)`` works in a downstream task. Unknown fields are kept in both, and a field that was
absent stays absent: what was read is what is written back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator
from pydantic.alias_generators import to_camel

from vi_airflow_provider.api.lazy_model import LazyModel

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: Integers that every consumer of an export can hold.
Int64 = Annotated[StrictInt, Field(ge=-(2**63), le=2**63 - 1)]

#: What is wrong with an unknown field whose name is the one that our models give to another field.
TWIN: Final = "an unknown field has the name that the models give to another field, so the two cannot be told apart"


class Document(LazyModel):
    """Base of all documents of the API."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        protected_namespaces=(),
        ser_json_inf_nan="constants",  # not null, which would change the document; encode_body refuses them
    )

    @model_validator(mode="after")
    def _without_twins(self) -> Self:
        # In the XCom form, such an unknown field would replace the other one.
        if self.__pydantic_extra__ and (twins := self.__pydantic_extra__.keys() & type(self).model_fields.keys()):
            raise ValueError(f"{min(twins)}: {TWIN}")
        return self

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Dump as pydantic does, but without fields that the document did not have.

        ``mode="json"`` gives the XCom form: snake_case keys, JSON types only.
        """
        return super().model_dump(**{"exclude_unset": True, **options})

    def model_dump_json(self, **options: Any) -> str:
        """Dump to JSON text under the same rule as :meth:`model_dump`."""
        return super().model_dump_json(**{"exclude_unset": True, **options})

    def to_wire(self) -> dict[str, Any]:
        """Return the document as the API writes it: camelCase keys, JSON types only."""
        return self.model_dump(mode="json", by_alias=True)


class ResourceMetadata(Document):
    """The server's metadata of a document. Times are integers: milliseconds since the epoch, UTC."""

    time_created: Int64
    last_updated: Int64
    generation: Int64
    attributes: dict[str, str]


class DeletedDocument(BaseModel):
    """The outcome of a delete; the document does not exist any more.

    ``deleted``: this call deleted it. ``already_absent``: there was nothing to delete.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    deleted: StrictBool
    already_absent: StrictBool


def format_time(ms: int) -> str:
    """Format a wire time (milliseconds since the epoch) for a person; one out of range as the bare number."""
    try:
        return (_EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%d %H:%M:%S UTC")
    except OverflowError:
        return f"{ms} ms"
