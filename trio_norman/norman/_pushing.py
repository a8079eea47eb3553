"""One body on its way to the service: pair, encrypt and send, tell the checksum; and all of that again if need be."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from .._sansio.retrying import RetryBudget
from ..errors import (
    ChecksumMismatchError,
    MalformedResponseError,
    ServiceError,
    SourceChangedError,
    TransportError,
)
from ..transfer._outgoing import Body
from . import _calls as api
from ._models import ChecksumRequest, SocketPairingResponse
from ._session import Session
from ._socket import open_push_connection

if TYPE_CHECKING:
    from .._sansio.frames import PushFrames, PushKeys

_BLOCK = 2**19  # bytes that are read, encrypted and sent at once: they stay in the cache of a processor
_REFUSED = frozenset({400, 409, 422})  # with which the service says that it has received something else

OpenBody = Callable[[], AbstractAsyncContextManager[Body]]


@attrs.define(eq=False)
class Push:
    """What is to be pushed and to where.

    Args:
        pair: Describes the pairing for a body of so many bytes; it is asked for anew for every connection, so that no
            key is ever used twice.
        is_taken: Asks the service whether it has the body, for when its answer to the checksum was lost.
        note: Told how many bytes of the body have been sent by now; it goes back to 0 when all begins anew.
    """

    session: Session
    open_body: OpenBody
    pair: Callable[[int], api.Call[SocketPairingResponse]]
    is_taken: Callable[[], Awaitable[bool]]
    note: Callable[[int, int], None] = lambda sent, size: None
    _budget: RetryBudget = attrs.field(init=False)
    _has_changed: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._budget = RetryBudget(self.session.policy)

    async def run(self) -> str:
        """Push until the service has the body; return its checksum.

        Raises:
            ChecksumMismatchError: If the service has received something else, twice.
            SourceChangedError: If the source changed while it was being sent, twice.
            TransportError: If no connection lasted, within the retry policy.
            ServiceError: If the service refuses.
            MalformedResponseError: If a pairing is none.

        Cancellation: the connection is dropped; the service keeps nothing of it.
        """
        while True:
            try:
                async with self.open_body() as body:
                    return await self._until_it_is_there(body)
            except SourceChangedError:
                if self._has_changed:
                    raise
                self._has_changed = True

    async def _until_it_is_there(self, body: Body) -> str:
        while True:
            pairing, keys = await self._paired(body.size)
            try:
                checksum = await self._send(pairing, keys, body)
                await self._complete(body, ChecksumRequest(pairing_id=pairing.pairing_id, checksum=checksum))
                return checksum
            except (TransportError, ServiceError, ChecksumMismatchError) as error:
                wait = self._budget.after(error, now=trio.current_time(), jitter=random.random())
                if wait is None:
                    if isinstance(error, TransportError | ServiceError):
                        error.attempts = self._budget.failures
                    raise
            await trio.sleep(wait)

    async def _paired(self, size: int) -> tuple[SocketPairingResponse, PushKeys]:
        from .._sansio.frames import read_keys  # brings in the cipher, which programs that never push do without

        call = self.pair(size)
        pairing, answer = await self.session.ask_fully(call)
        problem = _problem_of(pairing)
        if not problem:
            try:
                return pairing, read_keys(
                    encryption_key=pairing.encryption_key,
                    nonce=pairing.nonce,
                    authentication_header=pairing.authentication_header,
                )
            except ValueError as error:
                problem = str(error)
        raise MalformedResponseError(call.method, answer.url, (problem,), answer.request_id)

    async def _send(self, pairing: SocketPairingResponse, keys: PushKeys, body: Body) -> str:
        from .._sansio.frames import PushFrames

        session = self.session
        frames = PushFrames(keys, body.size)
        opening = open_push_connection(
            pairing.host,
            pairing.port,
            vicinity=session.signed.vicinity,
            settings=session.settings,
            silence=session.stall.seconds,
            limiter=session.senders,
        )
        header_bytes = len(keys.header)

        def note(sent: int) -> None:
            self.note(max(0, sent - header_bytes), body.size)

        async with opening as connection:
            note(0)
            await connection.send_each(partial(_fill, frames, body), min(_BLOCK, header_bytes + body.size), note)
        if not frames.is_complete:
            raise SourceChangedError(body.name, f"it ended after {frames.taken} of {body.size} bytes")
        await trio.to_thread.run_sync(body.check)
        self.note(body.size, body.size)
        return frames.checksum()

    async def _complete(self, body: Body, request: ChecksumRequest) -> None:
        failure: TransportError | ServiceError
        try:
            await self.session.ask_fully(api.complete(request))
            return
        except ServiceError as error:
            if error.status in _REFUSED:
                checksum, said = request.checksum, error.message or f"status {error.status}"
                raise ChecksumMismatchError(body.name, said, "xxh3-64", "something else", checksum) from error
            if error.status < 500:
                raise
            failure = error
        except TransportError as error:
            failure = error
        if not await self.is_taken():  # else it has acted, and only its answer was lost
            raise failure


def _problem_of(pairing: SocketPairingResponse) -> str:
    if not 1 <= pairing.port <= 65535:
        return "no TCP port @ $.port"
    host = pairing.host
    if not host or not host.isprintable() or any(each in host for each in " /@?#[]") or len(host) > 253:
        return "no host name or address @ $.host"
    return ""


def _fill(frames: PushFrames, body: Body, room: memoryview) -> int:
    """Read the next bytes of a body and encrypt them where they lie; the header goes before the first of them."""
    header = frames.start()
    room[: len(header)] = header
    plain = room[len(header) : len(header) + body.size - frames.taken]
    plain = plain[: body.read_into(frames.taken, plain)]  # a body may end earlier than it should
    return len(header) + frames.encrypt(plain, plain)
