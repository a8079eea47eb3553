"""The training service's classic API, as routes of a starlette application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ._clock import WallClock, http_date, iso_date
from ._misbehaviour import PagingFault
from ._openapi import RefusedError, refusal_answer
from ._paging import BadPagingError, numbered_fields, offset_fields, page_of, whole_number
from ._records import Checkpoint, TrainingRun
from ._socketio import SocketIo
from ._state import MODELS, ServiceState


class SignsArchives(Protocol):
    """What the API asks of the emulator that owns it."""

    api_key: str
    max_limit: int
    paging_fault: PagingFault | None
    state: ServiceState
    clock: WallClock

    def archive_url(self, checkpoint_id: str) -> tuple[str, float]:
        """Sign a checkpoint's archive; give the URL and its end in Unix seconds."""
        ...


def application_of(routes: Sequence[Route]) -> Starlette:
    """Make the application of all that is served."""
    handlers: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        HTTPException: _error_answer,
        BadPagingError: _bad_paging_answer,
        RefusedError: refusal_answer,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


@attrs.define(eq=False)
class ClassicApi:
    """The endpoints. Their paths come in two groups; the official SDK asks for the second one twice prefixed."""

    emulator: SignsArchives
    socket_io: SocketIo

    def routes(self, api_prefix: str) -> list[Route]:
        """Route all endpoints below the prefix."""
        base = "/" + api_prefix.strip("/") if api_prefix.strip("/") else ""
        user = {
            "user/me": self.me,
            "user/{user_id}/weights": self.list_weights,
            "user/{user_id}/archive_url/{checkpoint_id}": self.weight_archive_url,
            "runner/models": self.models,
            "runner/models/check": self.check_model,
            "checkpoints/info": self.checkpoint_info,
        }
        service = {
            "runs": self.list_runs,
            "runs/{run_id}": self.get_run,
            "runs/{run_id}/checkpoints": self.list_run_checkpoints,
            "runs/{run_id}/checkpoints/{checkpoint_id}/archive": self.checkpoint_archive_url,
            "user/checkpoints": self.list_user_checkpoints,
            "sessions": self.list_sessions,
            "sessions/{session_id}": self.get_session,
            "samplers/{sampler_id}": self.get_sampler,
        }
        routes = [Route(f"{base}/{path}", endpoint) for path, endpoint in user.items()]
        for prefix in dict.fromkeys((f"{base}/api", "/api")):
            routes += [Route(f"{prefix}/{path}", endpoint) for path, endpoint in service.items()]
            checkpoint = f"{prefix}/runs/{{run_id}}/checkpoints/{{checkpoint_id}}"
            routes.append(Route(checkpoint, self.delete_checkpoint, methods=["DELETE"]))
        routes.append(Route("/socket.io/", self.open_socket_io, methods=["GET", "POST"]))
        return routes

    async def open_socket_io(self, request: Request) -> Response:
        """Take part in a client's Socket.IO connection; a client's ``runId`` is its session."""
        answer = await self.socket_io.endpoint(request)
        if "sid" not in request.query_params and answer.status_code == 200 and "runId" in request.query_params:
            self._state.open_session(request.query_params["runId"])
        return answer

    async def me(self, request: Request) -> Response:
        """Say whose key it is."""
        state = self._state
        return JSONResponse(
            {"username": state.username, "cuid": state.user_id, "createdAt": http_date(state.created_at)}
        )

    async def models(self, request: Request) -> Response:
        """List the base models."""
        return JSONResponse(list(MODELS))

    async def check_model(self, request: Request) -> Response:
        """Say whether a base model can be used."""
        if request.query_params.get("type") not in ("TRAIN", "SAMPLE"):
            raise HTTPException(400, "type must be TRAIN or SAMPLE")
        if request.query_params.get("model_name") not in MODELS:
            raise HTTPException(404, "no such model")
        return JSONResponse({"available": True})

    async def list_weights(self, request: Request) -> Response:
        """List the user's sampler checkpoints by page number."""
        self._check_user(request)
        page = whole_number(request.query_params, "page", 1, least=1)
        size = self._limit(request, "page_size", 20)
        fault = self.emulator.paging_fault
        cut = page_of(self._state.weights, limit=size, offset=(page - 1) * size, fault=fault)
        weights = [self._weight(each) for each in cut.items]
        return JSONResponse({"data": weights, "pagination": numbered_fields(cut)})

    async def weight_archive_url(self, request: Request) -> Response:
        """Sign a weight's archive."""
        self._check_user(request)
        checkpoint = self._state.find_checkpoint(request.path_params["checkpoint_id"])
        if checkpoint is None:
            raise HTTPException(404, "no such checkpoint")
        return JSONResponse({"url": self.emulator.archive_url(checkpoint.checkpoint_id)[0]})

    async def list_runs(self, request: Request) -> Response:
        """List the training runs."""
        cut = self._offset_page(request, list(self._state.runs.values()), 20)
        runs = [_shown_run(run) for run in cut.items]
        return JSONResponse({"training_runs": runs, **offset_fields(cut)})

    async def get_run(self, request: Request) -> Response:
        """Give one training run."""
        return JSONResponse(_shown_run(self._run(request)))

    async def list_run_checkpoints(self, request: Request) -> Response:
        """List a run's checkpoints, all of them."""
        checkpoints = self._state.checkpoints_of(self._run(request).training_run_id)
        return JSONResponse({"checkpoints": [_shown_checkpoint(each) for each in checkpoints]})

    async def checkpoint_archive_url(self, request: Request) -> Response:
        """Sign a checkpoint's archive."""
        checkpoint = self._checkpoint_of_run(request)
        url, expires = self.emulator.archive_url(checkpoint.checkpoint_id)
        return JSONResponse({"url": url, "expires": iso_date(expires)})

    async def delete_checkpoint(self, request: Request) -> Response:
        """Delete a checkpoint."""
        self._state.remove_checkpoint(self._checkpoint_of_run(request).checkpoint_id)
        return JSONResponse({"message": "deleted"})

    async def list_user_checkpoints(self, request: Request) -> Response:
        """List the checkpoints of all runs."""
        cut = self._offset_page(request, self._state.checkpoints, 100)
        checkpoints = [_shown_checkpoint(each) for each in cut.items]
        return JSONResponse({"checkpoints": checkpoints, **offset_fields(cut)})

    async def list_sessions(self, request: Request) -> Response:
        """List the sessions; the answer says nothing about further pages."""
        cut = self._offset_page(request, list(self._state.sessions), 20)
        return JSONResponse({"sessions": list(cut.items)})

    async def get_session(self, request: Request) -> Response:
        """Give one session."""
        session = self._state.sessions.get(request.path_params["session_id"])
        if session is None:
            raise HTTPException(404, "no such session")
        shown = {"training_run_ids": session.training_run_ids, "sampler_ids": session.sampler_ids}
        return JSONResponse(shown)

    async def get_sampler(self, request: Request) -> Response:
        """Give one sampler."""
        sampler = self._state.samplers.get(request.path_params["sampler_id"])
        if sampler is None:
            raise HTTPException(404, "no such sampler")
        return JSONResponse(attrs.asdict(sampler))

    async def checkpoint_info(self, request: Request) -> Response:
        """Say how to go on training from a checkpoint's path."""
        checkpoint = self._state.find_path(request.query_params.get("path", ""))
        if checkpoint is None:
            raise HTTPException(404, "no such checkpoint")
        run = self._state.runs[checkpoint.training_run_id]
        lora = {
            "rank": run.lora_rank,
            "seed": run.lora_seed,
            "train_mlp": run.train_mlp,
            "train_attn": run.train_attn,
            "train_unembed": run.train_unembed,
            "trainable_token_indices": None,
        }
        return JSONResponse({"model": run.base_model, "lora": lora})

    @property
    def _state(self) -> ServiceState:
        return self.emulator.state

    def _limit(self, request: Request, name: str, default: int) -> int:
        return min(whole_number(request.query_params, name, default, least=1), self.emulator.max_limit)

    def _offset_page(self, request: Request, items: Any, default: int) -> Any:
        limit = self._limit(request, "limit", default)
        offset = whole_number(request.query_params, "offset", 0, least=0)
        return page_of(items, limit=limit, offset=offset, fault=self.emulator.paging_fault)

    def _check_user(self, request: Request) -> None:
        if request.path_params["user_id"] != self._state.user_id:
            raise HTTPException(404, "no such user")

    def _run(self, request: Request) -> TrainingRun:
        run = self._state.runs.get(request.path_params["run_id"])
        if run is None:
            raise HTTPException(404, "no such training run")
        return run

    def _checkpoint_of_run(self, request: Request) -> Checkpoint:
        run = self._run(request)
        checkpoint = self._state.find_checkpoint(request.path_params["checkpoint_id"])
        if checkpoint is None or checkpoint.training_run_id != run.training_run_id:
            raise HTTPException(404, "no such checkpoint")
        return checkpoint

    def _weight(self, checkpoint: Checkpoint) -> dict[str, object]:
        run = self._state.runs[checkpoint.training_run_id]
        created_at = http_date(checkpoint.created_at)
        return {
            "id": checkpoint.number + 1,
            "cuid": checkpoint.checkpoint_id,
            "path": checkpoint.path,
            "type": "SAMPLE",
            "status": "ON",
            "userId": checkpoint.user_id,
            "taskId": checkpoint.training_run_id,
            "runId": run.session_id,
            "runnerId": f"runner-{run.training_run_id[:4]}",
            "createdAt": created_at,
            "updatedAt": created_at,
        }


def _shown_run(run: TrainingRun) -> dict[str, object]:
    return {
        "training_run_id": run.training_run_id,
        "base_model": run.base_model,
        "is_lora": run.is_lora,
        "lora_rank": run.lora_rank,
    }


def _shown_checkpoint(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "checkpoint_id": checkpoint.checkpoint_id,
        "checkpoint_type": checkpoint.kind,
        "time": iso_date(checkpoint.created_at),
        "path": checkpoint.path,
        "size_bytes": checkpoint.size_bytes,
    }


async def _error_answer(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    return JSONResponse({"message": detail}, status)


async def _bad_paging_answer(request: Request, error: Exception) -> Response:
    return JSONResponse({"code": "invalid_query_params", "message": str(error)}, 400)
