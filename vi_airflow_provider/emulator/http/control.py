"""The control API for people and for tests in other processes: `/_emulator/…`.

It needs no key and never shows one. It refuses other machines and web pages that are open in a browser.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, get_type_hints

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.fault_rules import Fault
from vi_airflow_provider.emulator.habits import Habit
from vi_airflow_provider.emulator.http.access import local_only
from vi_airflow_provider.emulator.http.responses import empty_response, error_response, json_response
from vi_airflow_provider.emulator.rule_checks import check_flag, check_integer, check_known, check_number
from vi_airflow_provider.emulator.settings import Changes, Modes
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.schema import Document, decode_object

CONTROL_PREFIX = "/_emulator/"

M = TypeVar("M", bound=Modes)


def create_control(backend: Backend) -> ASGIApp:
    """The control API of one backend."""
    control = _Control(backend)
    return local_only(
        Starlette(
            routes=[
                _route("health", GET=control.health),
                _route("faults", GET=control.list_faults, POST=control.add_fault, DELETE=control.clear_faults),
                _route("colleague", GET=control.list_habits, POST=control.add_habit, DELETE=control.clear_habits),
                _route("plans", GET=control.list_plans, POST=control.add_plan, DELETE=control.clear_plans),
                _route("bill", GET=control.bill),
                _route("clock", POST=control.advance_clock),
                _route("settings", GET=control.read_settings, PATCH=control.change_settings),
                _route("requests", GET=control.list_requests, DELETE=control.clear_requests),
                _route("reset", POST=control.reset),
                _route("flows", POST=control.add_flows),
                _route("changes", POST=control.change_flows),
            ]
        ),
        backend.host,
    )


class _Control:
    """The endpoints. What may wait for a state file runs in a thread."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def health(self, _: Request) -> Response:
        settings, store = self._backend.settings, self._backend.store
        return json_response(
            {
                "status": "ok",
                "organizationId": settings.organization_id,
                "flows": len(store.flow_ids()),
                "busyFlows": store.busy_flow_ids(),
                "latencyMs": settings.latency_ms,
                "pageCap": settings.page_cap,
            }
        )

    # -- rules ----------------------------------------------------------------------------------------

    async def list_faults(self, _: Request) -> Response:
        return json_response({"faults": [active.to_json() for active in self._backend.faults.rules()]})

    async def add_fault(self, request: Request) -> Response:
        fault = Fault.from_json(await _body(request))
        return json_response(self._backend.faults.add(fault).to_json(), 201)

    async def clear_faults(self, _: Request) -> Response:
        self._backend.faults.clear()
        return empty_response()

    async def list_habits(self, _: Request) -> Response:
        colleague = self._backend.colleague
        habits = [active.to_json() for active in colleague.habits()]
        return json_response({"habits": habits, "history": colleague.history})

    async def add_habit(self, request: Request) -> Response:
        habit = Habit.from_json(await _body(request))
        return json_response(self._backend.colleague.add(habit).to_json(), 201)

    async def clear_habits(self, _: Request) -> Response:
        self._backend.colleague.clear()
        return empty_response()

    async def list_plans(self, _: Request) -> Response:
        return json_response({"plans": [active.to_json() for active in self._backend.store.runs.plans.plans()]})

    async def add_plan(self, request: Request) -> Response:
        active = self._backend.store.runs.plans.add_json(await _body(request))
        return json_response(active.to_json(), 201)

    async def clear_plans(self, _: Request) -> Response:
        self._backend.store.runs.plans.clear()
        return empty_response()

    # -- settings and records -------------------------------------------------------------------------

    async def read_settings(self, _: Request) -> Response:
        return json_response({name: getattr(self._backend.settings, name) for name in get_type_hints(Modes)})

    async def change_settings(self, request: Request) -> Response:
        modes = _settings(await _body(request), Modes)
        await asyncio.to_thread(self._backend.configure, **modes)
        return await self.read_settings(request)

    async def reset(self, request: Request) -> Response:
        changes = _settings(await _body(request, optional=True), Changes)
        await asyncio.to_thread(self._backend.reset, **changes)
        return await self.health(request)

    async def list_requests(self, _: Request) -> Response:
        return json_response({"requests": [request.to_json() for request in self._backend.request_log.snapshot()]})

    async def clear_requests(self, _: Request) -> Response:
        self._backend.request_log.clear()
        return empty_response()

    async def bill(self, _: Request) -> Response:
        return json_response({"runs": self._backend.store.bill()})

    async def advance_clock(self, request: Request) -> Response:
        store = self._backend.store
        match await _body(request):
            case {"advance_seconds": int() | float() as seconds, **rest} if seconds >= 0 and not rest:
                store.advance(seconds)
                return json_response({"now": store.now()})
        raise ApiError(400, 'the body must be {"advance_seconds": <number of zero or more>}')

    # -- flows ----------------------------------------------------------------------------------------

    async def add_flows(self, request: Request) -> Response:
        flows = self._backend.store.flows
        match await _body(request):
            case {"count": int(count), "seed": int(seed), **rest} if count >= 0 and not rest:
                added = await asyncio.to_thread(flows.add_samples, count, seed)
            case {"name": str(name), **rest} if not rest:
                added = [await asyncio.to_thread(flows.create_sample, name)]
            case _:
                raise ApiError(400, 'the body must be {"count": <flows>, "seed": <integer>} or {"name": <text>}')
        return json_response({"flowIds": added}, 201)

    async def change_flows(self, request: Request) -> Response:
        counts = await _body(request, optional=True)
        check_known("change", counts, ("edit", "create", "delete"))
        for name, count in counts.items():
            check_integer(name, count, 0)
        done = await asyncio.to_thread(self._backend.colleague.change_now, **counts)
        return json_response({"changes": done}, 201)


def _route(name: str, **methods: Callable[[Request], Awaitable[Response]]) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            return await methods["GET" if request.method == "HEAD" else request.method](request)
        except ApiError as error:
            return error_response(error)
        except ValueError as error:  # an invalid rule or setting
            return error_response(ApiError(400, str(error)))

    return Route(CONTROL_PREFIX + name, endpoint, methods=list(methods))


async def _body(request: Request, *, optional: bool = False) -> Document:
    content = await request.body()
    return {} if optional and not content else decode_object(content)


def _settings(body: Document, kind: type[M]) -> M:
    hints = get_type_hints(kind)
    for name, value in body.items():
        if name not in hints:
            raise ValueError(f"unknown setting {name!r}; choose from {', '.join(hints)}")
        match hints[name]:
            case builtins.bool:
                check_flag(name, value)
            case builtins.int:
                check_integer(name, value)
            case builtins.float:
                check_number(name, value)
    return cast("M", body)
