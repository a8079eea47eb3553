"""Nurseries that an object owns for its user, and what comes and goes with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from types import TracebackType
from typing import ClassVar, Self, TypeVar

import attrs
import trio

T = TypeVar("T")


@attrs.define(eq=False)
class Uses:
    """The calls of a client that are under way: whatever still waits ends when the client is closed."""

    name: str
    _scopes: set[trio.CancelScope] = attrs.field(init=False, factory=set)

    def one(self) -> Use:
        """Return a block that counts as a call. It raises `trio.ClosedResourceError` if the client is closed before."""
        return Use(self)

    def begin(self, scope: trio.CancelScope) -> None:
        """Count a call, which `end` cancels."""
        self._scopes.add(scope)

    def finish(self, scope: trio.CancelScope) -> None:
        """Count it no more."""
        self._scopes.discard(scope)

    def end(self) -> None:
        """End every call."""
        for scope in self._scopes:
            scope.cancel()


class Use(AbstractContextManager[None]):
    """The block of one call; a generator would do, at twice the price."""

    def __init__(self, uses: Uses) -> None:
        self._uses, self._scope = uses, trio.CancelScope()

    def __enter__(self) -> None:
        self._uses.begin(self._scope)
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """End the block.

        Raises:
            trio.ClosedResourceError: If the client was closed meanwhile.
        """
        self._uses.finish(self._scope)
        is_over = self._scope.__exit__(kind, error, traceback)
        if self._scope.cancelled_caught:
            raise trio.ClosedResourceError(f"the {self._uses.name} was closed meanwhile")
        return is_over


@attrs.define(eq=False, repr=False)
class Block(ABC):
    """What is open for as long as an ``async with`` block lasts, and says what is wrong with another one inside it."""

    _AGAIN: ClassVar[str]  # the error of entering it while it is entered, or once more
    _lifetime: AbstractAsyncContextManager[None] | None = attrs.field(init=False, default=None)

    @abstractmethod
    def _live(self) -> AbstractAsyncContextManager[None]:
        """Return the block itself."""

    async def __aenter__(self) -> Self:
        if self._lifetime is not None:
            raise RuntimeError(self._AGAIN)
        self._lifetime = self._live()
        await self._lifetime.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._lifetime is not None  # noqa: S101 (entered before it is left)
        return await self._lifetime.__aexit__(kind, error, traceback)  # noqa: ASYNC102 (the nursery's own end)


@contextmanager
def lone_error_unwrapped(foremost: Callable[[list[BaseException]], BaseException] | None = None) -> Iterator[None]:
    """Take off the one exception group that a nursery of ours has put around an error.

    A group that holds a single error besides `trio.Cancelled` becomes that error. Of several, `foremost` picks the one
    to raise; without it the group stays.
    """
    picked: BaseException
    try:
        yield
        return
    except BaseExceptionGroup as group:
        _, rest = group.split(trio.Cancelled)
        real = [] if rest is None else list(rest.exceptions)
        if not real or (len(real) > 1 and foremost is None):
            raise
        picked = real[0] if foremost is None or len(real) == 1 else foremost(real)
        before = picked.__context__
        try:
            raise picked
        finally:
            picked.__context__ = before  # else the group would stay in sight as what the error came from
            del picked, real


async def handed(send: trio.MemorySendChannel[T], item: T) -> None:
    """Send, and go on at once if somebody waits for it: a turn of Trio's loop less than `send` alone takes.

    This is no checkpoint then: only for tasks that wait for something else in each round.
    """
    try:
        send.send_nowait(item)
    except trio.WouldBlock:
        await send.send(item)


async def each(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """Go through any iterable of items; an asynchronous generator is closed at the end."""
    if isinstance(items, AsyncIterable):
        iterator = aiter(items)
        try:
            async for item in iterator:
                yield item
        finally:
            if isinstance(iterator, AsyncGenerator):  # left to the garbage collector it would be closed somewhen
                await iterator.aclose()
    else:
        for item in items:
            yield item
