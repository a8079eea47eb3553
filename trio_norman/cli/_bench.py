"""``bench``: what a user's own link brings, by the number of connections."""

from __future__ import annotations

import io
import os
import random
import resource
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated

import attrs
import trio
from cyclopts import Parameter
from cyclopts.validators import Number

from .._lifetimes import lone_error_unwrapped
from .._sansio.heads import Asked, Body, Refused, read_head
from .._sansio.ranges import ByteRange
from .._sansio.redaction import Secret, public_url
from .._sansio.retrying import RetryBudget, RetryPolicy
from .._wire._connecting import ConnectionSettings
from .._wire._fetching import Answer, open_fetcher
from ..errors import ConfigurationError, LocalFileError, RangeNotHonouredError, ServiceError, TransportError
from ..transfer import Fetch
from ._options import OUTPUT, Hosts, OutputFlags, Positive
from ._output import json_text, say, write_out
from ._views import Column, heading, row

PAYS = 1.1  # what more connections must bring, as a factor, to be worth opening
SPAN = 16 * 2**20  # bytes that one request asks for
_VISIT = 4 * 2**20  # bytes that one visit to a worker thread brings, and all that ever lies in a file
_STAY = 0.05  # seconds that one visit lasts at most
_WARM_UP = 0.25  # of the measured time: in it connections are made and find their speed
_FILES_EACH = 5  # descriptors that a connection needs: socket, pipe, file, and one to spare
_FEW_BYTES = 2**22  # an object of less tells more about requests than about the link
_LAST_WORDS = 2.0  # seconds for writing what is known after Ctrl-C

Seconds = Annotated[float, Parameter(validator=Number(gt=0), show_default=True)]


@attrs.frozen
class Level:
    """What one number of connections brought: bytes in so many seconds, and what that cost of the processors."""

    connections: int
    seconds: float
    received_bytes: int
    cpu_seconds: float
    repeated_requests: int = 0

    @property
    def rate(self) -> float:
        """Millions of bytes a second."""
        return self.received_bytes / self.seconds / 1e6


def levels_up_to(most: int) -> Iterator[int]:
    """Yield 1, 2, 4, ... and in the end `most` itself."""
    level = 1
    while level < most:
        yield level
        level *= 2
    yield most


def enough(levels: Sequence[Level]) -> Level | None:
    """Return the level from which more does not pay; None if nothing was measured."""
    chosen: Level | None = None
    for level in levels:
        if chosen is None or level.rate > chosen.rate * PAYS:
            chosen = level
    return chosen


def conclusion(levels: Sequence[Level]) -> str:
    """Return in a sentence what the levels show."""
    chosen = enough(levels)
    if chosen is None or len(levels) == 1:
        return "nothing to compare yet"
    if chosen is levels[-1]:
        return f"goodput still grows at {chosen.connections} connections: try more with --max-connections"
    gain = max(level.rate for level in levels) / chosen.rate - 1 if chosen.rate else 0.0
    return f"from {chosen.connections} on, more connections do not pay: they bring {gain:.0%} more at best"


def document(urls: Sequence[str], levels: Sequence[Level], *, is_complete: bool) -> dict[str, object]:
    """Return what ``--json`` writes."""
    chosen = enough(levels)
    return {
        "urls": [public_url(url) for url in urls],
        "levels": [{**attrs.asdict(level), "mb_per_second": round(level.rate, 3)} for level in levels],
        "enough": None if chosen is None else chosen.connections,
        "is_complete": is_complete,
    }


_COLUMNS: Sequence[Column] = (
    Column("connections", lambda level: level.connections, 11, is_right=True),
    Column("MB/s", lambda level: f"{level.rate:.1f}", 9, is_right=True),
    Column("CPU s", lambda level: f"{level.cpu_seconds:.2f}", 7, is_right=True),
)


@attrs.define(eq=False)
class _Target:
    """One object. Its spans are dealt in order and again from the start; without ranges it always comes whole."""

    url: Secret
    size: int | None  # None: it cannot be had in ranges
    _position: int = 0

    def next_span(self) -> ByteRange | None:
        if self.size is None:
            return None
        start = self._position if self._position < self.size else 0
        self._position = min(start + SPAN, self.size)
        return ByteRange(start, self._position)


@attrs.define(eq=False)
class _Meter:
    received_bytes: int = 0
    repeated_requests: int = 0


async def bench(
    *urls: str,
    seconds: Seconds = 3.0,
    max_connections: Annotated[Positive, Parameter(show_default=True)] = 32,
    ca_file: Path | None = None,
    allow_http: bool = False,
    allow_host: Hosts = (),
    plot: Path | None = None,
    output: OutputFlags = OUTPUT,
) -> int:
    """Measure how much a link brings with 1, 2, 4, 8, ... connections, and say from which number on more do not pay.

    The given URLs are read in ranges, again and again, and all that comes is thrown away: it passes through nameless
    temporary files, a few MiB each, which are gone when the command ends, however it ends. The disk is not measured.
    Ctrl-C ends the measurement; what is known is written.

    Args:
        urls: What to read; one large object does.
        seconds: How long each number of connections is measured, after a quarter of that time for warming up.
        max_connections: The largest number that is tried.
        ca_file: PEM file of a private certificate authority, trusted beside the system's.
        allow_http: Allow plain http to other machines.
        allow_host: Host to which redirects may lead besides the URL's own (*.NAME: and all below); may be repeated.
        plot: Draw goodput and cost into this file, as SVG (matplotlib is needed).
    """
    _check(urls, max_connections, plot)
    levels: list[Level] = []
    is_complete = False
    try:
        settings = ConnectionSettings(ca_file=ca_file, allow_http=allow_http, allow_hosts=allow_host)
        async with open_fetcher(settings, max_connections=max_connections) as fetcher:
            targets = [await _look_at(fetcher.fetch, url) for url in urls]
            if not output.quiet and any(target.size is not None and target.size < _FEW_BYTES for target in targets):
                say("warning: such small objects tell more about requests than about the link")
            for connections in levels_up_to(max_connections):
                level = await measure(fetcher.fetch, targets, connections, seconds)
                if not output.json:
                    await write_out(("" if levels else heading(_COLUMNS)) + row(_COLUMNS, level))
                levels.append(level)
        is_complete = True
    finally:
        with trio.move_on_after(_LAST_WORDS, shield=True):
            if output.json:
                await write_out(f"{json_text(document(urls, levels, is_complete=is_complete))}\n")
            elif levels and not output.quiet:
                await write_out(f"{conclusion(levels)}\n")
            if levels and plot is not None:
                await trio.to_thread.run_sync(draw, levels, plot)
    return 0


def _check(urls: Sequence[str], max_connections: int, plot: Path | None) -> None:
    if not urls:
        raise ConfigurationError("there is no URL", "name an object that is large enough to be read for some seconds")
    if plot is not None and find_spec("matplotlib") is None:
        raise ConfigurationError("a plot needs matplotlib", "pip install matplotlib")
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed != resource.RLIM_INFINITY and max_connections * _FILES_EACH + 64 > allowed:
        raise ConfigurationError(f"{max_connections} connections need more than {allowed} open files", "ulimit -n")


async def _look_at(fetch: Fetch, url: str) -> _Target:
    """Ask what an object is, by its first byte.

    Raises:
        TrioNormanError: If it cannot be had.
    """
    secret, span = Secret(url), ByteRange(0, 1)
    async with fetch(secret, span) as answer:
        asked = Asked(public_url(url), public_url(url), span)
        reading = read_head(asked, answer.status, answer.headers)
    if isinstance(reading, Refused):
        raise reading.error
    size = reading.version.size if isinstance(reading, Body) else None
    if answer.status == 416 or ("content-length", "0") in answer.headers:
        raise ConfigurationError("the object is empty", "name a larger one")
    return _Target(secret, size)


async def measure(fetch: Fetch, targets: Sequence[_Target], connections: int, seconds: float) -> Level:
    """Read with so many connections for so long.

    Raises:
        TrioNormanError: If a request fails for good.
    """
    meter, limiter, dealt = _Meter(), trio.CapacityLimiter(connections), cycle(targets)
    with lone_error_unwrapped(lambda errors: errors[0]):
        async with trio.open_nursery() as nursery:
            for _ in range(connections):
                nursery.start_soon(_read, fetch, next(dealt), meter, limiter)
            await trio.sleep(seconds * _WARM_UP)
            began, before, bytes_before = trio.current_time(), sum(os.times()[:2]), meter.received_bytes
            await trio.sleep(seconds)
            level = Level(
                connections,
                trio.current_time() - began,
                meter.received_bytes - bytes_before,
                sum(os.times()[:2]) - before,
                meter.repeated_requests,
            )
            nursery.cancel_scope.cancel(reason="this level is measured")
    return level


async def _read(fetch: Fetch, target: _Target, meter: _Meter, limiter: trio.CapacityLimiter) -> None:
    """Read spans of one object for ever; a request that fails is repeated as in a download."""
    budget = RetryBudget(RetryPolicy())
    with await trio.to_thread.run_sync(lambda: TemporaryFile(buffering=0)) as file:
        while True:
            before = meter.received_bytes
            try:
                async with fetch(target.url, target.next_span()) as answer:
                    if answer.status == 416:
                        raise RangeNotHonouredError(answer.url, "the object has become shorter")
                    await _throw_away(answer, file.fileno(), meter, limiter)
            except (TransportError, ServiceError) as error:
                wait = budget.after(error, now=trio.current_time(), jitter=random.random())
                if wait is None:
                    raise
                meter.repeated_requests += 1
                await trio.sleep(wait)
            budget.advance(meter.received_bytes - before, size=target.size)


async def _throw_away(answer: Answer, fd: int, meter: _Meter, limiter: trio.CapacityLimiter) -> None:
    pump = answer.pump()
    if pump is None:
        async with aclosing(answer.chunks()) as chunks:
            async for chunk in chunks:
                meter.received_bytes += len(chunk)
        return
    try:
        while pump.left:
            move = partial(pump.move, fd, 0, min(pump.left, _VISIT), seconds=_STAY)
            moved = await trio.to_thread.run_sync(move, limiter=limiter)
            meter.received_bytes += moved.count
            if moved.ending is not None:
                raise moved.ending
        pump.finish()
    finally:
        pump.close()


def draw(levels: Sequence[Level], file: Path) -> None:
    """Draw goodput, and what it costs, against the number of connections. Blocks.

    Raises:
        LocalFileError: If the file cannot be written.
    """
    from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]  # it takes its time

    numbers = [level.connections for level in levels]
    figure = Figure(figsize=(7, 4), layout="constrained")
    goodput = figure.add_subplot()
    goodput.plot(numbers, [level.rate for level in levels], "o-", color="#c2410c")
    goodput.set_xscale("log", base=2)
    goodput.set_xticks(numbers, [str(number) for number in numbers])
    goodput.set(xlabel="connections", ylabel="goodput, MB/s", ylim=(0, None))
    chosen = enough(levels)
    if chosen is not None:
        goodput.axvline(chosen.connections, color="#c2410c", linewidth=0.8, linestyle=":")
    cost = goodput.twinx()
    cost.plot(numbers, [level.cpu_seconds / level.seconds for level in levels], "s--", color="#64748b")
    cost.set(ylabel="processors that are busy", ylim=(0, None))
    picture = io.BytesIO()
    figure.savefig(picture, format="svg")
    try:
        file.write_bytes(picture.getvalue())
    except OSError as error:
        raise LocalFileError(file.name, error.strerror or "cannot be written") from error
