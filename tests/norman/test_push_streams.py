"""Streams that break or are closed while they are pushed."""

from __future__ import annotations

import errno
import io
import os

import pytest

from tests.norman.norman_opening import echo, open_on_sockets
from trio_norman.errors import LocalFileError


class Closing(io.BytesIO):
    """A stream that somebody closes after its first piece."""

    is_seekable = True

    def seekable(self) -> bool:
        return self.is_seekable and super().seekable()

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(100 if size is None else min(size, 100))
        self.close()
        return piece


class ClosingPipe(Closing):
    """One that is spooled first."""

    is_seekable = False


class Torn(ClosingPipe):
    """One that the system cannot read."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class Misbegotten(io.BytesIO):
    """One that is open, and broken for a reason of its own."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise ValueError("a mistake of the stream's own")


@pytest.mark.parametrize(
    ("kind", "why"), [(Closing, "was closed"), (ClosingPipe, "was closed"), (Torn, "Input/output error")]
)
async def test_U_05_a_stream_that_is_closed_meanwhile_is_told_of(kind: type[Closing], why: str) -> None:
    """LocalFileError after one pairing at most; nothing was accepted."""
    async with open_on_sockets() as (emulator, norman):
        with pytest.raises(LocalFileError, match=why) as caught:
            await norman.invoke(echo(kind(bytes(5000)), source="Stream"))
        assert caught.value.orphans
        assert len(emulator.norman.pushes) == (1 if kind is Closing else 0)
        assert not any(push.is_accepted for push in emulator.norman.pushes)


async def test_a_mistake_of_a_streams_own_goes_through() -> None:
    async with open_on_sockets() as (_, norman):
        with pytest.raises(ValueError, match="a mistake of the stream's own"):
            await norman.invoke(echo(Misbegotten(bytes(5000)), source="Stream"))
