"""The signed URL of one source: made just in time, and renewed once for everybody who waits for it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeGuard

import attrs
import trio

from .._sansio.expiry import MAY_HAVE_EXPIRED, renewal_age, tells_expiry
from ..errors import LimitExceededError, ServiceError, TransportError, TrioNormanError, UrlExpiredError
from ._model import Link, Source

Ask = Callable[[Link], Awaitable[TrioNormanError | None]]


async def asked(ask: Ask, link: Link) -> TrioNormanError | None:
    """Make one request; return what ended it early, whichever way it comes."""
    try:
        return await ask(link)
    except (TransportError, ServiceError, LimitExceededError) as error:
        return error


@attrs.define(eq=False)
class Links:
    """Gives the present link of `source`; any number of tasks may ask."""

    source: Source
    _link: Link | None = attrs.field(init=False, default=None)
    _error: TrioNormanError | None = attrs.field(init=False, default=None)
    _renew_at: float = attrs.field(init=False, default=-math.inf)
    _has_worked: bool = attrs.field(init=False, default=False)
    _was_renewed: bool = attrs.field(init=False, default=False)
    _lock: trio.Lock = attrs.field(init=False, factory=trio.Lock)

    @property
    def _is_good(self) -> bool:
        return self._error is None and trio.current_time() < self._renew_at

    async def prepare(self) -> None:
        """Make a link ahead of its use; what goes wrong is raised by whoever asks for it first."""
        async with self._lock:
            try:
                await self._make()
            except TrioNormanError as error:
                self._error = error

    async def current(self) -> Link:
        """Return a link that is good now; a new one if the present one is near its end.

        Raises:
            TrioNormanError: Whatever the source's own `link` raises.
        """
        if not self.source.is_renewable:  # then it does not matter who makes it, or how often
            return self._link or await self._make()
        if self._link is not None and self._is_good and not self._lock.locked():
            return self._link
        async with self._lock:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            return self._link if self._link is not None and self._is_good else await self._make()

    def note_success(self, link: Link) -> None:
        """Remember that a link was accepted: if it is refused later, it has expired."""
        self._has_worked = self._has_worked or link is self._link

    async def attempt(self, ask: Ask) -> TrioNormanError | None:
        """Make one request with a good link; return what ended it early. A link that was refused is renewed.

        Raises:
            TrioNormanError: If there is no good link.
        """
        link = await self.current()
        failure = await asked(ask, link)
        if not self.may_have_expired(failure):
            return failure
        await self.renew(link, failure)
        return None

    def may_have_expired(self, error: TrioNormanError | None) -> TypeGuard[ServiceError]:
        """Whether a new link may do where one ended in `error`."""
        return isinstance(error, ServiceError) and error.status in MAY_HAVE_EXPIRED and self.source.is_renewable

    def is_present(self, link: Link) -> bool:
        """Whether a link has not been replaced."""
        return link is self._link

    async def renew(self, refused: Link, error: ServiceError) -> None:
        """Replace a link that the storage refused, unless somebody has done so already.

        Raises:
            UrlExpiredError: If the refused link was itself new and has expired nevertheless.
            ServiceError: `error` itself, if renewing does not help or the source's URL is a fixed one.
        """
        if not self.source.is_renewable:
            raise error
        async with self._lock:
            if refused is not self._link:
                return
            if self._renewed_in_vain():
                is_expired = tells_expiry(error.code, error.message) or refused.lifetime == 0
                raise UrlExpiredError(self.source.name, f"status {error.status}") if is_expired else error
            await self._make()

    def _renewed_in_vain(self) -> bool:
        in_vain = self._was_renewed and not self._has_worked
        self._was_renewed, self._has_worked = True, False
        return in_vain

    async def _make(self) -> Link:
        asked_at = trio.current_time()
        self._link = await self.source.link()
        age = renewal_age(self._link.lifetime)
        self._renew_at = math.inf if age is None else asked_at + max(age, 0.0)
        return self._link
