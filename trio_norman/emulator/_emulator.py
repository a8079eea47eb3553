"""The emulator: the API, its storage, and the handles by which a test moves them."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict
from urllib.parse import quote

import attrs
from starlette.types import ASGIApp, Scope

from ._actor import Actor, Placements
from ._api import ClassicApi, application_of
from ._clock import WallClock
from ._content import Content, blocks_of, random_pool
from ._gate import Gate, Late
from ._knobs import knob_query
from ._launch import LaunchService
from ._launch_api import LaunchApi
from ._launch_models import EndpointKind, LaunchEndpoint
from ._log import ConnectionCount, RequestLog
from ._misbehaviour import Misbehaviour, PagingFault, RawBody
from ._objects import Objects, RunSync
from ._odd_ports import OddPorts
from ._openapi import OpenApi
from ._records import Checkpoint, Sampler, Session, TrainingRun
from ._signing import UrlSigner
from ._socketio import SocketIo
from ._state import ServiceState
from ._storage import Storage
from .norman import ModelFunction, NormanService
from .norman._application import API_PATH, norman_application

Dialect: TypeAlias = Literal["v1", "classic"]


class EmulatorOptions(TypedDict, total=False):
    """What an emulator is made of.

    Keys:
        runs: How many training runs there are (2).
        checkpoints: How many checkpoints each run has, every second one a sampler's (12). They are made when they are
            asked for, so a million costs nothing.
        size_bytes: Length of each archive (16 MiB).
        archive: Whether archives are ZIP files (true); plain bytes otherwise, and below 2 KiB.
        seed: All identifiers and contents follow from it (0).
        api_key: The key that clients must send; by default one that follows from the seed.
        api_prefix: Where the API lies (``/api``).
        dialects: What the API speaks (``("v1", "classic")``), all of it on one port and from one state.
        url_lifetime: Seconds for which a signed URL is served (360).
        max_limit: Longest page (200); larger wishes are cut down to it, and the answer says so.
        epoch: Wall time at the start, in Unix seconds; by default the machine's. It then follows Trio's clock.
    """

    runs: int
    checkpoints: int
    size_bytes: int
    archive: bool
    seed: int
    api_key: str | None
    api_prefix: str
    dialects: Sequence[Dialect]
    url_lifetime: float
    max_limit: int
    epoch: float | None


@attrs.define(eq=False)
class Emulator:
    """A training service and its object storage, for as long as the block that opened them lasts."""

    base_url: str  # root of the service, as a user configures it
    storage_url: str  # root of the object storage: another origin
    other_storage_url: str  # a second origin of the storage, where redirects lead
    api_key: str = attrs.field(repr=False)
    state: ServiceState = attrs.field(repr=False)
    storage: Storage = attrs.field(repr=False)
    norman_base_url: str  # of the Norman API, as a user configures it
    norman: NormanService = attrs.field(repr=False)
    clock: WallClock = attrs.field(repr=False)
    requests: RequestLog = attrs.field(repr=False)  # of all APIs and the storage
    url_lifetime: float  # seconds; may be changed at any time
    max_limit: int
    placements: Placements = attrs.field(repr=False)
    dialects: Sequence[Dialect] = ("v1", "classic")
    bootstrap_status: str = "compatible"  # or "warning" or "blocked": what clients that report their version are told
    paging_fault: PagingFault | None = None
    odd_ports: OddPorts | None = None
    app: ASGIApp = attrs.field(init=False, repr=False)  # the API
    launch: LaunchService = attrs.field(init=False, repr=False)
    api_connections: ConnectionCount = attrs.field(factory=ConnectionCount, init=False)
    drops: dict[tuple[object, ...], Callable[[], None]] = attrs.field(factory=dict, init=False, repr=False)
    _rules: list[Misbehaviour] = attrs.field(factory=list, init=False, repr=False)
    _injected: dict[str | None, str] = attrs.field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.launch = LaunchService(self, self.state.seed)

    @property
    def launch_base_url(self) -> str:
        """Root of the Launch service, which stands beside the other API and has the same key."""
        return self.base_url

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
        """Serve a Python function as an inference endpoint.

        Args:
            name: Its name; another endpoint of that name is replaced, and has another id.
            kind: ``sync``, ``async`` or ``streaming``.
            function: Takes the request's `args` and gives any JSON; for a stream any iterable of it. It may be
                asynchronous. What it raises is a failure of the model; see also `ContainerError` and `WorkerError`.
            delay: Seconds that a prediction takes, or that lie before each event; or a function of the arguments.
            artifact: Whether it is a Python bundle, which obeys `url` and `return_pickled`.
            callbacks: Whether it delivers the answers of asynchronous tasks to their callback URL.
            gives_text: Whether results are JSON text; by default they are, but in streams.
            fields: What is announced otherwise than usual.
        """
        return self.launch.register_endpoint(
            name,
            kind,
            function,
            delay=delay,
            artifact=artifact,
            callbacks=callbacks,
            gives_text=gives_text,
            fields=fields,
        )

    @property
    def connections(self) -> ConnectionCount:
        """The connections to the storage: `active`, `peak`, `total`."""
        return self.storage.connections

    @property
    def sent_bytes(self) -> int:
        """Body bytes that the storage sent, over all requests that the log still holds."""
        return sum(request.sent_bytes for request in self.requests.of("storage", "other"))

    @property
    def norman_api_key(self) -> str:
        """A key of the Norman service that is ready for use."""
        return self.norman.api_key

    def register_model(self, name: str, function: ModelFunction) -> None:
        """Let Norman models of this name be run by a function; see `NormanService.register_model`."""
        self.norman.register_model(name, function)

    @property
    def user_id(self) -> str:
        """The user's identifier."""
        return self.state.user_id

    @property
    def training_runs(self) -> Sequence[TrainingRun]:
        """The training runs, oldest first."""
        return list(self.state.runs.values())

    @property
    def checkpoints(self) -> Sequence[Checkpoint]:
        """The checkpoints of all runs."""
        return self.state.checkpoints

    @property
    def weights(self) -> Sequence[Checkpoint]:
        """The checkpoints that are listed as weights."""
        return self.state.weights

    @property
    def sessions(self) -> Sequence[Session]:
        """The sessions, oldest first."""
        return list(self.state.sessions.values())

    @property
    def samplers(self) -> Sequence[Sampler]:
        """The samplers."""
        return list(self.state.samplers.values())

    def content_of(self, checkpoint_id: str) -> Content:
        """Give a checkpoint's bytes, to be read at any offset; raises `KeyError`."""
        checkpoint = self.state.find_checkpoint(checkpoint_id)
        if checkpoint is None:
            raise KeyError(checkpoint_id)
        return self.storage.objects.checkpoint_content(checkpoint)[1]

    def sha256_of(self, checkpoint_id: str) -> str:
        """Give the SHA-256 of a checkpoint's archive in hexadecimal digits; raises `KeyError`."""
        return sha256_of_content(self.content_of(checkpoint_id))

    def archive_url(self, checkpoint_id: str) -> tuple[str, float]:
        """Sign a checkpoint's archive now; give the URL and its end in Unix seconds. Raises `KeyError`."""
        checkpoint = self.state.find_checkpoint(checkpoint_id)
        if checkpoint is None:
            raise KeyError(checkpoint_id)
        knobs = self._injected.get(checkpoint_id, self._injected.get(None, ""))
        return self._signed_url(checkpoint.object_key, knobs)

    def blob_url(self, size: int, *, seed: int = 0, name: str = "blob", signed: bool = True, **knobs: object) -> str:
        """Give the URL of a made-up object of `size` bytes, with fault knobs.

        Every keyword that is left is a knob; see the module `trio_norman.emulator._knobs`. Raises `ValueError` for one
        that does not exist.
        """
        key = f"blobs/{seed}/{size}/{name}"
        query = knob_query(knobs)
        if signed:
            return self._signed_url(key, query)[0]
        return f"{self.storage_url}/{_quoted(key)}" + (f"?{query}" if query else "")

    def blob_content(self, size: int, *, seed: int = 0, name: str = "blob", version: int = 0) -> Content:
        """Give the bytes behind `blob_url`, in the version that ``flip=`` leads to."""
        stored = self.storage.objects.find(f"/{_quoted(f'blobs/{seed}/{size}/{name}')}", version=version)
        if stored is None:
            raise KeyError(name)
        return stored.content

    def place(self, checkpoint_id: str, status: str, *, seconds: float = math.inf) -> None:
        """Give a checkpoint a status for so many seconds by the emulated clock; afterwards it is ``READY`` again.

        ``LOCAL`` and ``SYNCING`` ones are to be had from the actor, where there is one; any other status, and these
        without an actor, cannot be downloaded yet (409). Only the dialect v1 knows of it. Raises `KeyError`.
        """
        if self.state.find_checkpoint(checkpoint_id) is None:
            raise KeyError(checkpoint_id)
        self.placements.put(checkpoint_id, status, seconds=seconds)

    @property
    def actor(self) -> Actor | None:
        """The server of checkpoints that have not reached the storage, if there is one."""
        return self.placements.actor

    def upload(self, path: str, body: bytes) -> str:
        """Put bytes into the storage under a path that needs no signature; give the URL."""
        self.storage.objects.uploads[f"/{_quoted(path)}"] = body
        return f"{self.storage_url}/{_quoted(path)}"

    def inject(self, checkpoint_id: str | None = None, **knobs: object) -> None:
        """Append fault knobs to every archive URL that the API signs from now on, or to those of one checkpoint.

        Without any knob, that ends. Raises `ValueError` for a knob that does not exist.
        """
        if knobs:
            self._injected[checkpoint_id] = knob_query(knobs)
        else:
            self._injected.pop(checkpoint_id, None)

    def misbehave(
        self,
        pattern: str,
        *,
        method: str | None = None,
        status: int | None = None,
        body: RawBody = b"",
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        retry_after: str | float | None = None,
        delay: float = 0.0,
        skip: int = 0,
        times: int | None = None,
        cut_at: int | None = None,
        drop: bool = False,
        acts: bool = False,
    ) -> Misbehaviour:
        """Answer API requests wrongly, or late.

        Args:
            pattern: A regular expression that the beginning of the path must match, e.g. ``/api/api/runs``.
            method: Only requests with this method.
            status: The status to answer with; without one, the true answer comes after `delay`.
            body: Bytes, text, or a function that gives blocks which are streamed.
            content_type: The body's type.
            headers: Further response headers.
            retry_after: Value of Retry-After.
            delay: Seconds to wait first; `math.inf` never answers.
            skip: How many matching requests are answered well before.
            times: How many are answered badly; all, without it.
            cut_at: Break the answer off after so many bytes of its body, although all were announced.
            drop: Reset the connection in place of any answer.
            acts: Let the request have its effect before it is answered badly.

        Returns:
            The rule, whose `hits` count the matching requests. `behave` ends all rules.
        """
        extra = list((headers or {}).items())
        if retry_after is not None:
            extra.append(("retry-after", str(retry_after)))
        rule = Misbehaviour(
            pattern=re.compile(pattern),
            method=method,
            status=status,
            body=body,
            content_type=content_type,
            headers=tuple(extra),
            delay=delay,
            skip=skip,
            times=times,
            cut_at=cut_at,
            drop=drop,
            acts=acts,
        )
        self._rules.append(rule)
        return rule

    def behave(self) -> None:
        """End every misbehaviour of the APIs and every injected fault."""
        self._rules.clear()
        self._injected.clear()
        self.paging_fault = None
        self.norman.behave()

    def route(self, api_prefix: str) -> None:
        """Make `app` anew, below another prefix."""
        spoken = {
            "v1": OpenApi(self).routes,
            "classic": ClassicApi(self, SocketIo(lambda: self.api_key)).routes,
        }
        asked = [spoken[dialect] for dialect in self.dialects]
        api = Late(lambda: application_of([route for routes in asked for route in routes(api_prefix)]))
        both = LaunchApi(self.launch).beside(api)
        self.app = Gate(both, self.clock, self.requests, lambda: self.api_key, self._rules, self.drops)
        norman = Late(lambda: norman_application(self.norman, self._drop))
        self.norman.app = Gate(norman, self.clock, self.requests, None, self._rules, self.drops, "norman")

    def _drop(self, scope: Scope) -> None:
        self.drops.get(tuple(scope["client"]), lambda: None)()

    def _signed_url(self, key: str, knobs: str) -> tuple[str, float]:
        path = f"/{_quoted(key)}"
        start = int(self.clock.now())
        end = int(self.clock.now() + self.url_lifetime)
        query = self.storage.signer.query(path, start, end)
        return f"{self.storage_url}{path}?{query}{'&' if knobs else ''}{knobs}", float(end)


def sha256_of_content(content: Content) -> str:
    """Give a content's SHA-256 in hexadecimal digits."""
    digest = hashlib.sha256()
    for block in blocks_of(content, 0, content.size):
        digest.update(block)
    return digest.hexdigest()


def default_api_key(seed: int) -> str:
    """Make a key that looks like one and follows from the seed."""
    return "ptk_" + hashlib.blake2b(f"api key {seed}".encode(), digest_size=20).hexdigest()


def make_emulator(
    options: EmulatorOptions,
    roots: tuple[str, str, str, str],
    push_address: tuple[str, int],
    run_sync: RunSync,
    *,
    epoch: float,
) -> Emulator:
    """Put an emulator together.

    Args:
        options: What it is made of.
        roots: The URLs at which API, storage, second storage and the Norman API will be served.
        push_address: Host and port at which the Norman service takes pushes.
        run_sync: How long computations are run.
        epoch: Wall time at the start, in Unix seconds.

    Raises:
        ValueError: For a negative number or size.
    """
    seed = options.get("seed", 0)
    clock = WallClock(epoch)
    state = ServiceState(seed, epoch, options.get("checkpoints", 12), options.get("size_bytes", 16 << 20))
    if min(state.checkpoints_per_run, state.size_bytes, options.get("runs", 2)) < 0:
        raise ValueError("runs, checkpoints and size_bytes must not be negative")
    for _ in range(options.get("runs", 2)):
        state.add_run()
    objects = Objects(state, random_pool(seed), options.get("archive", True), run_sync)
    secret = hashlib.blake2b(f"storage secret {seed}".encode()).digest()
    signer = UrlSigner(secret, roots[1].partition("://")[2])
    requests = RequestLog()
    origins = {"storage": roots[1], "other": roots[2]}
    storage = Storage(objects, signer, clock, requests, ConnectionCount(), seed, origins)
    emulator = Emulator(
        base_url=roots[0],
        storage_url=roots[1],
        other_storage_url=roots[2],
        api_key=options.get("api_key") or default_api_key(seed),
        state=state,
        storage=storage,
        norman_base_url=roots[3] + API_PATH,
        norman=NormanService(clock, run_sync, seed, *push_address),
        clock=clock,
        requests=requests,
        url_lifetime=options.get("url_lifetime", 360.0),
        max_limit=options.get("max_limit", 200),
        placements=Placements(clock, roots[1]),
        dialects=options.get("dialects", ("v1", "classic")),
    )
    emulator.route(options.get("api_prefix", "/api"))
    return emulator


def _quoted(key: str) -> str:
    return quote(key, safe="/-_.~")
