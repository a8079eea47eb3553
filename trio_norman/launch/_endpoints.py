"""The three kinds of endpoints, and how each is asked."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

from .._sansio.sse import SseDecoder
from ..errors import EndpointTimeoutError, NotFoundError, TrioNormanError
from . import _api as api
from ._futures import EndpointResponseFuture, note_task
from ._many import Answers, Outcome, answer_many
from ._models import DeploymentState, EndpointStatus, ModelEndpoint, ResourceState
from ._requests import EndpointRequest
from ._responses import EndpointResponse
from ._streams import EndpointResponseStream

if TYPE_CHECKING:
    from ._client import LaunchClient

T = TypeVar("T")
Requests = Iterable[EndpointRequest] | AsyncIterable[EndpointRequest]


@attrs.define(eq=False)
class Endpoint:
    """An endpoint that was found.

    Args:
        model_endpoint: What the service said of it when it was last looked up.
        client: Looks it up and asks it.
        asked_name: The name that it was found by: once its id is gone, the endpoint that has the name now takes its
            place. None for one that was found by its id, for whom nothing else can stand.
    """

    model_endpoint: ModelEndpoint = attrs.field(repr=lambda found: repr(found.name))
    client: LaunchClient = attrs.field(repr=False)
    asked_name: str | None = attrs.field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Its name."""
        return self.model_endpoint.name

    async def status(self) -> EndpointStatus | str | None:
        """Return how the deployment is now."""
        return (await self._renewed()).status

    async def resource_state(self) -> ResourceState | None:
        """Return what each worker has now; None while it is not known."""
        return (await self._renewed()).resource_state

    async def deployment_state(self) -> DeploymentState | None:
        """Return how many workers there are now; None while it is not known."""
        return (await self._renewed()).deployment_state

    async def _renewed(self) -> ModelEndpoint:
        self.model_endpoint = await self.with_id(lambda found: self.client.ask(api.endpoint(found)))
        return self.model_endpoint

    async def with_id(self, call: Callable[[str], Awaitable[T]]) -> T:
        """Make a call with the endpoint's id; if nothing has that any more, look the name up again, once.

        For the parts of this package.

        Raises:
            NotFoundError: If there is no such endpoint, under its id or the name that it was found by.
        """
        known = self.model_endpoint.id
        gone: NotFoundError | None = None
        try:
            return await call(known)
        except NotFoundError as error:
            gone = error
        if self.asked_name is None:
            raise gone
        if self.model_endpoint.id == known:  # else another call has looked it up meanwhile
            self.model_endpoint = await self.client.renewed(self.asked_name)
        if self.model_endpoint.id == known:
            gone.message = f"the endpoint {self.asked_name!r} is gone"
            raise gone
        return await call(self.model_endpoint.id)


@attrs.define(eq=False)
class PredictingEndpoint(Endpoint):
    """What endpoints of a known type have in common."""

    @abstractmethod
    async def _outcome(self, request: EndpointRequest, seconds: float) -> Outcome:
        """Return the answer to a request, or raise what stands in its place, after `seconds` at the latest."""

    async def _in_time(self, answer: Awaitable[Outcome], seconds: float) -> Outcome:
        with trio.move_on_after(seconds):
            return await answer
        raise EndpointTimeoutError(self.name, seconds)

    @asynccontextmanager
    async def predict_many(
        self,
        requests: Requests,
        max_in_flight: int = 64,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 (of each request, as in `EndpointResponseFuture.get`)
    ) -> AsyncIterator[Answers]:
        """Ask many things at once, and give the answers in order of completion.

        ::

            async with endpoint.predict_many(requests, max_in_flight=64) as answers:
                async for request, outcome in answers:
                    print(request.request_id, outcome)

        An outcome is an `EndpointResponse` (of a streaming endpoint a tuple of them), or the `TrioNormanError` that
        stands in its place: one bad request spoils no other. Whoever is slow in taking answers slows down the asking.
        No task is lost with its answer: `LaunchClient.future_of` gives the future behind an error.

        Args:
            requests: Taken only as fast as answers are; their `request_id` are all different.
            max_in_flight: Most requests without an answer at a time; at least 1.
            timeout: Seconds for each answer, above 0; one that takes longer has an `EndpointTimeoutError` for outcome.

        Raises:
            ValueError: If `max_in_flight` or `timeout` is out of its bounds.
            Exception: Whatever iterating over `requests` raises, as soon as it does.

        Cancellation: leaving the block stops asking. Tasks that were made already go on at the service.
        """
        if max_in_flight < 1 or (timeout is not None and not timeout > 0):
            raise ValueError("max_in_flight is at least 1, and timeout above 0 (or None)")

        async def answer(request: EndpointRequest) -> Outcome:
            return await self._outcome(request, math.inf if timeout is None else timeout)

        async with answer_many(requests, answer, max_in_flight) as answers:
            yield answers


@attrs.define(eq=False, repr=False)
class SyncEndpoint(PredictingEndpoint):
    """An endpoint that answers at once."""

    async def predict(self, request: EndpointRequest) -> EndpointResponse:
        """Ask, and return the answer.

        It is asked once: after a lost answer the model may have run.

        Raises:
            ConfigurationError: If the request has what synchronous endpoints do not obey; nothing was sent.
            TransportError: No whole answer came.
            NotFoundError: The endpoint is gone.
            ServiceError: The service refused.
            MalformedResponseError: The answer cannot be read.

        Cancellation: the model may run.
        """
        return await self.client.predict_sync(self, request)

    async def _outcome(self, request: EndpointRequest, seconds: float) -> Outcome:
        return await self._in_time(self.predict(request), seconds)


@attrs.define(eq=False, repr=False)
class AsyncEndpoint(PredictingEndpoint):
    """An endpoint that takes tasks and keeps their answers."""

    async def predict(self, request: EndpointRequest) -> EndpointResponseFuture:
        """Make a task, and return the future of its answer.

        It is asked once: after a lost answer the task may exist, and run. The service may run any task twice.

        Raises:
            ConfigurationError: If the request has what asynchronous endpoints do not obey; nothing was sent.
            TransportError: No whole answer came.
            NotFoundError: The endpoint is gone.
            ServiceError: The service refused.

        Cancellation: the task may have been made.
        """
        return await self.client.predict_async(self, request)

    async def _outcome(self, request: EndpointRequest, seconds: float) -> Outcome:
        future: EndpointResponseFuture | None = None
        try:
            with trio.move_on_after(seconds):
                future = await self.predict(request)
                return await future.get()
            raise EndpointTimeoutError(self.name, seconds, "" if future is None else future.last_status)
        except TrioNormanError as error:
            if future is not None:
                note_task(error, future)
            raise


@attrs.define(eq=False, repr=False)
class StreamingEndpoint(PredictingEndpoint):
    """An endpoint that answers in pieces."""

    @asynccontextmanager
    async def predict(self, request: EndpointRequest) -> AsyncIterator[EndpointResponseStream]:
        """Ask, and give the stream of responses; leaving the block closes its connection at once.

        Raises:
            ConfigurationError: If the request has what streaming endpoints do not obey; nothing was sent.
            TransportError: No answer came, or none that is a stream.
            NotFoundError: The endpoint is gone.
            ServiceError: The service refused: an error is never an empty stream.
            trio.ClosedResourceError: The client is closed, or is closed before the answer begins.

        Cancellation: the model may run.
        """
        state = self.client.open_state
        async with self.client.open_events(self, request) as streamed:
            async with streamed.open_chunks(idle_seconds=state.idle_seconds) as chunks:
                yield EndpointResponseStream(self.name, self.client, streamed, chunks, SseDecoder(state.largest_event))

    async def _outcome(self, request: EndpointRequest, seconds: float) -> Outcome:
        return await self._in_time(self._gathered(request), seconds)

    async def _gathered(self, request: EndpointRequest) -> tuple[EndpointResponse, ...]:
        opening: AbstractAsyncContextManager[EndpointResponseStream] = self.predict(request)
        async with opening as stream:
            return tuple([response async for response in stream])


KINDS: dict[Any, type[PredictingEndpoint]] = {
    "sync": SyncEndpoint,
    "async": AsyncEndpoint,
    "streaming": StreamingEndpoint,
}
