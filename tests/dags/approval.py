"""A person who responds to the requests for approval of a DAG that runs in ``dag.test()``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest


class Person:
    """Responds to each request for approval, in the thread of ``dag.test()``, when it waits for one.

    ``dag.test()`` stores the state of a task once more after the task has asked. A response that comes before is
    overwritten, and the run would wait for ever. So the person responds when ``dag.test()`` sleeps, as it does until
    something happens, and responds again if the task still waits when it sleeps the next time.

    :param response: the option to choose
    :param meanwhile: called between the request and the response
    """

    #: How often ``dag.test()`` may sleep in a row for another reason.
    PATIENCE = 60

    def __init__(self, dag_id: str, response: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._dag_id = dag_id
        self._response = response
        self._meanwhile = meanwhile
        self._sleep = time.sleep
        self._slept = 0  # in a row, without a request
        self._thread = threading.get_ident()
        #: Subject and body of each request, by the id of its task instance.
        self._requests: dict[Any, tuple[str, str]] = {}

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Subject and body of each request."""
        return list(self._requests.values())

    def attend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be there from now on."""
        monkeypatch.setattr(time, "sleep", self._instead_of_sleep)

    def _instead_of_sleep(self, seconds: float) -> None:
        if threading.get_ident() != self._thread:
            self._sleep(seconds)
            return
        if (request := self._pending()) is not None:
            self._slept = 0
            if request.ti_id not in self._requests:
                self._requests[request.ti_id] = (request.subject, request.body)
                self._meanwhile()
            respond(request.ti_id, self._response)
            return
        self._slept += 1
        assert self._slept < self.PATIENCE, "the run waits, but not for a person"
        self._sleep(seconds)

    def _pending(self) -> Any:
        """Return the request of a task that waits for a response."""
        from airflow.models.hitl import HITLDetail
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        waiting = select(TaskInstance.id).filter_by(dag_id=self._dag_id, state="awaiting_input")
        query = select(HITLDetail).where(HITLDetail.ti_id.in_(waiting))
        with create_session() as session:
            request = session.scalars(query).unique().first()
            session.expunge_all()
            return request


def respond(ti_id: Any, response: str) -> None:
    """Respond as the button in the UI does (``PATCH …/hitlDetails``)."""
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        detail: Any = session.get(HITLDetail, ti_id)
        detail.responded_by = {"id": "1", "name": "owner"}
        detail.responded_at = datetime.now(UTC)
        detail.chosen_options = [response]
        detail.params_input = {}
        task_instance: Any = session.get(TaskInstance, ti_id)
        handle_event_submit(
            TriggerEvent(detail.as_resume_event_payload()),  # type: ignore[no-untyped-call]
            task_instance=task_instance,
            session=session,
        )
