"""Ids and names are checked without pydantic where they are plain, and nothing shows it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import wire_bytes
from tests.strategies import JSON, TEXT
from tests.unit.api.test_lazy_flow import ORIGIN
from vi_airflow_provider.api.errors import ViResponseError
from vi_airflow_provider.api.models import SimpleFlow, SimpleRun
from vi_airflow_provider.api.protocol.codec import parse_document
from vi_airflow_provider.api.protocol.simple_documents import parse_simple_flow, parse_simple_run

PARSERS: Final[dict[str, tuple[Any, Any, str]]] = {
    "flow": (parse_simple_flow, SimpleFlow, "flowId"),
    "run": (parse_simple_run, SimpleRun, "runId"),
}
DOCUMENTS: Final = st.fixed_dictionaries(
    {}, optional={"id": TEXT | JSON, "name": TEXT | JSON, "extra": JSON, "flow_id": TEXT}
)


def outcome(parse: Callable[..., Any], content: bytes) -> Any:
    """All that can be seen of a document, or the error."""
    try:
        found = parse(content, ORIGIN, "items[3]")
        return found, repr(found), found.model_dump_json(), found.model_extra, found.model_fields_set, found.to_wire()
    except ViResponseError as error:
        return str(error)


@pytest.mark.parametrize("kind", PARSERS)
@given(DOCUMENTS)
def test_every_document_is_read_or_refused_as_by_pydantic(kind: str, wire: dict[str, Any]) -> None:
    parse, model, id_name = PARSERS[kind]
    content = wire_bytes({id_name if key == "id" else key: value for key, value in wire.items()})
    assert outcome(parse, content) == outcome(partial(parse_document, model), content)
