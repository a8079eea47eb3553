"""The routes of the Launch service's first version, which the client on the package index still speaks.

Source: the requests that ``scale-launch`` 0.3.3 was seen to make; and the upload of a batch job's inputs, for which
newer clients still come here.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._launch import LaunchService
from ._launch_models import LaunchEndpoint
from ._launch_paths import STORE_PATH
from ._launch_running import ask_container, sync_picture

_STATES = {"STARTED": "PENDING"}


@attrs.define(eq=False)
class OldRoutes:
    """Endpoints by name, tasks with a `state`, and results one level higher than today."""

    service: LaunchService

    @property
    def table(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Method, path and handler of each route."""
        return [
            ("GET", "/endpoints", self.list_endpoints),
            ("GET", "/endpoints/{name}", self.get_endpoint),
            ("POST", "/task_sync/{name}", self.make_sync_task),
            ("POST", "/task_async/{name}", self.make_async_task),
            ("GET", "/endpoints/{name}/task_async/{task_id}", self.get_task),
            ("GET", "/task/result/{task_id}", self.get_task),
            ("POST", "/batch_task_input_upload", self.sign_upload),
        ]

    async def list_endpoints(self, request: Request) -> Response:
        """List the endpoints."""
        return JSONResponse({"endpoints": [_shown(each) for each in self.service.endpoints.values()]})

    async def get_endpoint(self, request: Request) -> Response:
        """Give one endpoint."""
        return JSONResponse(_shown(self._endpoint(request)))

    async def make_sync_task(self, request: Request) -> Response:
        """Run a prediction and answer with it."""
        endpoint, body = self._endpoint(request), json.loads(await request.body())
        told = sync_picture(endpoint, body, await ask_container(endpoint, body), self.service.keep_result)
        return JSONResponse({**_flat(told), "state": told["status"]})

    async def make_async_task(self, request: Request) -> Response:
        """Make a task."""
        task = self.service.start_task(self._endpoint(request), json.loads(await request.body()))
        return JSONResponse({"task_id": task.id})

    async def get_task(self, request: Request) -> Response:
        """Tell how a task is."""
        task = self.service.tasks.get(request.path_params["task_id"])
        if task is None:
            return JSONResponse({"state": "PENDING"})
        return JSONResponse({**_flat(task.shown()), "state": _STATES.get(task.status, task.status)})

    async def sign_upload(self, request: Request) -> Response:
        """Give a URL to which the inputs of a batch job are put, without a key."""
        token = secrets.token_hex(16)
        self.service.uploads[token] = b""
        url = f"{self.service.emulator.base_url}{STORE_PATH}{token}"
        return JSONResponse({"signedUrl": url, "bucket": "emulator", "key": f"inputs/{token}"})

    def _endpoint(self, request: Request) -> LaunchEndpoint:
        found = self.service.endpoints.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404, "endpoint not found")
        return found


def _shown(endpoint: LaunchEndpoint) -> dict[str, Any]:
    now = endpoint.shown()
    told = {name: now[name] for name in ("name", "bundle_name", "status", "metadata", "endpoint_type", "destination")}
    return {**told, "resource_settings": now["resource_state"], "worker_settings": now["deployment_state"]}


def _flat(told: dict[str, Any]) -> dict[str, Any]:
    result = told["result"]
    unwrapped = dict(result) if isinstance(result, dict) else {"result": result}
    return {"result": None, "result_url": None, "traceback": told["traceback"], **unwrapped}
