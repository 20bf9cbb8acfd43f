"""Flows as XComs: refuse what Airflow would read as one of its own objects.

Airflow stores an XCom as JSON and marks a serialized object by reserved keys in that same JSON. The settings of a flow
may hold any key. With a reserved one, the push fails after the task did its work, the reader gets other data than was
stored, or Airflow builds an object of a class that the flow names. Such a flow is refused before it becomes an XCom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.api.errors import ViValidationError, one_line

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Flow

#: Keys that Airflow refuses to store in any object, or reads as the class of a serialized one.
_RESERVED: Final = frozenset({"__classname__", "__id__"})
#: Together, the two keys of an object in Airflow's older format.
_OLD_FORMAT: Final = frozenset({"__type", "__var"})
#: All of them.
RESERVED_KEYS: Final = _RESERVED | _OLD_FORMAT
_CONTAINERS: Final = (dict, list)


def xcom_value(flow: Flow) -> dict[str, Any]:
    """Return a flow in its XCom form.

    :raises ViValidationError: an XCom cannot carry the flow unchanged; the message names the JSON path
    """
    document = flow.model_dump(mode="json")
    refuse_reserved_keys(document, flow.flow_id)
    return document


def refuse_reserved_keys(value: Any, flow_id: str | None = None) -> None:
    """Refuse JSON data that an XCom cannot carry unchanged.

    :param flow_id: id of the flow that the data is of, if there is one yet
    :raises ViValidationError: an object has keys that Airflow reserves; the message names the JSON path
    """
    path = _reserved_path(value)
    if path is not None:
        where = f"flow {flow_id}: " if flow_id else ""
        raise ViValidationError(
            f"{where}{one_line(path, 200)}: Airflow reserves this key, so an XCom cannot carry it. "
            'Return ids (result="ids"), export the flow with ExportFlowsOperator, or run the task with '
            "do_xcom_push=False"
        )


def _reserved_path(value: Any) -> str | None:
    """Return the JSON path of a reserved key. Not recursive: data may be nested deeply."""
    pending: list[tuple[Any, tuple[Any, ...]]] = [(value, ())]  # with the way to it: parent's way, key
    while pending:
        current, way = pending.pop()
        if isinstance(current, dict):
            if found := _reserved_keys(current):
                return _json_path((way, min(found)))
            pending += [(item, (way, key)) for key, item in current.items() if isinstance(item, _CONTAINERS)]
        elif isinstance(current, list):
            pending += [(item, (way, n)) for n, item in enumerate(current) if isinstance(item, _CONTAINERS)]
    return None


def _reserved_keys(document: dict[str, Any]) -> frozenset[str]:
    if RESERVED_KEYS.isdisjoint(document):
        return frozenset()
    keys = document.keys()
    return (_RESERVED & keys) or (_OLD_FORMAT if keys >= _OLD_FORMAT else frozenset())


def _json_path(way: tuple[Any, ...]) -> str:
    steps: list[str] = []
    while way:
        way, key = way
        steps.append(f"[{key}]" if isinstance(key, int) else f".{key}")
    return "".join(reversed(steps)).removeprefix(".")
