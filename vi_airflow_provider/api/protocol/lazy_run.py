"""Runs of a listing, checked and decoded as ``lazy_flow`` does it with flows: most of a run is the copy of its flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from vi_airflow_provider.api import models
from vi_airflow_provider.api.lazy_model import completed, incomplete
from vi_airflow_provider.api.protocol.codec import check_identity, parse_document
from vi_airflow_provider.api.protocol.lazy_flow import Metadata, Spec, Text, lazy_metadata, lazy_spec
from vi_airflow_provider.api.protocol.outcomes import NOT_JSON, ErrorContext

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Run, RunCondition, RunSpec, RunStatus
    from vi_airflow_provider.api.models.document import ResourceMetadata


class _Condition(msgspec.Struct, rename="camel"):
    condition: str
    status: str
    last_transition_time: int
    reason: str | None = None
    message: str | None = None


class _Status(msgspec.Struct, rename="camel"):
    log: str
    observed_generation: int
    conditions: list[_Condition]


class _RunSpec(msgspec.Struct, rename="camel"):
    flow: Spec
    killed_at: int | None = None
    training_project: str | None = None


class _Run(msgspec.Struct, rename="camel"):
    workspace_id: str
    run_id: str
    spec: _RunSpec
    status: _Status
    metadata: Metadata
    self_link: str
    etag: str
    kind: Literal["Run"] = "Run"


_check: Final = msgspec.json.Decoder(_Run).decode


def parse_listed_run(content: bytes, context: ErrorContext, json_path: str, *, organization_id: str) -> Run:
    """Check one run of a page.

    :param content: its JSON text, known to be UTF-8
    :raises ViResponseError: a required field is missing or of a wrong type (the message names its path), or the run
        belongs to another organization
    """
    try:
        checked = _check(content)
    except NOT_JSON:
        run = parse_document(models.Run, content, context, json_path)  # which describes what is wrong, or accepts it
        check_identity("organization", run.organization_id, organization_id, context, json_path)
        return run
    check_identity("organization", checked.workspace_id, organization_id, context, json_path)
    return _lazy(checked, Text(content, context, json_path))


def _lazy(checked: _Run, text: Text) -> Run:
    known = {
        "kind": checked.kind,
        "organization_id": checked.workspace_id,
        "run_id": checked.run_id,
        "self_link": checked.self_link,
        "etag": checked.etag,
    }
    return incomplete(models.Run, known, _RestOfRun(checked, text))


def _spec(checked: _Run, text: Text) -> RunSpec:
    spec = checked.spec
    known = {"killed_at": spec.killed_at, "training_project": spec.training_project}
    return incomplete(models.RunSpec, known, _RestOfSpec(spec.flow, text))


def _status(checked: _Run, text: Text) -> RunStatus:
    status = checked.status
    known = {"log": status.log, "observed_generation": status.observed_generation}
    return incomplete(models.RunStatus, known, _RestOfStatus(text, status.conditions))


def _metadata(checked: _Run, text: Text) -> ResourceMetadata:
    return lazy_metadata(checked.metadata, text)


#: The parts of a run, each of which is made when it is read: a listing of thousands is mostly read for one of them.
_PARTS: Final[Mapping[str, Callable[[_Run, Text], Any]]] = {"spec": _spec, "status": _status, "metadata": _metadata}


class _RestOfRun:
    __slots__ = ("_checked", "_text")

    def __init__(self, checked: _Run, text: Text) -> None:
        self._checked = checked
        self._text = text

    def decode(self, run: Run, asked: str | None) -> None:
        fields = run.__dict__
        for name, part in _PARTS.items():
            if name not in fields and (asked == name or asked not in _PARTS):
                fields[name] = part(self._checked, self._text)
        if asked not in _PARTS:
            completed(run, *self._text.given(models.Run, self._text.wire))


class _RestOfSpec:
    __slots__ = ("_flow", "_text")

    def __init__(self, flow: Spec, text: Text) -> None:
        self._flow = flow
        self._text = text

    def decode(self, spec: RunSpec, asked: str | None) -> None:
        fields = spec.__dict__
        if "flow" not in fields:
            fields["flow"] = lazy_spec(self._flow, self._text, ("spec", "flow"))
            if asked == "flow":
                return
        completed(spec, *self._text.given(models.RunSpec, self._text.wire["spec"]))


class _RestOfStatus:
    __slots__ = ("_conditions", "_text")

    def __init__(self, text: Text, conditions: list[_Condition]) -> None:
        self._text = text
        self._conditions = conditions

    def decode(self, status: RunStatus, asked: str | None) -> None:
        fields = status.__dict__
        if "conditions" not in fields:
            fields["conditions"] = [
                incomplete(models.RunCondition, _fields(condition), _RestOfCondition(self._text, number))
                for number, condition in enumerate(self._conditions)
            ]
            if asked == "conditions":
                return
        completed(status, *self._text.given(models.RunStatus, self._text.wire["status"]))


class _RestOfCondition:
    __slots__ = ("_number", "_text")

    def __init__(self, text: Text, number: int) -> None:
        self._text = text
        self._number = number

    def decode(self, condition: RunCondition, _asked: str | None) -> None:
        wire = self._text.wire["status"]["conditions"][self._number]
        completed(condition, *self._text.given(models.RunCondition, wire))


def _fields(condition: _Condition) -> dict[str, Any]:
    return {
        "condition": condition.condition,
        "status": condition.status,
        "last_transition_time": condition.last_transition_time,
        "reason": condition.reason,
        "message": condition.message,
    }
