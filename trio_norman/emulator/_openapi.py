"""The training service's `openapi/v1` API, as routes of a starlette application."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ._actor import Placements
from ._clock import WallClock, iso_date
from ._misbehaviour import PagingFault
from ._openapi_shapes import (
    Shape,
    bootstrap_shape,
    checkpoint_shape,
    cursor_of,
    find_uri,
    key_shape,
    model_shape,
    resume_shape,
    run_shape,
    sampler_shape,
    session_shape,
)
from ._paging import Page, page_of, whole_number
from ._records import Checkpoint
from ._state import MODELS, ServiceState

_T = TypeVar("_T")
_ENDS = frozenset({"ENDED", "CANCELLED"})


class RefusedError(Exception):
    """What the service refuses: HTTP status, code, message."""


class GivesDownloads(Protocol):
    """What the API asks of the emulator that owns it."""

    api_key: str
    max_limit: int
    paging_fault: PagingFault | None
    state: ServiceState
    clock: WallClock
    placements: Placements
    bootstrap_status: str

    def archive_url(self, checkpoint_id: str) -> tuple[str, float]:
        """Sign a checkpoint's archive; give the URL and its end in Unix seconds."""
        ...


@attrs.define(eq=False)
class OpenApi:
    """The endpoints."""

    emulator: GivesDownloads

    def routes(self, api_prefix: str) -> list[Route]:
        """Route all endpoints below the prefix."""
        base = "/" + api_prefix.strip("/") if api_prefix.strip("/") else ""
        root = f"{base}/openapi/v1"
        asked: dict[str, Callable[[Request], Any]] = {
            f"{base}/sdk/bootstrap": self.bootstrap,
            f"{base}/models": self.list_models,
            f"{root}/api-key/verify": self.verify_key,
            f"{root}/training-runs": self.list_runs,
            f"{root}/training-runs/by-checkpoint-uri": self.find_run,
            f"{root}/training-runs/{{run_id}}": self.get_run,
            f"{root}/training-runs/{{run_id}}/checkpoints": self.list_run_checkpoints,
            f"{root}/checkpoints": self.list_checkpoints,
            f"{root}/checkpoints/{{checkpoint_id}}/download-url": self.download_url,
            f"{root}/checkpoints/{{checkpoint_id}}/archive": self.archive,
            f"{root}/service-sessions": self.list_sessions,
            f"{root}/service-sessions/{{session_id}}": self.get_session,
            f"{root}/sampling-runs/{{sampler_id}}": self.get_sampler,
        }
        sessions = f"{root}/service-sessions"
        return [
            *(Route(path, endpoint) for path, endpoint in asked.items()),
            Route(f"{root}/checkpoints/{{checkpoint_id}}", self.delete_checkpoint, methods=["DELETE"]),
            Route(sessions, self.open_session, methods=["POST"]),
            Route(f"{sessions}/{{session_id}}/renew", self.renew_session, methods=["POST"]),
            Route(f"{sessions}/{{session_id}}/close", self.close_session, methods=["POST"]),
            Route(f"{base}/telemetry/event", self.take_telemetry, methods=["POST"]),
        ]

    async def bootstrap(self, request: Request) -> Response:
        """Say what the client's version is worth."""
        return JSONResponse(bootstrap_shape(request.query_params, self.emulator.bootstrap_status))

    async def take_telemetry(self, request: Request) -> Response:
        """Take what a client says of itself; the request log holds it."""
        return JSONResponse({}, 202)

    async def verify_key(self, request: Request) -> Response:
        """Say whose key it is."""
        return JSONResponse(key_shape(self._state))

    async def list_models(self, request: Request) -> Response:
        """List the base models."""
        cut = self._page(request, MODELS, 100)
        models = [model_shape(self._state, name) for name in cut.items]
        return JSONResponse({"items": models, "total": cut.total, "limit": cut.limit, "offset": cut.offset})

    async def list_runs(self, request: Request) -> Response:
        """List the training runs."""
        _check_scope(request)
        cut = self._page(request, list(self._state.runs.values()), 20)
        runs = [run_shape(self._state, run) for run in cut.items]
        return JSONResponse({"training_runs": runs, "cursor": cursor_of(cut)})

    async def get_run(self, request: Request) -> Response:
        """Give one training run."""
        _check_scope(request)
        return JSONResponse(run_shape(self._state, _found(self._state.runs.get(request.path_params["run_id"]))))

    async def find_run(self, request: Request) -> Response:
        """Say how to go on training from a checkpoint's URI."""
        checkpoint = _found(find_uri(self._state, request.query_params.get("checkpoint_uri", "")))
        return JSONResponse(resume_shape(self._state.runs[checkpoint.training_run_id]))

    async def list_run_checkpoints(self, request: Request) -> Response:
        """List a run's checkpoints."""
        run = _found(self._state.runs.get(request.path_params["run_id"]))
        return self._checkpoints(request, self._state.checkpoints_of(run.training_run_id), 200)

    async def list_checkpoints(self, request: Request) -> Response:
        """List the checkpoints of all runs."""
        return self._checkpoints(request, self._state.checkpoints, 100)

    async def download_url(self, request: Request) -> Response:
        """Say where a checkpoint's archive can be had, and by which certificate its server is known."""
        checkpoint_id = self._checkpoint(request).checkpoint_id
        url, expires = self.emulator.archive_url(checkpoint_id)
        source = self.emulator.placements.source(checkpoint_id, url)
        if source is None:
            raise RefusedError(409, "checkpoint_not_ready", "the checkpoint cannot be downloaded yet")
        return JSONResponse({**source, "expires_at": iso_date(expires)})

    async def archive(self, request: Request) -> Response:
        """Sign a checkpoint's archive, as older clients ask for it."""
        url, expires = self.emulator.archive_url(self._checkpoint(request).checkpoint_id)
        return JSONResponse({"url": url, "expires_at": iso_date(expires)})

    async def delete_checkpoint(self, request: Request) -> Response:
        """Delete a checkpoint."""
        self._state.remove_checkpoint(self._checkpoint(request).checkpoint_id)
        return Response(status_code=204)

    async def open_session(self, request: Request) -> Response:
        """Open a session for a client."""
        wish = await _json_of(request)
        session = self._state.new_session(self.emulator.clock.now(), str(wish.get("sdk_version", "")))
        return JSONResponse(session_shape(self._state, session), 201)

    async def renew_session(self, request: Request) -> Response:
        """Keep a session open."""
        session = self._state.change_session(self._session_id(request), self.emulator.clock.now())
        return JSONResponse(session_shape(self._state, session))

    async def close_session(self, request: Request) -> Response:
        """Close a session; clients before 0.2.7 send no body."""
        status = (await _json_of(request)).get("status", "ENDED")
        if status not in _ENDS:
            raise RefusedError(400, "validation_failed", "status is ENDED or CANCELLED")
        self._state.change_session(self._session_id(request), self.emulator.clock.now(), status=status)
        return JSONResponse({})

    async def list_sessions(self, request: Request) -> Response:
        """List the sessions."""
        _check_scope(request)
        cut = self._page(request, list(self._state.sessions.values()), 20)
        sessions = [session_shape(self._state, session) for session in cut.items]
        return JSONResponse({"service_sessions": sessions, "cursor": cursor_of(cut)})

    async def get_session(self, request: Request) -> Response:
        """Give one session with its runs and samplers."""
        _check_scope(request)
        session = self._state.sessions[self._session_id(request)]
        return JSONResponse(session_shape(self._state, session, with_runs=True))

    async def get_sampler(self, request: Request) -> Response:
        """Give one sampling run."""
        sampler = _found(self._state.samplers.get(request.path_params["sampler_id"]))
        sessions = self._state.sessions.values()
        session_id = next((each.session_id for each in sessions if sampler.sampler_id in each.sampler_ids), "")
        return JSONResponse(sampler_shape(self._state, sampler, session_id))

    @property
    def _state(self) -> ServiceState:
        return self.emulator.state

    def _page(self, request: Request, items: Sequence[Any], default: int) -> Page[Any]:
        limit = min(whole_number(request.query_params, "limit", default, least=1), self.emulator.max_limit)
        offset = whole_number(request.query_params, "offset", 0, least=0)
        return page_of(items, limit=limit, offset=offset, fault=self.emulator.paging_fault)

    def _checkpoints(self, request: Request, held: Sequence[Checkpoint], default: int) -> Response:
        cut = self._page(request, held, default)
        status = self.emulator.placements.status_of
        shapes: list[Shape] = [checkpoint_shape(self._state, each, status(each.checkpoint_id)) for each in cut.items]
        return JSONResponse({"checkpoints": shapes, "cursor": cursor_of(cut)})

    def _checkpoint(self, request: Request) -> Checkpoint:
        return _found(self._state.find_checkpoint(request.path_params["checkpoint_id"]))

    def _session_id(self, request: Request) -> str:
        return _found(self._state.sessions.get(request.path_params["session_id"])).session_id


async def refusal_answer(request: Request, error: Exception) -> Response:
    """Write a refusal as the service's envelope."""
    status, code, message = error.args
    return JSONResponse({"code": code, "message": message}, status)


def _found(thing: _T | None) -> _T:
    if thing is None:
        raise RefusedError(404, "not_found", "there is nothing of that id")
    return thing


def _check_scope(request: Request) -> None:
    if request.query_params.get("access_scope", "owned") not in ("owned", "accessible"):
        raise RefusedError(400, "invalid_query_params", "access_scope is owned or accessible")


async def _json_of(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RefusedError(400, "invalid_request_body", "the body is not a JSON object")
    return document
