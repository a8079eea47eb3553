"""The names of one batch: each belongs to one source, which may be listed more than once."""

from __future__ import annotations

import hashlib
import secrets
from typing import Literal

import attrs
import trio

from .._sansio.names import NameSet
from ._model import DownloadResult, Outcome, Source


@attrs.define(eq=False)
class BatchNames:
    """Who has which name, and what became of it.

    Of a source that is done there are left a few bytes beside its name: a digest with a salt of this batch's own, by
    which it is known again. The names that failed are kept in the same small way.
    """

    _taken: NameSet = attrs.field(init=False, factory=NameSet)
    _failed: NameSet = attrs.field(init=False, factory=NameSet)
    _under_way: set[str] = attrs.field(init=False, factory=set)
    _news: trio.lowlevel.ParkingLot = attrs.field(init=False, factory=trio.lowlevel.ParkingLot)
    _salt: bytes = attrs.field(init=False, factory=lambda: secrets.token_bytes(16), repr=False)

    def claim(self, source: Source) -> Literal["new", "same", "taken"]:
        """Take a source's name, unless the same source, or another one, has it."""
        mark = self._mark(source)
        if self._taken.add(source.name, mark):
            self._under_way.add(source.name)
            return "new"
        return "same" if self._taken.mark_of(source.name) == mark else "taken"

    def _mark(self, source: Source) -> int:
        text = f"{source.name}\0{source.identity}".encode(errors="surrogatepass")
        digest = hashlib.blake2b(text + b"\0" + source.fingerprint, key=self._salt, digest_size=4)
        return int.from_bytes(digest.digest())

    def note_done(self, result: DownloadResult) -> None:
        """Note what became of a source whose name was new, or was taken up again."""
        if result.outcome is Outcome.FAILED:
            self._failed.add(result.source.name)
        self._under_way.discard(result.source.name)
        self._news.unpark_all()

    async def wait_done(self, source: Source) -> bool:
        """Wait until the same source is done, and tell whether its file is good."""
        while source.name in self._under_way:
            await self._news.park()
        return self._failed.mark_of(source.name) is None

    def take_up(self, source: Source) -> None:
        """Note that a source is tried once more."""
        self._under_way.add(source.name)
