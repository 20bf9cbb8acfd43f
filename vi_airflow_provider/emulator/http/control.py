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
from vi_airflow_provider.emulator.colleague import Habit
from vi_airflow_provider.emulator.fault_rules import Fault
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

    async def health(_: Request) -> Response:
        settings, store = backend.settings, backend.store
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

    async def list_faults(_: Request) -> Response:
        return json_response({"faults": [active.to_json() for active in backend.faults.rules()]})

    async def add_fault(request: Request) -> Response:
        fault = Fault.from_json(decode_object(await request.body()))
        return json_response(backend.faults.add(fault).to_json(), 201)

    async def clear_faults(_: Request) -> Response:
        backend.faults.clear()
        return empty_response()

    async def list_requests(_: Request) -> Response:
        return json_response({"requests": [request.to_json() for request in backend.request_log.snapshot()]})

    async def clear_requests(_: Request) -> Response:
        backend.request_log.clear()
        return empty_response()

    async def reset(request: Request) -> Response:
        changes = _settings(decode_object(await request.body() or b"{}"), Changes)
        await asyncio.to_thread(backend.reset, **changes)
        return await health(request)

    async def add_flows(request: Request) -> Response:
        match decode_object(await request.body()):
            case {"count": int(count), "seed": int(seed), **rest} if count >= 0 and not rest:
                added = await asyncio.to_thread(backend.store.add_sample_flows, count, seed)
                return json_response({"flowIds": added}, 201)
            case {"name": str(name), **rest} if not rest:
                created = await asyncio.to_thread(backend.store.flows.create_sample, name)
                return json_response({"flowIds": [created]}, 201)
        raise ApiError(400, 'the body must be {"count": <flows>, "seed": <integer>} or {"name": <text>}')

    async def change_flows(request: Request) -> Response:
        counts = decode_object(await request.body() or b"{}")
        check_known("change", counts, ("edit", "create", "delete"))
        for name, count in counts.items():
            check_integer(name, count, 0)
        done = await asyncio.to_thread(backend.colleague.change_now, **counts)
        return json_response({"changes": done}, 201)

    async def list_plans(_: Request) -> Response:
        return json_response({"plans": [active.to_json() for active in backend.store.runs.plans.plans()]})

    async def add_plan(request: Request) -> Response:
        return json_response(backend.store.runs.plans.add_json(decode_object(await request.body())).to_json(), 201)

    async def clear_plans(_: Request) -> Response:
        backend.store.runs.plans.clear()
        return empty_response()

    async def bill(_: Request) -> Response:
        return json_response({"runs": backend.store.bill()})

    async def advance(request: Request) -> Response:
        match decode_object(await request.body()):
            case {"advance_seconds": int() | float() as seconds, **rest} if seconds >= 0 and not rest:
                backend.store.advance(seconds)
                return json_response({"now": backend.store.now()})
        raise ApiError(400, 'the body must be {"advance_seconds": <number of zero or more>}')

    async def read_settings(_: Request) -> Response:
        return json_response({name: getattr(backend.settings, name) for name in get_type_hints(Modes)})

    async def change_settings(request: Request) -> Response:
        modes = _settings(decode_object(await request.body()), Modes)
        await asyncio.to_thread(backend.configure, **modes)
        return await read_settings(request)

    async def list_habits(_: Request) -> Response:
        habits = [active.to_json() for active in backend.colleague.habits()]
        return json_response({"habits": habits, "history": backend.colleague.history})

    async def add_habit(request: Request) -> Response:
        habit = Habit.from_json(decode_object(await request.body()))
        return json_response(backend.colleague.add(habit).to_json(), 201)

    async def clear_habits(_: Request) -> Response:
        backend.colleague.clear()
        return empty_response()

    app = Starlette(
        routes=[
            _route("health", "GET", health),
            _route("faults", "GET", list_faults),
            _route("faults", "POST", add_fault),
            _route("faults", "DELETE", clear_faults),
            _route("changes", "POST", change_flows),
            _route("colleague", "GET", list_habits),
            _route("colleague", "POST", add_habit),
            _route("colleague", "DELETE", clear_habits),
            _route("plans", "GET", list_plans),
            _route("plans", "POST", add_plan),
            _route("plans", "DELETE", clear_plans),
            _route("bill", "GET", bill),
            _route("clock", "POST", advance),
            _route("settings", "GET", read_settings),
            _route("settings", "PATCH", change_settings),
            _route("requests", "GET", list_requests),
            _route("requests", "DELETE", clear_requests),
            _route("reset", "POST", reset),
            _route("flows", "POST", add_flows),
        ]
    )

    return local_only(app)


def _route(name: str, method: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    async def safe(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ApiError as error:
            return error_response(error)
        except ValueError as error:  # an invalid rule or setting
            return error_response(ApiError(400, str(error)))

    return Route(CONTROL_PREFIX + name, safe, methods=[method])


def _settings(body: Document, kind: type[M]) -> M:
    hints = get_type_hints(kind)
    for name, value in body.items():
        if name not in hints:
            raise ValueError(f"unknown setting {name!r}; known are {', '.join(hints)}")
        match hints[name]:
            case builtins.bool:
                check_flag(name, value)
            case builtins.int:
                check_integer(name, value)
            case builtins.float:
                check_number(name, value)
    return cast("M", body)
