"""What every call of the API has: a method, a path, perhaps a token, JSON in, JSON out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ._refusals import RefusedError, invalid
from ._service import NormanService


@attrs.frozen
class Call:
    """One request, after its token was looked at."""

    request: Request
    account_id: str  # empty where no token is asked for
    body: Any  # nothing where the body was empty

    def part(self, name: str) -> str:
        """Give a part of the path."""
        return str(self.request.path_params[name])


Answers: TypeAlias = Callable[[Call], Awaitable[Any]]  # gives what is sent as JSON, or an ASGI application


def route(service: NormanService, method: str, path: str, answers: Answers, *, is_open: bool = False) -> Route:
    """Make one route; without `is_open` it asks for a token."""

    async def endpoint(request: Request) -> ASGIApp:
        try:
            header = request.headers.get("authorization")
            account_id = "" if is_open else service.tokens.account_of(header)
            answer = await answers(Call(request, account_id, await _body(request)))
        except RefusedError as error:
            return JSONResponse(error.shown(service.clock.now()), error.status)
        return answer if callable(answer) else JSONResponse(answer)

    return Route(path, endpoint, methods=[method])


async def _body(request: Request) -> Any:
    raw = await request.body()
    if not raw:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise invalid("the body is no JSON") from None


def refusal_answer(service: NormanService, error: RefusedError, status: int | None = None) -> Response:
    """Write a refusal."""
    return JSONResponse(error.shown(service.clock.now()), status or error.status)
