"""The Launch API, as a starlette application: current routes, those of old clients, and errors in four shapes."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import attrs
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ._gate import Late
from ._launch import BUNDLE, LaunchService
from ._launch_checks import missing, problem, read_object, refused_key, task_problems
from ._launch_models import LaunchEndpoint, LaunchJob, WorkerError, shown_task
from ._launch_old import OldRoutes
from ._launch_paths import HEALTH_PATHS, STORE_PATH, is_launch_path
from ._launch_running import ContainerAnswer, ask_container, events_of, sync_picture
from ._launch_sse import SseResponse

Handler = Callable[[Request], Awaitable[Response]]


class InvalidError(Exception):
    """A request's fields are not what they should be: the entries of its 422."""


@attrs.define(eq=False)
class LaunchApi:
    """The endpoints of the API."""

    service: LaunchService

    def application(self) -> Starlette:
        """Route everything, below ``/v1/`` and once more below ``/v1/launch``."""
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/v1/model-endpoints", self.list_endpoints),
            ("GET", "/v1/model-endpoints/{endpoint_id}", self.get_endpoint),
            ("POST", "/v1/sync-tasks", self.make_sync_task),
            ("POST", "/v1/streaming-tasks", self.make_streaming_task),
            ("POST", "/v1/async-tasks", self.make_async_task),
            ("GET", "/v1/async-tasks/{task_id}", self.get_async_task),
            ("POST", "/v1/batch-jobs", self.make_job),
            ("GET", "/v1/batch-jobs/{job_id}", self.get_job),
            ("PUT", "/v1/batch-jobs/{job_id}", self.change_job),
            ("POST", "/v1/llm/model-endpoints/download", self.model_urls),
            ("POST", "/v1/files", self.upload_file),
            ("GET", "/v1/files", self.list_files),
            ("GET", "/v1/files/{file_id}", self.get_file),
            ("DELETE", "/v1/files/{file_id}", self.delete_file),
            ("GET", "/v1/files/{file_id}/content", self.file_content),
        ]
        routes = [
            Route(f"{root}{path}", _telling(handler), methods=[method])
            for root in ("", "/v1/launch")
            for method, path, handler in table
        ]
        routes += [
            Route(f"/v1/hosted_inference{path}", _telling(handler), methods=[method])
            for method, path, handler in OldRoutes(self.service).table
        ]
        routes += [Route(path, _healthy, methods=["GET"]) for path in HEALTH_PATHS]
        routes.append(Route(f"{STORE_PATH}{{token}}", self.store_inputs, methods=["PUT"]))
        return Starlette(routes=routes, exception_handlers={HTTPException: _error_answer})

    def beside(self, app: ASGIApp) -> ASGIApp:
        """Serve this API where its paths are, and another application everywhere else."""
        launch = Late(self.application)

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or not is_launch_path(scope["path"]):
                await app(scope, receive, send)
                return
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            refused = refused_key(headers.get("authorization"), self.service.emulator.api_key)
            if refused is not None and not scope["path"].startswith((*HEALTH_PATHS, STORE_PATH)):
                answer = JSONResponse({"detail": refused.detail}, 401, {"WWW-Authenticate": refused.scheme})
                await answer(scope, receive, send)
                return
            if self.service.most_requests is not None and self.service.under_way >= self.service.most_requests:
                await JSONResponse({"error": "Too many requests", "timestamp": _stamp()}, 429)(scope, receive, send)
                return
            self.service.under_way += 1
            try:
                await launch(scope, receive, send)
            finally:
                self.service.under_way -= 1

        return serve

    async def list_endpoints(self, request: Request) -> Response:
        """List all endpoints, or those of one name."""
        name, order = request.query_params.get("name"), request.query_params.get("order_by")
        if order not in (None, "newest", "oldest", "alphabetical"):
            raise InvalidError(problem("enum", ["query", "order_by"], "Input should be 'newest', 'oldest'", order))
        found = [each for each in self.service.endpoints.values() if not name or each.name == name]
        found = found[::-1] if order == "newest" else found
        return JSONResponse({"model_endpoints": [each.shown() for each in found]})

    async def get_endpoint(self, request: Request) -> Response:
        """Give one endpoint by its id."""
        wanted = request.path_params["endpoint_id"]
        found = self.service.find(wanted)
        if found is None:
            raise HTTPException(404, f"Model Endpoint {wanted}  was not found.")
        return JSONResponse(found.shown())

    async def make_sync_task(self, request: Request) -> Response:
        """Run a prediction and answer with it."""
        endpoint, body = await self._task(request)
        if endpoint.kind not in ("sync", "streaming"):
            raise HTTPException(400, f"Unsupported inference type: Endpoint {endpoint.id} does not serve sync tasks.")
        try:
            answer = await ask_container(endpoint, body)
        except WorkerError:
            answer = ContainerAnswer(500, "Internal Server Error")
        if answer.status == 400:
            raise HTTPException(400, f"Invalid request: {answer.body!r}")
        return JSONResponse(sync_picture(endpoint, body, answer, self.service.keep_result))

    async def make_streaming_task(self, request: Request) -> Response:
        """Run a prediction whose events are sent as they come."""
        endpoint, body = await self._task(request)
        if endpoint.kind != "streaming":
            raise HTTPException(400, f"Unsupported inference type: Endpoint {endpoint.id} is not a streaming endpoint.")
        return SseResponse(events_of(endpoint, body), self.service.ping_seconds, self.service.emulator.clock)

    async def make_async_task(self, request: Request) -> Response:
        """Make a task that runs by itself."""
        endpoint, body = await self._task(request)
        if endpoint.kind != "async":
            raise HTTPException(400, f"Unsupported inference type: Endpoint {endpoint.id} is not an async endpoint.")
        return JSONResponse({"task_id": self.service.start_task(endpoint, body).id})

    async def get_async_task(self, request: Request) -> Response:
        """Tell how a task is; one that nobody knows is pending."""
        task_id = request.path_params["task_id"]
        task = self.service.tasks.get(task_id)
        if task is None:
            return JSONResponse(shown_task(task_id, "PENDING"))
        task.polls += 1
        return JSONResponse(task.shown())

    async def _task(self, request: Request) -> tuple[LaunchEndpoint, dict[str, Any]]:
        body, found = read_object(await request.body(), request.headers.get("content-type", ""))
        endpoint_id = request.query_params.get("model_endpoint_id")
        found += task_problems(endpoint_id, body)
        if found:
            raise InvalidError(*found)
        endpoint = self.service.find(endpoint_id or "")
        if endpoint is None:
            raise HTTPException(404, "The specified endpoint could not be found.")
        return endpoint, body

    async def make_job(self, request: Request) -> Response:
        """Make a batch job."""
        wanted = ("model_bundle_id", "input_path", "serialization_format", "labels", "resource_requests")
        body = await self._object(request, *wanted)
        for label in ("team", "product"):
            if label not in body["labels"]:
                raise HTTPException(400, f"Missing label '{label}' in labels. See the documentation.")
        if body["model_bundle_id"] != BUNDLE:
            raise HTTPException(404, "The specified model bundle could not be found.")
        inputs = self.service.uploads.get(body["input_path"].rpartition("/")[2], b"").count(b"\n") - 1
        job = LaunchJob(self.service.new_id("bat"), max(inputs, 0), trio.current_time())
        self.service.jobs[job.id] = job
        return JSONResponse({"job_id": job.id})

    async def get_job(self, request: Request) -> Response:
        """Tell how a batch job is."""
        return JSONResponse(self._job(request).shown(trio.current_time()))

    async def change_job(self, request: Request) -> Response:
        """Cancel a batch job; the answer is the same whatever comes of it."""
        body = await self._object(request, "cancel")
        job = self._job(request)
        if body["cancel"] and job.shown(trio.current_time())["status"] in ("PENDING", "RUNNING"):
            job.is_cancelled = True
        return JSONResponse({"success": True})

    def _job(self, request: Request) -> LaunchJob:
        job = self.service.jobs.get(request.path_params["job_id"])
        if job is None:
            raise HTTPException(404, "The specified batch job could not be found.")
        return job

    async def store_inputs(self, request: Request) -> Response:
        """Keep the inputs of a batch job under the name that their signed URL ends with."""
        token = request.path_params["token"]
        if token not in self.service.uploads:
            return Response(status_code=403)
        self.service.uploads[token] = await request.body()
        return Response()

    async def model_urls(self, request: Request) -> Response:
        """Sign the URLs of a model's files."""
        body = await self._object(request, "model_name")
        urls = self.service.model_urls(body["model_name"])
        if urls is None:
            raise HTTPException(404, "The requested fine-tuned model could not be found.")
        return JSONResponse({"urls": urls})

    async def upload_file(self, request: Request) -> Response:
        """Keep a file; its name is its id."""
        named = _part_of(await request.body(), request.headers.get("content-type", ""))
        if named is None:
            raise InvalidError(missing(["body", "file"]))
        name, content = named
        content.decode()  # the service fails on what is not UTF-8
        self.service.files[name] = content
        return JSONResponse({"id": name})

    async def list_files(self, request: Request) -> Response:
        """List the files."""
        return JSONResponse({"files": [_shown_file(name, content) for name, content in self.service.files.items()]})

    async def get_file(self, request: Request) -> Response:
        """Tell of one file."""
        return JSONResponse(_shown_file(*self._file(request)))

    async def file_content(self, request: Request) -> Response:
        """Give a file's text."""
        name, content = self._file(request)
        return JSONResponse({"id": name, "content": content.decode()})

    async def delete_file(self, request: Request) -> Response:
        """Delete a file; one that never was is no error."""
        return JSONResponse({"deleted": self.service.files.pop(request.path_params["file_id"], None) is not None})

    def _file(self, request: Request) -> tuple[str, bytes]:
        name = request.path_params["file_id"]
        if name not in self.service.files:
            raise HTTPException(404, "The specified file could not be found.")
        return name, self.service.files[name]

    async def _object(self, request: Request, *wanted: str) -> dict[str, Any]:
        body, found = read_object(await request.body(), request.headers.get("content-type", ""))
        found += [missing(["body", name], body) for name in wanted if name not in body]
        if found:
            raise InvalidError(*found)
        return body


def _telling(handler: Handler) -> Handler:
    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except InvalidError as error:
            return JSONResponse({"detail": list(error.args)}, 422)
        except HTTPException:
            raise
        except Exception:  # noqa: BLE001 (the service hides whatever it is, too)
            text = "Internal error occurred. Our team has been notified."
            return JSONResponse({"error": text, "timestamp": _stamp(), "request_id": str(uuid.uuid4())}, 500)

    return handle


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


async def _healthy(request: Request) -> Response:
    return Response()


async def _error_answer(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    return JSONResponse({"detail": detail}, status)


def _shown_file(name: str, content: bytes) -> dict[str, Any]:
    return {"id": name, "filename": name, "size": len(content)}


def _part_of(body: bytes, content_type: str) -> tuple[str, bytes] | None:
    """Give name and bytes of the part ``file`` of a form."""
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    if not content_type.startswith("multipart/form-data") or not boundary:
        return None
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        fields = head.decode(errors="replace")
        name = fields.partition('filename="')[2].partition('"')[0]
        if 'name="file"' in fields and name:
            return unquote(name), content.removesuffix(b"\r\n")
    return None
