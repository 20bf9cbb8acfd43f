"""Each row of the documented error tables is compared with the way in which a task really ends.

A row gives a situation, an exception and whether Airflow's retries are used. Every situation is produced here, so a
page that promises another exception, or a situation without a test, fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from requests_mock import ANY, Mocker

from tests.documents import FLOW_ID, wire_flow, wire_page, wire_spec
from tests.tasks import SECRETS_BACKENDS, EmptyBackend, UnavailableBackend, connection
from tests.unit.operators.support import BELOW, SPEC, run
from vi_airflow_provider.api import errors
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.operators.flows import (
    CreateFlowOperator,
    GetFlowOperator,
    ListFlowsOperator,
    UpdateFlowOperator,
)

DOCS: Final = Path(__file__).parents[3] / "docs"
#: A flow that no XCom can carry.
MARKED: Final = wire_flow(spec__settings={"__id__": 1})


def rows(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without their backticks."""
    _, found, text = (DOCS / page).read_text().partition(f"\n## {heading}\n")
    assert found, f"{page} has no section {heading!r}"
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table[0].splitlines()[2:]]
    return [[cell.strip() for cell in row] for row in cells]


# --- how a task ends -----------------------------------------------------------------------------------------------


def ending(task: ViBaseOperator) -> BaseException:
    """The exception that a task ends with."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the caller compares its class
        run(task)
    return caught.value


def get(**arguments: Any) -> BaseException:
    return ending(GetFlowOperator(task_id="get", **{"flow_id": FLOW_ID, **arguments}))


def create(**arguments: Any) -> BaseException:
    return ending(CreateFlowOperator(task_id="create", **{"flow_id": FLOW_ID, "spec": SPEC, **arguments}))


def update(**arguments: Any) -> BaseException:
    return ending(UpdateFlowOperator(task_id="update", **{"flow_id": FLOW_ID, **arguments}))


def listing(**arguments: Any) -> BaseException:
    return ending(ListFlowsOperator(task_id="list", **arguments))


Situation = Callable[[Mocker, pytest.MonkeyPatch], BaseException]


def responding(call: Callable[[], BaseException], status: int = 200, json: Any = None) -> Situation:
    """A call to a server that gives every request the same response."""

    def produce(mocker: Mocker, _monkeypatch: pytest.MonkeyPatch) -> BaseException:
        mocker.register_uri(ANY, BELOW, status_code=status, json=json)
        return call()

    return produce


def unsent(call: Callable[[], BaseException], **extra: Any) -> Situation:
    """A call that sends nothing."""

    def produce(mocker: Mocker, monkeypatch: pytest.MonkeyPatch) -> BaseException:
        monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", connection(**extra))
        ended = call()
        assert mocker.call_count == 0
        return ended

    return produce


def looked_up_in(backend: Any) -> Situation:
    def produce(_mocker: Mocker, monkeypatch: pytest.MonkeyPatch) -> BaseException:
        monkeypatch.setattr(SECRETS_BACKENDS, lambda: [backend])
        return get()

    return produce


OTHER: Final = wire_flow(spec__name="another")
MISSING: Final = 404
ONE_FLOW: Final = wire_page(wire_flow())


def changed_between_attempts(mocker: Mocker, monkeypatch: pytest.MonkeyPatch) -> BaseException:
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", connection(max_retries=1))
    mocker.get(BELOW, [{"json": OTHER}, {"json": wire_flow(etag="edited")}])
    mocker.put(BELOW, status_code=503, headers={"Retry-After": "0"})
    return create(spec=wire_spec(name="mine"), if_exists="replace")


#: The situations of each page, by the beginning of the first cell of their row.
ERRORS_PAGE: Final[dict[str, Situation]] = {
    'an error that is marked "not used"': responding(get, 401),
    "an argument is unusable": unsent(lambda: get(if_missing="ignore")),
    "a field of the connection is unusable": unsent(get, page_size="many"),
    "the connection is not defined": looked_up_in(EmptyBackend()),
    "a secrets backend fails": looked_up_in(UnavailableBackend()),
    "an XCom cannot carry the flow": responding(get, json=MARKED),
    'no such flow, `if_missing="fail"`': responding(get, MISSING),
    'no such flow, `if_missing="skip"`': responding(lambda: get(if_missing="skip"), MISSING),
    'a flow that differs exists, `if_exists="fail"`': responding(create, json=OTHER),
    'a flow that differs exists, `if_exists="skip"`': responding(lambda: create(if_exists="skip"), json=OTHER),
}
PAGES: Final[dict[str, dict[str, Situation]]] = {
    "operators/list_flows.md": {
        "a criterion, `limit`, `page_size` or `result` is unusable": unsent(lambda: listing(limit="many")),
        "the result is larger than `max_xcom_bytes`": responding(lambda: listing(max_xcom_bytes=1), json=ONE_FLOW),
        "an XCom cannot carry a flow": responding(listing, json=wire_page(MARKED)),
    },
    "operators/get_flow.md": {
        'no such flow, `if_missing="fail"`': responding(get, MISSING),
        'no such flow, `if_missing="skip"`': responding(lambda: get(if_missing="skip"), MISSING),
        "`flow_id` or `if_missing` is unusable": unsent(lambda: get(flow_id="a/b")),
        "an XCom cannot carry the flow": responding(get, json=MARKED),
    },
    "operators/create_flow.md": {
        'a flow that differs exists, `if_exists="fail"`': responding(create, json=OTHER),
        'a flow that differs exists, `if_exists="skip"`': responding(lambda: create(if_exists="skip"), json=OTHER),
        "another client changed or deleted the flow": changed_between_attempts,
        "`flow_id`, `if_exists`, `spec` or `attributes` is unusable": unsent(lambda: create(spec={"name": "n"})),
        "an XCom cannot carry the flow": unsent(lambda: create(spec=MARKED["spec"])),
    },
    "operators/update_flow.md": {
        "no such flow": responding(lambda: update(spec={"name": "n"}), MISSING),
        "`flow_id`, `spec` or `attributes` is unusable": unsent(update),
        "the server does not know a field (400)": responding(lambda: update(spec={"name": "n"}), 400),
        "an XCom cannot carry the given values": unsent(lambda: update(spec={"settings": {"__id__": 1}})),
        "an XCom cannot carry the changed flow": responding(lambda: update(spec={"name": "n"}), json=MARKED),
    },
}


def situation_of(row: list[str], situations: dict[str, Situation]) -> Situation:
    found = [produce for words, produce in situations.items() if row[0].startswith(words)]
    assert len(found) == 1, row[0]
    return found[0]


def retries_of(ended: BaseException) -> str:
    """What a table shows as Airflow's retries."""
    if isinstance(ended, AirflowSkipException):
        return ""
    return "not used" if isinstance(ended, AirflowFailException) else "used"


TASK_ROWS: Final = [row for row in rows("errors.md", "How a task ends") if 'marked "used"' not in row[0]]


@pytest.mark.parametrize("row", TASK_ROWS, ids=lambda row: row[0])
def test_a_task_ends_as_the_errors_page_states(
    row: list[str], requests_mock: Mocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = situation_of(row, ERRORS_PAGE)(requests_mock, monkeypatch)
    assert [type(ended).__name__, retries_of(ended)] == [row[1].strip("`"), row[2]]


OPERATOR_ROWS: Final = [
    (page, row) for page in PAGES for row in rows(page, "Errors") if not row[0].startswith("everything else")
]


@pytest.mark.parametrize(
    ("page", "row"), OPERATOR_ROWS, ids=lambda value: value if isinstance(value, str) else value[0]
)
def test_a_task_ends_as_the_operators_page_states(
    page: str, row: list[str], requests_mock: Mocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = situation_of(row, PAGES[page])(requests_mock, monkeypatch)
    cause = ended.__cause__ if isinstance(ended.__cause__, ViError) else ended
    shown = "the task is skipped" if isinstance(ended, AirflowSkipException) else f"`{type(cause).__name__}`"
    assert [shown, retries_of(ended)] == row[1:]


@pytest.mark.parametrize("page", ["errors.md", *PAGES])
def test_every_situation_is_documented(page: str) -> None:
    documented = TASK_ROWS if page == "errors.md" else [row for found, row in OPERATOR_ROWS if found == page]
    assert len(documented) == len(ERRORS_PAGE if page == "errors.md" else PAGES[page])


# --- the family ----------------------------------------------------------------------------------------------------

FAMILY: Final = [row for row in rows("errors.md", "The family") if row[0] != "`ViError`"]
RETRIED: Final = rows("errors.md", "What is retried")


@pytest.mark.parametrize("row", FAMILY, ids=lambda row: row[0])
def test_the_family_decides_on_airflows_retries(row: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    kind = getattr(errors, row[0].strip("`"))

    def fail(_hook: ViHook, _flow_id: str) -> None:
        raise kind("it failed")

    monkeypatch.setattr(ViHook, "get_flow", fail)
    ended = get()
    assert retries_of(ended) == row[2]
    assert type(ended.__cause__ if row[2] == "not used" else ended) is kind


STATUSES: Final = [row for row in RETRIED if row[0].isdecimal()]


@pytest.mark.parametrize("call", [get, create, lambda: update(attributes={}), listing])
@pytest.mark.parametrize("row", STATUSES, ids=lambda row: row[0])
def test_a_status_ends_a_task_with_the_documented_error(
    row: list[str], call: Callable[[], BaseException], requests_mock: Mocker
) -> None:
    requests_mock.register_uri(ANY, BELOW, status_code=int(row[0]))
    ended = call()
    retries = {member[0]: member[2] for member in FAMILY}[row[1]]
    assert retries_of(ended) == retries
    assert type(ended.__cause__ if retries == "not used" else ended).__name__ == row[1].strip("`")
