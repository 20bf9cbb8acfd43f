"""Ids and names: the documents of ``simpleFlows`` and ``simpleRuns``, which an export lists by the hundred thousand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET, UnsetType

from vi_airflow_provider.api import models
from vi_airflow_provider.api.lazy_model import incomplete
from vi_airflow_provider.api.models import SimpleFlow
from vi_airflow_provider.api.protocol.codec import parse_document
from vi_airflow_provider.api.protocol.outcomes import NOT_JSON, ErrorContext
from vi_airflow_provider.api.protocol.whole_flow import Given

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import SimpleRun


class _Flow(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    flow_id: str
    name: str | UnsetType | None = UNSET


class _Run(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    run_id: str
    name: str | UnsetType | None = UNSET


_decode_flow: Final = msgspec.json.Decoder(_Flow).decode
_decode_run: Final = msgspec.json.Decoder(_Run).decode
_FLOW: Final = (Given({"flow_id"}), Given({"flow_id", "name"}))
_RUN: Final = (Given({"run_id"}), Given({"run_id", "name"}))


def parse_simple_flow(content: bytes, context: ErrorContext, json_path: str) -> SimpleFlow:
    """Check one item of ``simpleFlows``; one that is not plain is left to pydantic."""
    try:
        flow = _decode_flow(content)
    except NOT_JSON:
        return parse_document(SimpleFlow, content, context, json_path)
    name = None if flow.name is UNSET else flow.name
    return incomplete(SimpleFlow, {"flow_id": flow.flow_id, "name": name}, _FLOW[flow.name is not UNSET])


def parse_simple_run(content: bytes, context: ErrorContext, json_path: str) -> SimpleRun:
    """Check one item of ``simpleRuns``; one that is not plain is left to pydantic."""
    try:
        run = _decode_run(content)
    except NOT_JSON:
        return parse_document(models.SimpleRun, content, context, json_path)
    name = None if run.name is UNSET else run.name
    return incomplete(models.SimpleRun, {"run_id": run.run_id, "name": name}, _RUN[run.name is not UNSET])
