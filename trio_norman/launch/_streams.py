"""`EndpointResponseStream`: the answers of a streaming endpoint, while they come."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

import attrs
import trio

from .._sansio.jsontext import decode_json
from .._sansio.sse import SseDecoder, SseEvent, SseTooLargeError
from .._sansio.tasks import read_answer
from .._wire._streaming import Chunks, Streamed
from ..errors import (
    InterruptedTransferError,
    LimitExceededError,
    MalformedResponseError,
    ProtocolError,
    UndecodableResponseError,
)
from ._responses import EndpointResponse

if TYPE_CHECKING:
    from ._client import LaunchClient

_END_MARK = "[DONE]"  # the service sends none; gateways in front of it do


@attrs.define(eq=False)
class EndpointResponseStream:
    """The responses of one streaming prediction: an asynchronous iterator, to be used inside its block.

    The service marks no end: the end of the body is the end, and a model that dies in between looks like one that is
    done. What can be told apart is told: a connection that breaks, and a stream that ends inside an event, raise
    `InterruptedTransferError`. Where it matters, let your model send a last event of its own.
    """

    endpoint_name: str
    _client: LaunchClient = attrs.field(repr=False)
    _streamed: Streamed = attrs.field(repr=False)
    _chunks: Chunks = attrs.field(repr=False)
    _decoder: SseDecoder = attrs.field(repr=False)
    _events: deque[SseEvent] = attrs.field(init=False, factory=deque, repr=False)
    _is_over: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        kind = self._streamed.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self._streamed.status == 204:
            self._is_over = True
        elif kind != "text/event-stream":
            raise ProtocolError(
                "POST", self._streamed.url, f"a stream of events was asked for, {kind or 'nothing'} came"
            )
        elif self._streamed.headers.get("content-encoding", "identity").lower() != "identity":
            raise ProtocolError("POST", self._streamed.url, "the stream is encoded although identity was asked for")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EndpointResponse:
        """Give the next response.

        Raises:
            SlowTransferError: If the service gave no sign of life for the idle limit; its pings are some.
            InterruptedTransferError: If the connection ended early, or the stream inside an event.
            LimitExceededError: If an event is larger than the limit.
            MalformedResponseError: If an event cannot be read.

        Cancellation: nothing is lost; iterate on.
        """
        if self._events or self._is_over:
            await trio.lowlevel.checkpoint()
        while not self._events:
            if self._is_over:
                raise StopAsyncIteration
            await self._read_on()
        return self._response(self._events.popleft())

    async def _read_on(self) -> None:
        self._client.open_state  # noqa: B018 (it raises once the client is closed)
        chunk = self._chunks.receive_nowait()  # of a busy stream there is nearly always more, and scopes cost
        if chunk is not None:
            self._take(chunk)
            await trio.lowlevel.checkpoint()
            return
        with self._client.in_use():
            chunk = await self._chunks.receive()
        self._take(chunk)

    def _take(self, chunk: bytes | None) -> None:
        if chunk is None:
            self._is_over = True
            if self._decoder.is_inside_event:
                raise InterruptedTransferError("POST", self._streamed.url, "the stream ended inside an event")
            return
        try:
            self._events.extend(self._decoder.feed(chunk))
        except SseTooLargeError:
            self._is_over = True
            raise LimitExceededError("POST", self._streamed.url, "an event", self._decoder.largest) from None

    def _response(self, event: SseEvent) -> EndpointResponse:
        if event.data.strip() == _END_MARK:
            self._is_over = True
            self._events.clear()
            raise StopAsyncIteration
        problem = ""
        try:
            document = decode_json(event.data.encode("utf-8", "surrogatepass"))
        except ValueError as error:
            problem = f"{error} @ event"
        if problem:
            self._is_over = True
            # What it holds may be anything, signed URLs too: it is not shown.
            raise UndecodableResponseError("POST", self._streamed.url, (problem, f"{len(event.data)} characters"))
        try:
            answer = read_answer(document)
        except ValueError as error:
            problem = str(error)
        if problem:
            self._is_over = True
            raise MalformedResponseError("POST", self._streamed.url, (problem,))
        return EndpointResponse.of(answer, client=self._client, raw=document, endpoint_name=self.endpoint_name)
