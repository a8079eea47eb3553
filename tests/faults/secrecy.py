"""Secrets that can be recognised anywhere, and everything in which they must not be found."""

from __future__ import annotations

import base64
import logging
import secrets
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import attrs

#: A piece of a secret that is so long is no coincidence.
PIECE = 12
#: Every form of a secret is printable: 1 for a byte that is, 0 for one that is not.
_PRINTABLE = bytes(ord(" ") <= each <= ord("~") for each in range(256))
_START_OF_A_BODY = 16 * 1024
_OURS = str(Path(__file__).parents[2] / "trio_norman")
_SERVERS = ("trio_norman.emulator", "hypercorn")  # the server's side knows its secrets and may tell


def new_canary(what: str) -> str:
    """Make up a secret that no other text resembles, with characters that a URL has to escape."""
    return f"{what[:4]}/{secrets.token_hex(16)}+{secrets.token_hex(8)}="


@attrs.define
class Canaries:
    """The secrets of one row, by what they are."""

    known: dict[str, str] = attrs.field(factory=dict)

    def add(self, what: str, secret: str) -> str:
        """Watch for a secret, and return it."""
        assert len(secret) >= 2 * PIECE, f"{what} is too short to be recognised"
        self.known[what] = secret
        return secret

    def found_in(self, texts: Iterable[tuple[str, str | bytes]]) -> list[str]:
        """Say which secrets show where; `texts` are pairs of a place and what stands there."""
        forms = [(what, name, form) for what, secret in self.known.items() for name, form in _forms(secret)]
        pieces = {piece: (what, name) for what, name, form in forms for piece in _pieces(form)}
        found = {}
        for place, text in texts:
            data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
            for what, name in _found(pieces, data):
                found[place, what] = f"{what} ({name}) shows in {place}"
        return sorted(found.values())


def _forms(secret: str) -> Iterator[tuple[str, bytes]]:
    raw = secret.encode()
    yield "plain", raw
    yield "percent-encoded", quote(secret, safe="").encode()
    yield "percent-encoded twice", quote(quote(secret, safe=""), safe="").encode()
    yield "in hex", raw.hex().encode()
    for skipped in range(3):  # what stands before it decides how it is cut into groups of three bytes
        whole = (len(raw) - skipped) // 3 * 3
        yield "in base64", base64.b64encode(raw[skipped : skipped + whole])
        yield "in base64", base64.urlsafe_b64encode(raw[skipped : skipped + whole])


def _pieces(data: bytes) -> set[bytes]:
    return {data[start : start + PIECE] for start in range(len(data) - PIECE + 1)}


def _found(pieces: Mapping[bytes, tuple[str, str]], data: bytes) -> Iterable[tuple[str, str]]:
    shown = {piece for text in set(_texts(data)) for piece in _pieces(text)}
    return [pieces[piece] for piece in shown & pieces.keys()]


def _texts(data: bytes) -> Iterator[bytes]:
    """Find where a piece can stand; a regular expression takes five times as long in data that is mostly no text."""
    marks, stop = data.translate(_PRINTABLE), 0
    while (start := marks.find(b"\1" * PIECE, stop)) >= 0:
        stop = marks.find(b"\0", start)
        stop = len(marks) if stop < 0 else stop
        yield data[start:stop]


class Ears(logging.Handler):
    """Hears every record of every logger but the server's own."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(_SERVERS):
            self.heard.append(f"{self.format(record)} {record.args!r}")


@contextmanager
def listening() -> Iterator[list[str]]:
    """Let all loggers speak at DEBUG for as long as the block lasts, and give what they say."""
    root, ears = logging.getLogger(), Ears()
    loggers = [root, *(each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger))]
    before = [(each, each.level, each.disabled, each.propagate) for each in loggers]
    for each in loggers:
        each.setLevel(logging.DEBUG)
        each.disabled, each.propagate = False, True
    root.addHandler(ears)
    try:
        yield ears.heard
    finally:
        root.removeHandler(ears)
        for each, level, disabled, propagate in before:
            each.setLevel(level)
            each.disabled, each.propagate = disabled, propagate


def everything_about(error: BaseException, *, with_arguments: bool = False) -> str:
    """Give all that a program may print of an error: texts, fields, notes, what caused it.

    `with_arguments`: also how the arguments of our own frames print, as tools do that show locals in a traceback.
    """
    shown = [*traceback.format_exception(error)]
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        shown += [str(each), repr(each), repr(each.args), repr(getattr(each, "__dict__", ""))]
        shown += [str(note) for note in getattr(each, "__notes__", ())]
        shown += _arguments(each.__traceback__) if with_arguments else ()
        waiting += [other for other in (each.__cause__, each.__context__) if other is not None]
        waiting += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
    return "\n".join(shown)


def _arguments(tb: TracebackType | None) -> list[str]:
    shown = []
    for frame, _ in traceback.walk_tb(tb):
        code = frame.f_code
        if code.co_filename.startswith(_OURS):
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            shown += [_printed(frame.f_locals.get(name)) for name in names]
    return shown


def _printed(argument: object) -> str:
    # A body is long, and an argument of every frame on its way: its start is enough, or the search takes seconds.
    if isinstance(argument, (list, tuple)):
        return repr([_start(each) for each in argument])
    return repr(_start(argument))


def _start(argument: object) -> object:
    return argument[:_START_OF_A_BODY] if isinstance(argument, (bytes, bytearray)) else argument
