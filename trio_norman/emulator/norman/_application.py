"""The Norman API as a starlette application: exactly the protocol's paths, and no redirects between spellings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from ._calls import Answers, Call, refusal_answer, route
from ._file_calls import file_calls
from ._login_calls import account_calls, login_calls
from ._refusals import RefusedError, not_found
from ._service import NormanService

API_PATH = "/v0"


def norman_application(service: NormanService, drop: Callable[[Scope], None]) -> Starlette:
    """Route all calls; `drop` resets a client's connection."""
    own = account_calls(service) | _persist_calls(service) | file_calls(service, drop)
    routes = [_route(service, line, answers, is_open=True) for line, answers in login_calls(service).items()]
    routes += [_route(service, line, answers, is_open=False) for line, answers in own.items()]

    async def refuse(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        shown = not_found("path", request.url.path) if status == 404 else RefusedError("server", str(error))
        return refusal_answer(service, shown, status)

    handlers: Mapping[Any, Callable[[Request, Exception], Any]] = {HTTPException: refuse}
    application = Starlette(routes=routes, exception_handlers=handlers)
    application.router.redirect_slashes = False
    return application


def _route(service: NormanService, line: str, answers: Answers, *, is_open: bool) -> Route:
    method, _, path = line.partition(" ")
    return route(service, method, f"{API_PATH}/{path}", answers, is_open=is_open)


def _persist_calls(service: NormanService) -> dict[str, Answers]:
    models, invocations = service.catalogue, service.invocations

    async def create_models(call: Call) -> Any:
        return models.create(call.account_id, call.body)

    async def get_models(call: Call) -> Any:
        return models.chosen(call.body)

    async def create_versions(call: Call) -> Any:
        return models.create(call.account_id, call.body, versions=True)

    async def replace_models(call: Call) -> Any:
        return models.replace(call.account_id, call.body)

    async def activate_versions(call: Call) -> Any:
        return models.activate(call.account_id, call.body)

    async def delete_models(call: Call) -> Any:
        return models.delete(call.account_id, call.body)

    async def get_bases(call: Call) -> Any:
        return models.chosen_bases(call.body)

    async def invoke_by_name(call: Call) -> Any:
        created = invocations.create_by_name(call.account_id, call.body)
        service.start_ready(created)
        return created

    async def create_invocations(call: Call) -> Any:
        created = invocations.create(call.account_id, call.body)
        service.start_ready(created)
        return created

    async def get_invocations(call: Call) -> Any:
        return invocations.chosen(call.account_id, call.body)

    async def get_history(call: Call) -> Any:
        return invocations.history(call.account_id, call.body)

    async def get_flags(call: Call) -> Any:
        return service.shown_flags(call.account_id, call.body)

    async def get_notifications(call: Call) -> Any:
        return service.notifications.chosen(call.account_id, call.body)

    return {
        "POST persist/models/": create_models,
        "POST persist/models/get": get_models,
        "POST persist/models/version": create_versions,
        "PATCH persist/models/": replace_models,
        "PATCH persist/models/version": activate_versions,
        "DELETE persist/models/": delete_models,
        "POST persist/models/bases/get": get_bases,
        "POST persist/invocations/by-name": invoke_by_name,
        "POST persist/invocations/by/name": invoke_by_name,
        "POST persist/invocations": create_invocations,
        "POST persist/invocations/get": get_invocations,
        "POST persist/invocation/history/get": get_history,
        "POST persist/flags/get": get_flags,
        **{f"POST persist/{noun}/flags/get": get_flags for noun in ("model", "asset", "invocation", "input", "output")},
        "POST persist/notifications/get": get_notifications,
    }
