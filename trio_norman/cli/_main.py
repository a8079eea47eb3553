"""From the words on the command line to an exit code."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from inspect import BoundArguments
from typing import Any

import trio
from cyclopts import CycloptsError

from ..errors import TrioNormanError
from . import missing
from ._app import RESUMABLE, app, import_all
from ._exits import Exit, advice_for, exit_of, exit_of_items
from ._options import options_last
from ._output import OutputClosedError, complain, say
from ._signals import Stop, run_until_signal


def run(tokens: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    Raises:
        BaseException: Whatever is an error of the program rather than of its use or its peers.
    """
    try:
        command, bound, _ = app.parse_args(options_last(tokens))
    except CycloptsError as error:
        complain(_trimmed(str(error)), f"see {shlex.join(['trio-norman', *(error.command_chain or ())])} --help")
        return Exit.USAGE
    if inspect.iscoroutinefunction(command):
        return _run_command(command, bound)
    return _run_builtin(command, bound)


def _trimmed(sentence: str) -> str:
    return sentence if sentence.endswith("...") else sentence.removesuffix(".")


def _run_builtin(command: Callable[..., Any], bound: BoundArguments) -> int:
    """Show help or version."""
    if command != app.version_print:
        import_all()
    try:
        command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit, AttributeError):  # rich exits with 1 when its reader is gone
        _forget_stdout()
        return Exit.PIPE
    return Exit.OK


def _forget_stdout() -> None:
    """Make the flush at the end of the process go nowhere."""
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _run_command(command: Callable[..., Any], bound: BoundArguments) -> int:
    stop = Stop()
    try:
        code = trio.run(run_until_signal, partial(command, *bound.args, **bound.kwargs), stop)
    except ModuleNotFoundError as error:
        missing(error)
        return Exit.OTHER
    except Exception as error:
        leaves = list(leaves_of(error))
        if not all(isinstance(leaf, TrioNormanError | OutputClosedError) for leaf in leaves):
            raise
        code = report(leaves)
    if stop.signal is not None:
        again = "; partial files are kept: run the same line again to go on" if command.__name__ in RESUMABLE else ""
        say(f"stopped by {stop.name}{again}")
        return stop.exit_code
    return code


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that a group holds, however deep; an error that is no group is its own leaf."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves_of(each)
    else:
        yield error


def report(errors: Sequence[BaseException]) -> int:
    """Write one line for each error and return the exit code of them all."""
    if any(isinstance(error, OutputClosedError) for error in errors):
        return Exit.PIPE
    for error in errors:
        complain(str(error), advice_for(error))
        if isinstance(error, TrioNormanError) and error.orphans:
            say(f"left at the service, unfinished: {', '.join(error.orphans)}")
    return exit_of_items(0, [exit_of(error) for error in errors])
