"""What all calls of one client share: its connections, its token, its limits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar, cast

import attrs
import trio

from .._lifetimes import Uses
from .._sansio.ranges import ByteRange
from .._sansio.redaction import Secret, without_secrets
from .._sansio.retrying import RetryPolicy
from .._sansio.stalling import StallLimit
from .._wire._asking import Asker
from .._wire._client import JsonAnswer, JsonClient, Sent, open_json_client
from .._wire._connecting import ConnectionSettings, new_transport
from .._wire._fetching import Answer, Fetcher
from .._wire._keys import KeyForOneOrigin
from ..errors import (
    AuthenticationError,
    ConfigurationError,
    LimitExceededError,
    MalformedResponseError,
    ServiceError,
    TransportError,
)
from ..transfer import Fetch
from . import _calls as api
from ._converter import from_wire
from ._models import LoginResponse
from ._tokens import Token, Tokens

T = TypeVar("T")

KEY_HEADER = "Authorization"
_MOST_SOCKETS = 1000  # of the pool; every batch keeps to its own, smaller limit
_HEADERS = {"Content-Type": "application/json"}


@attrs.define(eq=False)
class Session:
    """The open connections of one client."""

    root: str
    settings: ConnectionSettings
    policy: RetryPolicy
    stall: StallLimit
    uploads: trio.CapacityLimiter
    senders: trio.CapacityLimiter  # of the worker threads that encrypt and send, two for each upload
    nursery: trio.Nursery
    _key: Secret | None = None
    tokens: Tokens = attrs.field(init=False)
    signed: JsonClient = attrs.field(init=False)  # with the token
    anonymous: JsonClient = attrs.field(init=False)  # without
    _fetcher: Fetcher = attrs.field(init=False)
    is_open: bool = attrs.field(init=False, default=True)
    _uses: Uses = attrs.field(init=False, factory=lambda: Uses("Norman"))

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """End the block with `trio.ClosedResourceError` when the client is closed meanwhile."""
        if not self.is_open:
            raise trio.ClosedResourceError("this Norman is used outside its `async with` block")
        with self._uses.one():
            yield

    def close(self) -> None:
        """End everything that is under way."""
        self.is_open = False
        self._uses.end()

    async def ask(self, call: api.Call[T]) -> T:
        """Make one call and read its answer; a token that is refused is renewed once.

        Raises:
            TransportError: No whole answer came.
            ServiceError: The service said no.
            MalformedResponseError: The answer has another shape.
            trio.ClosedResourceError: The client is not open.
        """
        found: list[T] = []
        with self.in_use():
            found.append((await self.ask_fully(call))[0])
        return found[0]

    async def ask_fully(self, call: api.Call[T]) -> tuple[T, JsonAnswer]:
        """Do what `ask` does, and return the raw answer, too."""
        if not call.needs_token:
            return self._read(call, await self._send(self.anonymous, call, None))
        token = await self.tokens.current()
        try:
            return self._read(call, await self._send(self.signed, call, token))
        except AuthenticationError:
            await self.tokens.renew(token)
        return self._read(call, await self._send(self.signed, call, self.tokens.present))

    async def _send(self, client: JsonClient, call: api.Call[T], token: Token | None) -> JsonAnswer:
        sent = Sent(
            b"" if call.body is None else json.dumps(call.body, ensure_ascii=False, separators=(",", ":")).encode(),
            _HEADERS,
            is_repeatable=call.is_repeatable,
            awaits_nothing=call.kind is None,
            secrets=(*self._own_secrets(token), *call.secrets),
        )
        try:
            return await client.call(call.method, call.path, None, sent)
        except (TransportError, ServiceError, MalformedResponseError, LimitExceededError) as error:
            if call.shown_path:
                error.url = f"{self.root}/{call.shown_path}"
            raise

    def _own_secrets(self, token: Token | None) -> list[Secret]:
        return [secret for secret in (self._key, None if token is None else token.text) if secret is not None]

    def _read(self, call: api.Call[T], answer: JsonAnswer) -> tuple[T, JsonAnswer]:
        if call.kind is None:
            return cast(T, None), answer
        found = from_wire(call.kind, answer.document, method=call.method, url=answer.url, request_id=answer.request_id)
        return found, answer

    @asynccontextmanager
    async def fetch(
        self, url: Secret, span: ByteRange | None = None, if_range: str | None = None, /
    ) -> AsyncIterator[Answer]:
        """Ask for bytes that the service keeps, as `trio_norman.transfer.Fetch` wants it; with the token."""
        token = await self.tokens.current()
        async with AsyncExitStack() as stack:
            try:
                answer = await _entered(stack, self._fetcher.fetch(url, span, if_range), self._own_secrets(token))
            except AuthenticationError:
                await self.tokens.renew(token)
                secrets = self._own_secrets(self.tokens.present)
                answer = await _entered(stack, self._fetcher.fetch(url, span, if_range), secrets)
            yield answer

    def fetch_with(self, token: Secret) -> Fetch:
        """Return what fetches as `fetch` does, with a token of the caller's own, which is not renewed."""
        fetcher = self._fetcher_with(lambda: Secret(f"Bearer {token.reveal()}"))

        @asynccontextmanager
        async def fetch(
            url: Secret, span: ByteRange | None = None, if_range: str | None = None, /
        ) -> AsyncIterator[Answer]:
            secrets = [*self._own_secrets(self.tokens.present), token]
            async with AsyncExitStack() as stack:
                yield await _entered(stack, fetcher.fetch(url, span, if_range), secrets)

        return fetch

    def _fetcher_with(self, credential: Any) -> Fetcher:
        assert self.settings.transport is not None  # noqa: S101 (put there when the session was opened)
        transport = KeyForOneOrigin(self.settings.transport, KEY_HEADER, credential, self.root)
        return Fetcher(Asker(transport, self.settings), is_anonymous=False)


async def _entered(
    stack: AsyncExitStack, asking: AbstractAsyncContextManager[Answer], secrets: Sequence[Secret]
) -> Answer:
    """Get an answer; an error repeats no secret of ours."""
    try:
        return await stack.enter_async_context(asking)
    except ServiceError as error:
        _unquote(error, secrets)
        raise


def _unquote(error: ServiceError, secrets: Sequence[Secret]) -> None:
    """Take secrets of ours out of what the service says in an error, once it is decoded."""
    error.code, error.message, error.cause = (
        without_secrets(said, secrets) for said in (error.code, error.message, error.cause)
    )
    error.suggestions = tuple(without_secrets(said, secrets) for said in error.suggestions)
    error.given_request_id = error.given_request_id and without_secrets(error.given_request_id, secrets)


@asynccontextmanager
async def open_session(
    root: str,
    api_key: Secret | None,
    *,
    settings: ConnectionSettings,
    policy: RetryPolicy,
    stall: StallLimit,
    max_uploads: int,
    nursery: trio.Nursery,
) -> AsyncIterator[Session]:
    """Open one client's connections: one pool for calls and bodies."""
    async with AsyncExitStack() as stack:
        if settings.transport is None:
            transport = await new_transport(settings, max_connections=_MOST_SOCKETS)
            stack.push_async_callback(_close, transport)
            settings = attrs.evolve(settings, transport=transport)
        uploads, senders = trio.CapacityLimiter(max_uploads), trio.CapacityLimiter(2 * max_uploads)
        session = Session(root, settings, policy, stall, uploads, senders, nursery, api_key)

        async def log_in() -> tuple[LoginResponse, JsonAnswer]:
            if api_key is None:
                raise ConfigurationError("this call needs an API key", "pass api_key=..., or set NORMAN_API_KEY")
            return await session.ask_fully(api.login_key(api_key))

        session.tokens = Tokens(log_in)
        for credential, name in ((session.tokens.header, "signed"), (lambda: None, "anonymous")):
            client = open_json_client(root, credential, key_header=KEY_HEADER, settings=settings, policy=policy)
            setattr(session, name, await stack.enter_async_context(client))
        session._fetcher = session._fetcher_with(session.tokens.header)
        try:
            yield session
        finally:
            session.close()


async def _close(transport: Any) -> None:
    with trio.CancelScope(shield=True):  # it waits for nobody: sockets are closed where they stand
        await transport.aclose()
