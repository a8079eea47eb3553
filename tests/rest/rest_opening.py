"""How the tests of the training service open what they need, in the dialect that is being tested."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, TypeVar, Unpack

import trio

from trio_norman import ConnectionSettings, RestClient, RetryPolicy, ServiceClient
from trio_norman.emulator import Emulator, EmulatorOptions, LoggedRequest
from trio_norman.testing import open_memory_emulator

T = TypeVar("T")
Text = TypeVar("Text", str, bytes)

#: The dialect that service and clients speak; the fixture `api` sets it.
SPOKEN: Literal["classic", "v1"] = "classic"

_PATHS = {
    "classic": {
        "me": "/api/user/me",
        "runs": "/api/api/runs",
        "run": "/api/api/runs/r1",
        "checkpoints": "/api/api/user/checkpoints",
        "samplers": "/api/api/samplers/",
        "sessions": "/api/api/sessions",
        "models": "/api/runner/models",
        "archive": "/archive",
    },
    "v1": {
        "me": "/api/openapi/v1/api-key/verify",
        "runs": "/api/openapi/v1/training-runs",
        "run": "/api/openapi/v1/training-runs/r1",
        "checkpoints": "/api/openapi/v1/checkpoints",
        "samplers": "/api/openapi/v1/sampling-runs/",
        "sessions": "/api/openapi/v1/service-sessions",
        "models": "/api/models",
        "archive": "/download-url",
    },
}
_WORDS = {
    "training_run_id": "training_run_cuid",
    "checkpoint_id": "checkpoint_cuid",
    "sampler_id": "sampling_run_cuid",
    "time": "created_at",
}


def at(noun: str) -> str:
    """Give the path of a noun in the dialect."""
    return _PATHS[SPOKEN][noun]


def spelt(text: Text) -> Text:
    """Give a JSON text, or the name of a place in one, as the dialect writes it; it is given in the classic one."""
    if SPOKEN == "classic":
        return text
    shown = text if isinstance(text, str) else text.decode("latin-1")
    shown = re.sub(r"(?<=[\".])(\w+)(?=\"|$)", lambda found: _WORDS.get(found[1], found[1]), shown)
    return shown if isinstance(text, str) else shown.encode("latin-1")


def page_text(**lists: object) -> str:
    """Write a page with what both dialects say of one."""
    return spelt(json.dumps({**lists, "cursor": {"offset": 0, "limit": 100, "total": 2}}))


#: Three tries, almost without waiting: for services that fail on real sockets.
QUICK = RetryPolicy(attempts=3, initial=0.001, longest=0.002)


def service(emulator: Emulator, retry: RetryPolicy = QUICK) -> ServiceClient:
    """Describe the emulator as a user would."""
    return ServiceClient(emulator.api_key, emulator.base_url, api=SPOKEN, retry=retry)


@asynccontextmanager
async def open_in_memory(
    retry: RetryPolicy | None = None, **options: Unpack[EmulatorOptions]
) -> AsyncIterator[tuple[Emulator, RestClient]]:
    """Open an emulator without sockets and a client of it, for tests under the autojump clock."""
    options.setdefault("dialects", (SPOKEN,))
    async with open_memory_emulator(**options) as (emulator, transport):
        connection = ConnectionSettings(transport=transport)
        client = ServiceClient(emulator.api_key, emulator.base_url, api=SPOKEN, connection=connection, retry=retry)
        async with client.create_rest_client() as rest:
            emulator.requests.clear()
            yield emulator, rest


def asked(emulator: Emulator, *, path: str = "") -> list[LoggedRequest]:
    """Give the requests to the API whose path holds `path`."""
    return [request for request in emulator.requests.of("api") if path in request.path]


class _CancelAtStep(trio.abc.Instrument):
    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope, self._task, self._steps_left = scope, trio.lowlevel.current_task(), step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._steps_left -= 1
            if self._steps_left == 0:
                self._scope.cancel()


async def cancelled_at(step: int, call: Callable[[], Awaitable[T]]) -> T | None:
    """Make a call that is cancelled at the caller's `step`-th wait; None if it was, else its result."""
    with trio.CancelScope() as scope:
        instrument = _CancelAtStep(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            return await call()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return None


def visible(directory: Path) -> list[str]:
    """Give the names below a directory that are no partial files, in order."""
    found = (each for each in directory.rglob("*") if not each.name.startswith("."))
    return sorted(str(each.relative_to(directory)) for each in found)


def partials(directory: Path) -> list[Path]:
    """Give the partial files of a directory, and what stands beside them."""
    return sorted(directory.glob(".*"))
