"""What an exit code means, and which one an outcome has."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from ..errors import (
    AddressError,
    AuthenticationError,
    ChecksumMismatchError,
    ConfigurationError,
    ConnectError,
    DestinationExistsError,
    FileNameError,
    LocalFileError,
    NameResolutionError,
    NoSpaceError,
    NotFoundError,
    PermissionDeniedError,
    RangeNotHonouredError,
    TlsError,
    TrioNormanError,
    UnprovenError,
)

TABLE = """\
Exit codes:
  0  all well
  1  anything that has no code of its own
  2  usage: the command line, a list, a setting, a file name
  3  not found
  4  API key or signed URL refused
  5  temporary: try again
  6  some items failed while others did not
     (if all failed with one code, it is that one; if with several, 1)
  7  integrity: size or digest differ, or nothing proves them
  8  disk: full, refused, or another file is in the way
  129, 130, 143  stopped by SIGHUP, Ctrl-C, SIGTERM; 141: nobody reads stdout"""


class Exit(IntEnum):
    """The exit codes of every command; a signal's is 128 and its number."""

    OK = 0
    OTHER = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    TEMPORARY = 5
    SOME_FAILED = 6
    INTEGRITY = 7
    DISK = 8
    PIPE = 141


_ADVICE: tuple[tuple[type[TrioNormanError], str], ...] = (
    (NameResolutionError, "check the host name and the network"),
    (ConnectError, "check address and network, and try again"),
    (TlsError, "a private certificate authority is given with --ca-file"),
    (AddressError, "--allow-http allows plain http, --allow-host a host"),
    (DestinationExistsError, "--force replaces it, --no-clobber leaves such files alone"),
    (NoSpaceError, "make room and run the same line again: it goes on where it was"),
)


def exit_of(error: BaseException) -> Exit:
    """Return the exit code of one error."""
    match error:
        case NotFoundError():
            return Exit.NOT_FOUND
        case AuthenticationError() | PermissionDeniedError():
            return Exit.REFUSED
        case ChecksumMismatchError() | UnprovenError() | RangeNotHonouredError():
            return Exit.INTEGRITY
        case NoSpaceError() | LocalFileError() | DestinationExistsError():
            return Exit.DISK
        case ConfigurationError() | AddressError() | FileNameError():
            return Exit.USAGE
        case TrioNormanError() if error.retryable:
            return Exit.TEMPORARY
        case _:
            return Exit.OTHER


def exit_of_items(succeeded: int, failures: Iterable[Exit]) -> Exit:
    """Return the exit code of many items, of which `succeeded` were well and the others ended as `failures` say.

    Where nothing succeeded and the failures differ, no single word fits: that is `Exit.OTHER`.
    """
    kinds = set(failures)
    if not kinds:
        return Exit.OK
    if succeeded:
        return Exit.SOME_FAILED
    return kinds.pop() if len(kinds) == 1 else Exit.OTHER


def advice_for(error: BaseException) -> str:
    """Return what a user of the command line can do about an error that does not say so itself; or nothing."""
    return next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
