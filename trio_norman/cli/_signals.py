"""Ctrl-C and its kin: the first one cancels the command, the second one ends the process at once."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import attrs
import trio

from .._lifetimes import lone_error_unwrapped
from ._leaving import leave_at_once

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_NAMES = {signal.SIGINT: "Ctrl-C"}


@attrs.define(eq=False)
class Stop:
    """Whether a signal has stopped the command, and which one."""

    signal: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that this signal stopped."""
        return 128 + (self.signal or 0)

    @property
    def name(self) -> str:
        """The signal as people call it."""
        return "" if self.signal is None else _NAMES.get(self.signal, self.signal.name)


async def run_until_signal(command: Callable[[], Awaitable[int]], stop: Stop) -> int:
    """Run a command and return its exit code, or that of the signal that stopped it, which `stop` then names.

    Signals that were ignored when we were started (``nohup``, jobs in the background) stay ignored.
    """
    wanted = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    if not wanted:
        return await command()
    code: int | None = None
    with trio.open_signal_receiver(*wanted) as arrivals, lone_error_unwrapped():
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                number = await anext(aiter(arrivals))
                stop.signal = signal.Signals(number)
                for each in wanted:
                    signal.signal(each, leave_at_once)
                nursery.cancel_scope.cancel(reason=f"stopped by {stop.name}")

            nursery.start_soon(watch)
            code = await command()
            nursery.cancel_scope.cancel(reason="the command is done")
    return stop.exit_code if code is None else code
