"""One access token for all tasks of a client."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import attrs
import trio

from .._sansio.redaction import Secret
from .._sansio.tokens import token_age_limit
from .._wire._client import JsonAnswer
from ..errors import MalformedResponseError, TrioNormanError
from ._models import Account, LoginResponse

LogIn = Callable[[], Awaitable[tuple[LoginResponse, JsonAnswer]]]


@attrs.frozen(eq=False)
class Token:
    """An access token, whose it is, and until when it is used (on Trio's clock)."""

    text: Secret
    account: Account
    good_until: float = math.inf

    @property
    def header(self) -> Secret:
        """What carries it."""
        return Secret(f"Bearer {self.text.reveal()}")


@attrs.define(eq=False)
class Tokens:
    """Gives the present token; however many tasks ask, there is one login at a time, and one for all of them."""

    _log_in: LogIn
    present: Token | None = None
    _lock: trio.Lock = attrs.field(init=False, factory=trio.Lock)
    _failure: TrioNormanError | None = attrs.field(init=False, default=None)  # of the last login that failed
    _failures: int = attrs.field(init=False, default=0)

    async def current(self) -> Token:
        """Return a token that is good now, logging in if need be.

        Raises:
            TrioNormanError: What the login raises; all who wait for one login share its failure, each as a copy.
        """
        return await self._other_than(None)

    async def renew(self, refused: Token) -> None:
        """Log in again because a token was refused, unless somebody has done so already; raises as `current`."""
        await self._other_than(refused)

    def header(self) -> Secret | None:
        """Return what carries the present token, however old it is."""
        return None if self.present is None else self.present.header

    async def _other_than(self, refused: Token | None) -> Token:
        failures = self._failures
        async with self._lock:
            token = self.present
            if token is not None and token is not refused and trio.current_time() < token.good_until:
                return token
            if self._failure is not None and self._failures > failures:  # the one that we waited for
                raise attrs.evolve(self._failure)  # everybody's own: callers write into it what they leave behind
            try:
                self.present = token = await self._made()
            except TrioNormanError as error:
                self._failure, self._failures = attrs.evolve(error), self._failures + 1
                raise
            return token

    async def _made(self) -> Token:
        asked_at = trio.current_time()
        response, answer = await self._log_in()
        if response.access_token is None or response.account is None:
            missing = "access_token" if response.access_token is None else "account"
            problem = f"a required field is missing @ $.{missing}"
            raise MalformedResponseError("POST", answer.url, (problem,), answer.request_id)
        limit = token_age_limit(response.access_token.reveal(), now=answer.date)
        return Token(response.access_token, response.account, asked_at + limit)
