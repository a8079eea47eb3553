"""`LaunchClient`: endpoints that answer at once, in pieces, or some time; one poller for all that is awaited."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

from .._lifetimes import Block, Uses, lone_error_unwrapped
from .._sansio.addresses import Vicinity
from .._sansio.callbacks import basic_auth
from .._sansio.redaction import Secret
from .._sansio.retrying import RetryPolicy
from .._sansio.settings import checked_launch_key, launch_root, resolve_launch
from .._sansio.tasks import read_answer
from .._wire._client import JsonAnswer, JsonClient, Sent, open_json_client
from .._wire._connecting import ConnectionSettings
from .._wire._fetching import open_fetcher
from .._wire._streaming import Streamed
from ..errors import (
    LimitExceededError,
    MalformedResponseError,
    NotFoundError,
    ServiceError,
    TransportError,
    TrioNormanError,
)
from ..transfer import Fetch, Source
from . import _api as api
from ._converter import from_wire
from ._downloads import model_sources
from ._endpoints import KINDS, AsyncEndpoint, Endpoint, StreamingEndpoint, SyncEndpoint
from ._futures import EndpointResponseFuture, task_of
from ._jobs import BatchJobs
from ._models import Model, ModelEndpoint, TaskCreated
from ._poller import Poller, Told
from ._receiver import CallbackReceiver, open_receiver
from ._requests import EndpointRequest, encoded
from ._responses import EndpointResponse
from ._state import QUICK_CALLS, LaunchLimits, OpenState
from ._stored import Files

if TYPE_CHECKING:
    import httpx

M = TypeVar("M", bound=Model)

JSON = {"Content-Type": "application/json"}
_MOST_SOCKETS = 2000  # of predictions and streams, each of which holds one


@attrs.define(eq=False, repr=False, init=False)
class LaunchClient(Block):
    """The Launch service, for as long as the client's ``async with`` block lasts.

    It owns a nursery, in which one poller asks for all tasks that anybody waits for; leaving the block ends it, and
    every wait with `trio.ClosedResourceError`. The tasks go on at the service.

    Args:
        api_key: The key. Without it: ``TRIO_NORMAN_LAUNCH_API_KEY``; or ``TRIO_NORMAN_API_KEY``, if an address is
            given too, so that no other service's key goes to the hosted one.
        endpoint: Address of the service. Without it: ``TRIO_NORMAN_LAUNCH_BASE_URL``; with ``TRIO_NORMAN_API_KEY``
            also ``TRIO_NORMAN_BASE_URL``; then the hosted service.
        self_hosted: Taken for the sake of programs that were written for the service's own client; it changes no URL.
        use_path_with_custom_endpoint: Whether ``/v1/launch`` is put behind `endpoint`.
        callback_receiver: Have answers of asynchronous tasks delivered, where their endpoint does that.
        connection: How peers are reached.
        retry: Limits of trying again.
        limits: How long and how much the client bears.

    Raises:
        ConfigurationError: If there is no key, or an empty one, or an address is none.
        AddressError: If the address is plain http to another machine.
    """

    _AGAIN = "a LaunchClient is entered once; make another one"

    _key: Secret
    _pair: Secret  # of user name and password, as it stands in the header
    _root: str
    _old_root: str
    _connection: ConnectionSettings
    _retry: RetryPolicy
    _limits: LaunchLimits
    _receiver: CallbackReceiver | None
    _state: OpenState | None
    _uses: Uses
    #: The account's files.
    files: Files
    #: Batch jobs.
    batch_jobs: BatchJobs

    def __init__(
        self,
        api_key: str | Secret | None = None,
        endpoint: str | None = None,
        self_hosted: bool = False,
        use_path_with_custom_endpoint: bool = False,
        *,
        callback_receiver: CallbackReceiver | None = None,
        connection: ConnectionSettings | None = None,
        retry: RetryPolicy | None = None,
        limits: LaunchLimits | None = None,
    ) -> None:
        self._connection = connection or ConnectionSettings()
        if api_key is not None:  # an empty one is a mistake, and no leave to take another one
            checked_launch_key(api_key)
        self._key, address = resolve_launch(api_key=api_key, endpoint=endpoint, environment=os.environ)
        self._pair = basic_auth(self._key.reveal(), "")
        allow_http = self._connection.allow_http
        self._root = launch_root(address, use_path=use_path_with_custom_endpoint, allow_http=allow_http)
        bare = launch_root(address, use_path=False, allow_http=allow_http).removesuffix("/v1/launch")
        self._old_root = f"{bare}/v1/hosted_inference"
        self._retry, self._limits, self._receiver = retry or RetryPolicy(), limits or LaunchLimits(), callback_receiver
        self._state, self._lifetime, self._uses = None, None, Uses("LaunchClient")
        self.files, self.batch_jobs = Files(self), BatchJobs(self)

    def __repr__(self) -> str:
        return f"<LaunchClient, {'not open' if self._state is None else f'open on {self._root}'}>"

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        home = Vicinity.of(self._root, self._connection.allow_hosts)
        slow = attrs.evolve(self._connection, head_seconds=self._limits.predict_seconds)
        with lone_error_unwrapped():
            async with (
                self._open_json(self._connection, QUICK_CALLS + self._limits.polls_at_once, home) as quick,
                self._open_json(slow, _MOST_SOCKETS, home) as patient,
                open_fetcher(self._connection, home=home) as fetcher,
                trio.open_nursery() as nursery,
            ):
                poller = Poller(self._ask_once, self._retry, random.random, self._limits.polls_at_once)
                receiver = None
                if self._receiver is not None:
                    receiver = await nursery.start(open_receiver, self._receiver, poller.announce)
                self._state = OpenState(
                    quick,
                    trio.Semaphore(QUICK_CALLS),
                    patient,
                    fetcher,
                    self._connection,
                    nursery,
                    poller,
                    receiver,
                    self._limits.idle_seconds,
                    self._limits.largest_event,
                )
                nursery.start_soon(poller.run)
                try:
                    yield
                finally:
                    self._state = None
                    self._uses.end()
                nursery.cancel_scope.cancel()

    def _open_json(
        self, settings: ConnectionSettings, sockets: int, home: Vicinity
    ) -> AbstractAsyncContextManager[JsonClient]:
        return open_json_client(
            self._root,
            self._key,
            key_header=api.KEY_HEADER,
            header_value=self._pair,
            settings=settings,
            policy=self._retry,
            max_connections=sockets,
            vicinity=home,
        )

    @property
    def open_state(self) -> OpenState:
        """What is open; for the parts of this package.

        Raises:
            trio.ClosedResourceError: Outside the client's block.
        """
        if self._state is None:
            raise trio.ClosedResourceError("this LaunchClient is used outside its `async with` block")
        return self._state

    @contextmanager
    def in_use(self) -> Iterator[OpenState]:
        """Give what is open, and end the block with `trio.ClosedResourceError` when the client is closed meanwhile."""
        state = self.open_state
        with self._uses.one():
            yield state

    @property
    def http_client(self) -> httpx.AsyncClient:
        """The HTTP client below: relative URLs go to the service, with the key.

        Other origins never get the key, and of the headers that you give they get Accept, Range and their like only;
        so does the service where another origin has sent a request back to it.
        """
        return self.open_state.quick.http_client

    @property
    def fetch(self) -> Fetch:
        """How bytes are fetched from URLs that the service gives: without the key. For `download_many`."""
        return self.open_state.fetcher.fetch

    async def ask(self, call: api.Call[M], *, at_old_root: bool = False) -> M:
        """Make one call of the API and read its answer; for the parts of this package."""
        answer: JsonAnswer | None = None
        with self.in_use() as state:
            client = attrs.evolve(state.quick, root=self._old_root) if at_old_root else state.quick
            sent = self.sent(None if call.body is None else json_text(call.body), JSON)
            answer = await state.call(client, call, sent)
        assert answer is not None  # noqa: S101 (else in_use has raised)
        if call.method == "DELETE" and answer.document is None:
            answer = attrs.evolve(answer, document={})
        return from_wire(call.kind, answer, method=call.method)

    def sent(
        self,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[Secret] = (),
    ) -> Sent:
        """Describe what goes along with a request, and what of it an error must not repeat; for this package's parts.

        The service's 429 comes before it does anything: it has too many requests under way.
        """
        return Sent(content, {} if content is None else headers or {}, repeats_429=True, secrets=(self._pair, *secrets))

    # Endpoints

    async def get_model_endpoint(self, name: str) -> SyncEndpoint | AsyncEndpoint | StreamingEndpoint:
        """Return an endpoint by its name, or by its id, which also finds public ones of other teams.

        Raises:
            NotFoundError: If there is none.
            MalformedResponseError: If it is of a type that this version does not know.
        """
        found = await self.find_named(name)
        asked_name = None if found is None else name
        if found is None and name.startswith("end_"):
            found = await self.ask(api.endpoint(name))
        if found is None:
            raise self._no_endpoint(name)
        kind = KINDS.get(found.endpoint_type)
        if kind is None:
            problem = f"an endpoint type that this version does not know: {found.endpoint_type!r} @ $.endpoint_type"
            raise MalformedResponseError("GET", f"{self._root}/v1/model-endpoints", (problem,))
        made = kind(found, self, asked_name)
        assert isinstance(made, SyncEndpoint | AsyncEndpoint | StreamingEndpoint)  # noqa: S101 (there is no fourth)
        return made

    async def list_model_endpoints(self, order_by: str | None = None) -> Sequence[Endpoint]:
        """Return all endpoints of the key's team; one of an unknown type can be looked at and not asked.

        Args:
            order_by: ``newest`` or ``oldest`` first; without it as the service likes.
        """
        found = (await self.ask(api.endpoints(order_by=order_by))).model_endpoints
        return [KINDS.get(each.endpoint_type, Endpoint)(each, self, each.name) for each in found]

    async def find_named(self, name: str) -> ModelEndpoint | None:
        """Look an endpoint of the team up by its name; for the parts of this package."""
        found = (await self.ask(api.endpoints(name=name))).model_endpoints if name.strip() else ()
        return found[0] if found else None

    async def renewed(self, name: str) -> ModelEndpoint:
        """Look an endpoint up by its name, once more; for the parts of this package.

        Raises:
            NotFoundError: If there is none any more.
        """
        found = await self.find_named(name)
        if found is None:
            raise self._no_endpoint(name)
        return found

    def _no_endpoint(self, name: str) -> NotFoundError:
        return NotFoundError("GET", f"{self._root}/v1/model-endpoints", 200, "", f"there is no endpoint {name!r}")

    # Predictions

    async def predict_sync(self, endpoint: Endpoint, request: EndpointRequest) -> EndpointResponse:
        """Do what `SyncEndpoint.predict` does."""
        sent = self.sent(json_text(request.payload(is_async=False)), {**request.extra_headers, **JSON})
        answer: JsonAnswer | None = None
        with self.in_use() as state:
            answer = await endpoint.with_id(lambda found: state.patient.call("POST", api.SYNC_TASKS, _of(found), sent))
        assert answer is not None  # noqa: S101 (else in_use has raised)
        told, raw = self._read(answer, "POST", answer.url)
        return EndpointResponse.of(told, client=self, raw=raw, endpoint_name=endpoint.name)

    async def predict_async(self, endpoint: Endpoint, request: EndpointRequest) -> EndpointResponseFuture:
        """Do what `AsyncEndpoint.predict` does."""
        payload = request.payload(is_async=True)
        is_announced = False
        answer: JsonAnswer | None = None
        with self.in_use() as state:
            secrets = request.secrets
            has_own = request.callback_url is not None or request.callback_auth_kind is not None
            if state.receiver is not None and not has_own and endpoint.model_endpoint.sends_callbacks:
                payload |= state.receiver.payload
                is_announced, secrets = True, state.receiver.secrets
            sent = self.sent(json_text(payload), {**request.extra_headers, **JSON}, secrets)
            answer = await endpoint.with_id(lambda found: state.call(state.quick, api.new_task(found), sent))
        assert answer is not None  # noqa: S101 (else in_use has raised)
        task_id = from_wire(TaskCreated, answer, method="POST").task_id.reveal()
        watch = self.open_state.poller.watch(task_id, endpoint.name, is_announced=is_announced)
        return EndpointResponseFuture(self, endpoint.name, task_id, watch)

    @asynccontextmanager
    async def open_events(self, endpoint: Endpoint, request: EndpointRequest) -> AsyncIterator[Streamed]:
        """Open the answer of a streaming endpoint; for `StreamingEndpoint.predict`."""
        headers = {**request.extra_headers, **JSON, "Accept": "text/event-stream", "Cache-Control": "no-store"}
        sent = self.sent(json_text(request.payload(is_async=False)), headers)
        streamed: Streamed | None = None
        async with AsyncExitStack() as stack:
            with self.in_use() as state:
                streamed = await endpoint.with_id(
                    lambda found: stack.enter_async_context(
                        state.patient.open_stream("POST", api.STREAMING_TASKS, _of(found), sent)
                    )
                )
            assert streamed is not None  # noqa: S101 (else in_use has raised)
            yield streamed

    def future(self, endpoint_name: str, async_task_id: str) -> EndpointResponseFuture:
        """Make the future of a task again, of which another program, or an earlier run of this one, knows the id.

        Raises:
            ConfigurationError: If the id cannot be one.
            trio.ClosedResourceError: Outside the client's block.
        """
        api.task_path(async_task_id)
        watch = self.open_state.poller.watch(async_task_id, endpoint_name, is_new=False)
        return EndpointResponseFuture(self, endpoint_name, async_task_id, watch)

    def future_of(self, outcome: TrioNormanError) -> EndpointResponseFuture | None:
        """Return the future of the task that an outcome of `predict_many` has left without an answer.

        The task goes on at the service: ask again, in this program or, by the future's name and id, in another one.
        None if there is no task to ask for: it was never made, or whether it was is not known.

        Raises:
            trio.ClosedResourceError: Outside the client's block.
        """
        task = task_of(outcome)
        return None if task is None else self.future(*task)

    async def _ask_once(self, task_id: str) -> Told:
        shown = f"{self._root}/{api.ASYNC_TASKS}/<task id>"  # whoever knows the id can read the answer
        failure: TrioNormanError | None = None
        try:
            answer = await self.open_state.quick.attempt("GET", api.task_path(task_id), None, self.sent())
        except (TransportError, ServiceError, MalformedResponseError, LimitExceededError) as error:
            failure = attrs.evolve(error, url=shown)
        if failure is not None:
            raise failure
        return self._read(answer, "GET", shown)

    def _read(self, answer: JsonAnswer, method: str, url: str) -> Told:
        problem = ""
        try:
            return read_answer(answer.document), answer.document
        except ValueError as error:
            problem = str(error)
        for secret in (self._key, self._pair):
            problem = problem.replace(secret.reveal(), "<redacted>")
        raise MalformedResponseError(method, url, (problem,), answer.request_id)

    # What is downloaded

    async def model_download(self, model_name: str, download_format: str = "hugging_face") -> Sequence[Source]:
        """Return the files of a fine-tuned model as sources for `download_many`.

        Their signed URLs are good for an hour; the engine has them renewed here, all by one call, when they expire.

        Raises:
            NotFoundError: If there is no such model.
            MalformedResponseError: If the answer cannot be read.
        """
        return await model_sources(self, model_name, download_format, service=self._root)


def json_text(body: Any) -> bytes:
    """Return a request's body."""
    return encoded(body, what="the request")


def _of(endpoint_id: str) -> dict[str, str | int]:
    return {"model_endpoint_id": endpoint_id}
