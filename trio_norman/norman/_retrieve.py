"""``norman.retrieve``: the bytes that the service keeps, as streams and as files."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

import attrs
import trio

from .._lifetimes import Block
from .._sansio.redaction import Secret
from .._sansio.retrying import News, RetryBudget
from .._wire._fetching import Answer
from ..errors import (
    InterruptedTransferError,
    ProtocolError,
    ServiceError,
    SlowTransferError,
    TransportError,
)
from ..transfer import DownloadResult, Fetch, Link, Source, download_many
from ..transfer._model import Options
from . import _calls as api
from ._services import Service
from ._session import Session


@attrs.define(eq=False, repr=False)
class Retrieval(Block):
    """The bytes of one asset, input or output: nothing is asked for before it is entered, read or saved.

    ::

        async with norman.retrieve.get_model_asset(None, account_id, model_id, asset_id) as stream:
            print(stream.size_bytes)
            async for chunk in stream: ...

    It lives as long as its `Norman`, and may be entered again.
    """

    _AGAIN = "this stream is open already; get another one for a second reader"

    path: str
    name: str
    _session: Session
    _token: Secret | None = None
    _answer: Answer | None = attrs.field(init=False, default=None)
    _chunks: AsyncIterator[bytes] | None = attrs.field(init=False, default=None)
    _is_broken: bool = attrs.field(init=False, default=False)

    def __repr__(self) -> str:
        return f"<Retrieval of {self.name!r}, {'not open' if self._answer is None else 'open'}>"

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer, names in lower case; while it is open."""
        return dict(self._open_answer().headers)

    @property
    def size_bytes(self) -> int | None:
        """How many bytes were announced, None if nobody said so; while it is open."""
        told = self.headers.get("content-length", "")
        return int(told) if told.isascii() and told.isdigit() else None

    async def __aenter__(self) -> Self:
        """Ask for the bytes.

        Raises:
            TransportError: No whole head came, within the retry policy.
            ServiceError: The service said no; a token of the client's own is renewed once.
        """
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            return await super().__aexit__(kind, error, traceback)  # noqa: ASYNC102 (it waits for nobody)
        finally:
            self._lifetime = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes.

        Raises:
            InterruptedTransferError: The connection ended before the body did, or reading was broken off before.
            SlowTransferError: Nothing came for the time limit on silence.

        Cancellation: the rest of the body is lost; enter the stream again, which begins at its start.
        """
        answer = self._open_answer()
        if self._is_broken:  # its generator is over, which would look like the end of the body
            raise InterruptedTransferError("GET", answer.url, "reading it failed or was cancelled before")
        is_through = False
        try:
            chunk = await self._next_chunk(answer)
            is_through = True
        finally:
            self._is_broken = not is_through
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def _next_chunk(self, answer: Answer) -> bytes | None:
        assert self._chunks is not None  # noqa: S101 (as long as there is an answer)
        limit = self._session.stall.seconds
        with trio.move_on_after(limit):
            chunk = await anext(self._chunks, None)
            while chunk is not None and not chunk:
                chunk = await anext(self._chunks, None)
            return chunk
        raise SlowTransferError("GET", answer.url, f"nothing came for {limit:g} s")

    async def read(self) -> bytearray:
        """Return all bytes, over several attempts if need be; raises what entering and iterating raise."""
        budget, news = RetryBudget(self._session.policy), News()
        while True:
            body = bytearray()
            try:
                async with Retrieval(self.path, self.name, self._session, self._token) as stream:
                    async for chunk in stream:
                        body += chunk
                return body
            except (InterruptedTransferError, SlowTransferError) as error:
                budget.advance(news.count(len(body)), size=None)  # bytes that come once more are no progress
                news.begin_anew()
                wait = budget.after(error, now=trio.current_time(), jitter=random.random())
                if wait is None:
                    error.attempts = budget.failures
                    raise
            await trio.sleep(wait)

    async def save(self, path: Path | str, **options: Unpack[Options]) -> DownloadResult:
        """Save the bytes under a path: beside it first, verified, and renamed in the end; it can be resumed.

        Raises:
            TransferError: The file could not be brought home.
            TrioNormanError: What asking for the bytes raises.
        """
        target, results = Path(path), list[DownloadResult]()
        options["fail_fast"] = True
        with self._session.in_use():
            async with download_many(
                [self.source(target.name)], target.parent, 1, fetch=self._fetch, **options
            ) as batch:
                async for result in batch:
                    results.append(result)
        return results[0]

    def source(self, name: str, item: object = None) -> Source:
        """Describe the bytes to the engine that brings files home."""
        link = Link(Secret(self._url))

        async def same_link() -> Link:
            return link

        return Source(name, same_link, self._url, item=self if item is None else item, is_renewable=False)

    @property
    def _url(self) -> str:
        return f"{self._session.root}/{self.path}"

    @property
    def _fetch(self) -> Fetch:
        return self._session.fetch if self._token is None else self._session.fetch_with(self._token)

    def _open_answer(self) -> Answer:
        if self._answer is None:
            raise trio.ClosedResourceError("this stream is used outside its `async with` block")
        return self._answer

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        with self._session.in_use():
            async with AsyncExitStack() as stack:
                answer = await self._asked(stack)
                encoding = dict(answer.headers).get("content-encoding", "identity")
                if encoding.lower() != "identity":
                    raise ProtocolError("GET", answer.url, "the answer is encoded although identity was asked for")
                chunks = answer.chunks()
                await stack.enter_async_context(aclosing(chunks))
                self._answer, self._chunks, self._is_broken = answer, chunks, False
                try:
                    yield
                finally:
                    self._answer = self._chunks = None

    async def _asked(self, stack: AsyncExitStack) -> Answer:
        budget = RetryBudget(self._session.policy)
        while True:
            try:
                return await stack.enter_async_context(self._fetch(Secret(self._url)))
            except (TransportError, ServiceError) as error:
                wait = budget.after(error, now=trio.current_time(), jitter=random.random())
                if wait is None:
                    error.attempts = budget.failures
                    raise
            await trio.sleep(wait)


class Retrieve(Service):
    """The bytes of inputs, outputs and assets.

    The ids of account and model are those of the invocation or the model, not of the single input, output or asset.
    `token` is an access token of your own; with None the client's own is used, and renewed when it is refused.
    """

    def get_model_asset(self, token: str | Secret | None, account_id: str, model_id: str, asset_id: str) -> Retrieval:
        """Return the bytes of a model's asset, to be entered, read or saved.

        Raises:
            ConfigurationError: If an id cannot be one.
        """
        return self._retrieval(token, api.model_asset(account_id, model_id, asset_id), asset_id)

    def get_invocation_input(
        self, token: str | Secret | None, account_id: str, model_id: str, invocation_id: str, input_id: str
    ) -> Retrieval:
        """Return the bytes of an input; raises as `get_model_asset`."""
        path = api.invocation_input(account_id, model_id, invocation_id, input_id)
        return self._retrieval(token, path, input_id)

    def get_invocation_output(
        self, token: str | Secret | None, account_id: str, model_id: str, invocation_id: str, output_id: str
    ) -> Retrieval:
        """Return the bytes of an output; raises as `get_model_asset`."""
        path = api.invocation_output(account_id, model_id, invocation_id, output_id)
        return self._retrieval(token, path, output_id)

    def _retrieval(self, token: str | Secret | None, path: str, name: str) -> Retrieval:
        return Retrieval(path, name, self._session(), None if token is None else Secret(token))
