"""The Launch service of the emulator: what tests and demonstrations register, and what comes with it."""

from __future__ import annotations

import pickle
import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
import trio

from ._clock import WallClock
from ._launch_callbacks import Courier
from ._launch_models import EndpointKind, LaunchEndpoint, LaunchJob, LaunchTask
from ._launch_running import run_task

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
BUNDLE = "bun_emulator0000000000ab"


class KeepsBytes(Protocol):
    """What the Launch service asks of the emulator that owns it."""

    api_key: str
    base_url: str
    clock: WallClock

    def upload(self, path: str, body: bytes) -> str:
        """Put bytes into the storage; give the URL."""
        ...

    def blob_url(self, size: int, *, seed: int = 0, name: str = "blob", signed: bool = True, **knobs: object) -> str:
        """Give a signed URL of a made-up object."""
        ...


@attrs.define(eq=False)
class LaunchService:
    """Endpoints, tasks, batch jobs, files and models, for as long as the emulator lasts."""

    emulator: KeepsBytes = attrs.field(repr=False)
    seed: int = 0
    endpoints: dict[str, LaunchEndpoint] = attrs.field(factory=dict, init=False)  # by name
    tasks: dict[str, LaunchTask] = attrs.field(factory=dict, init=False)
    jobs: dict[str, LaunchJob] = attrs.field(factory=dict, init=False)
    files: dict[str, bytes] = attrs.field(factory=dict, init=False)
    uploads: dict[str, bytes] = attrs.field(factory=dict, init=False)  # inputs of batch jobs
    models: dict[str, dict[str, int | str]] = attrs.field(factory=dict, init=False)
    courier: Courier = attrs.field(factory=lambda: Courier("team-of-ada"), init=False)
    nursery: trio.Nursery | None = attrs.field(default=None, init=False)  # in which tasks run
    ping_seconds: float = 15.0
    most_requests: int | None = None  # under way at the same time; further ones are refused (429)
    under_way: int = attrs.field(default=0, init=False)
    _luck: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._luck = random.Random(f"launch {self.seed}")
        self.register_endpoint("echo-sync", "sync", _echo)
        self.register_endpoint("echo-async", "async", _echo, delay=0.1)
        self.register_endpoint("echo-stream", "streaming", _echo_once)
        self.add_model("tiny-llm", {"config.json": 700, "model-00001.safetensors": 1 << 20, "tokenizer.json": 9000})

    def new_id(self, kind: str) -> str:
        """Make an identifier; it follows from the seed and from how many were made before."""
        return f"{kind}_{''.join(self._luck.choices(_LETTERS, k=20))}"

    def register_endpoint(
        self,
        name: str,
        kind: EndpointKind | str,
        function: Callable[[Any], Any],
        *,
        delay: float | Callable[[Any], float] = 0.0,
        artifact: bool = False,
        callbacks: bool = True,
        gives_text: bool | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> LaunchEndpoint:
        """Serve a Python function as an endpoint; see `Emulator.register_endpoint`."""
        made = LaunchEndpoint(
            self.new_id("end"),
            name,
            kind,
            function,
            self.emulator.clock.now(),
            delay,
            artifact,
            callbacks,
            gives_text,
            fields=dict(fields or {}),
        )
        self.endpoints[name] = made
        return made

    def add_model(self, name: str, files: Mapping[str, int | bytes]) -> None:
        """Offer a fine-tuned model: file names with their bytes, or with the size of made-up ones."""
        self.models[name] = {
            file: size if isinstance(size, int) else self.emulator.upload(f"models/{name}/{file}", size)
            for file, size in files.items()
        }

    def find(self, endpoint_id: str) -> LaunchEndpoint | None:
        """Give the endpoint of an id; nothing where there is none."""
        return next((each for each in self.endpoints.values() if each.id == endpoint_id), None)

    def start_task(self, endpoint: LaunchEndpoint, body: Mapping[str, Any]) -> LaunchTask:
        """Make an asynchronous task, which runs from now on."""
        task = LaunchTask(
            str(uuid.UUID(int=self._luck.getrandbits(128), version=4)), endpoint, body, trio.current_time()
        )
        self.tasks[task.id] = task
        if self.nursery is None:
            raise RuntimeError("tasks run only while the emulator is served")
        self.nursery.start_soon(self._run, task)
        return task

    async def _run(self, task: LaunchTask) -> None:
        delivered = await run_task(task, self.keep_result)
        endpoint = task.endpoint
        url = task.body.get("callback_url") or endpoint.callback_url
        if delivered is not None and endpoint.has_callbacks and url:
            await self.courier.deliver(url, task.body.get("callback_auth") or endpoint.callback_auth, delivered)

    def keep_result(self, value: Any) -> str:
        """Keep a pickled result in the storage; give its URL."""
        return self.emulator.upload(f"results/{self.new_id('res')}.pkl", pickle.dumps(value))

    def model_urls(self, name: str) -> dict[str, str] | None:
        """Give the signed URLs of a model's files; nothing where there is no such model."""
        files = self.models.get(name)
        if files is None:
            return None
        return {
            file: self.emulator.blob_url(size, name=f"{name}/{file}") if isinstance(size, int) else size
            for file, size in files.items()
        }


def _echo(args: Any) -> Any:
    return args


def _echo_once(args: Any) -> Any:
    return [args]
