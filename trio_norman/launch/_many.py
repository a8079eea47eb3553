"""Many requests at once: a fixed number of tasks, and answers in order of completion."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Self

import attrs
import trio

from .._lifetimes import each, handed, lone_error_unwrapped
from ..errors import ConfigurationError, TrioNormanError
from ._requests import EndpointRequest
from ._responses import EndpointResponse

#: What became of one request: a response, the responses of a stream, or the error in their place.
Outcome = EndpointResponse | tuple[EndpointResponse, ...] | TrioNormanError
Answer = tuple[EndpointRequest, Outcome]


@attrs.define(eq=False)
class Answers:
    """Requests with what became of them: an asynchronous iterator that ends with the last one.

    After its block it raises `trio.ClosedResourceError`, and so does whoever waits for it then.
    """

    _receive_answer: trio.MemoryReceiveChannel[Answer]
    _is_closed: bool = attrs.field(init=False, default=False)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Answer:
        try:
            return await self._receive_answer.receive()
        except trio.EndOfChannel:
            if not self._is_closed:
                raise StopAsyncIteration from None
        raise trio.ClosedResourceError("these answers are iterated after their block")

    def close(self) -> None:
        """Say that what comes now is not the end; for `answer_many`."""
        self._is_closed = True


@asynccontextmanager
async def answer_many(
    requests: Iterable[EndpointRequest] | AsyncIterable[EndpointRequest],
    answer: Callable[[EndpointRequest], Awaitable[Outcome]],
    at_once: int,
) -> AsyncIterator[Answers]:
    """Answer requests on `at_once` tasks, which exist for as long as the block."""
    with lone_error_unwrapped():
        async with trio.open_nursery() as nursery:
            send_request, receive_request = trio.open_memory_channel[EndpointRequest](0)
            send_answer, receive_answer = trio.open_memory_channel[Answer](0)
            nursery.start_soon(_deal, requests, send_request, send_answer.clone())
            with send_answer:
                for _ in range(at_once):
                    nursery.start_soon(_answer_each, answer, receive_request, send_answer.clone())
            answers = Answers(receive_answer)
            try:
                yield answers
            finally:
                answers.close()
            nursery.cancel_scope.cancel()


async def _deal(
    requests: Iterable[EndpointRequest] | AsyncIterable[EndpointRequest],
    send_request: trio.MemorySendChannel[EndpointRequest],
    send_answer: trio.MemorySendChannel[Answer],
) -> None:
    seen: set[bytes] = set()
    with send_request, send_answer:
        async with aclosing(each(requests)) as every:
            async for request in every:
                mark = hashlib.blake2b(request.request_id.encode("utf-8", "surrogatepass"), digest_size=12).digest()
                if mark in seen:
                    refused = ConfigurationError("another request of the batch has this request_id", "make them unique")
                    await send_answer.send((request, refused))
                    continue
                seen.add(mark)
                await send_request.send(request)


async def _answer_each(
    answer: Callable[[EndpointRequest], Awaitable[Outcome]],
    receive_request: trio.MemoryReceiveChannel[EndpointRequest],
    send_answer: trio.MemorySendChannel[Answer],
) -> None:
    with send_answer:
        async for request in receive_request:
            try:
                outcome = await answer(request)
            except TrioNormanError as error:
                outcome = error
            await handed(send_answer, (request, outcome))
