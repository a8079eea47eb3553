"""Server-sent events: from bytes, cut anywhere, to events.

httpx-sse was tried and is not used: its decoder is private and its public part wants a whole httpx response; it has no
limit on a line or an event, keeps a byte order mark, holds an event back whose last line ends with CR, makes phantom
events once an id was sent, and shows neither comments (the signs of life) nor that a stream ended inside an event.
"""

from __future__ import annotations

import re

import attrs

LARGEST_EVENT = 8 * 2**20  # bytes, of one line as of one event

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


@attrs.frozen
class SseEvent:
    """One event. `id` is the last one that the stream has named so far."""

    data: str
    event: str = "message"
    id: str = ""


class SseTooLargeError(ValueError):
    """A line, or all lines of an event, are larger than the limit; the text says which."""


@attrs.define(eq=False)
class SseDecoder:
    """Takes a stream in as it comes and gives each event once its blank line is there, in linear time.

    Lines end with CRLF, LF or CR and with nothing else. A last event without a blank line is never given:
    `is_inside_event` tells of it once the stream has ended.

    Args:
        largest: Most bytes of a line, and of an event's lines together.

    Source: HTML Living Standard, section 9.2 "Server-sent events".
    """

    largest: int = LARGEST_EVENT
    retry_seconds: float | None = attrs.field(init=False, default=None)
    last_event_id: str = attrs.field(init=False, default="")
    _pieces: list[bytes] = attrs.field(init=False, factory=list)  # of the line that has not ended
    _piece_bytes: int = attrs.field(init=False, default=0)
    _data: list[str] = attrs.field(init=False, factory=list)
    _data_bytes: int = attrs.field(init=False, default=0)
    _event: str = attrs.field(init=False, default="")
    _is_first_line: bool = attrs.field(init=False, default=True)
    _was_cr: bool = attrs.field(init=False, default=False)  # the LF that may come next belongs to a line that is done

    @property
    def is_inside_event(self) -> bool:
        """Whether something has come of an event that is not complete."""
        return bool(self._data or self._event or any(self._pieces))

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes in and return the events that they complete.

        Raises:
            SseTooLargeError: If a line or an event is larger than the limit. The decoder is of no further use.
        """
        if not chunk:
            return []
        if self._was_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._was_cr = chunk.endswith(b"\r") if chunk else False
        *ended, rest = _LINE_END.split(chunk)
        events = [event for line in ended if (event := self._take(self._whole(line))) is not None]
        self._keep(rest)
        return events

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._piece_bytes += len(piece)
        if self._piece_bytes > self.largest:
            raise SseTooLargeError(f"a line of more than {self.largest} bytes")

    def _whole(self, end: bytes) -> bytes:
        self._keep(end)
        line = b"".join(self._pieces)
        self._pieces, self._piece_bytes = [], 0
        if self._is_first_line:
            self._is_first_line = False
            return line.removeprefix(_BOM)
        return line

    def _take(self, line: bytes) -> SseEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data_bytes += len(line) + 1
            if self._data_bytes > self.largest:
                raise SseTooLargeError(f"an event of more than {self.largest} bytes")
        self._field(name, value.removeprefix(b" "))
        return None

    def _field(self, name: bytes, value: bytes) -> None:
        match name:
            case b"data":
                self._data.append(value.decode(errors="replace"))
            case b"event":
                self._event = value.decode(errors="replace")
            case b"id" if b"\0" not in value:
                self.last_event_id = value.decode(errors="replace")
            case b"retry" if value.isdigit() and len(value) < 10:
                self.retry_seconds = int(value) / 1000
            case _:
                pass  # comments (their name is empty) and fields that nobody knows

    def _dispatch(self) -> SseEvent | None:
        data, kind = self._data, self._event
        self._data, self._data_bytes, self._event = [], 0, ""
        return SseEvent("\n".join(data), kind or "message", self.last_event_id) if data else None
