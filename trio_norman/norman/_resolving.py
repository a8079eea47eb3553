"""What the data of an input or an asset is: a file, a link, a value, or a stream."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import trio

from .._sansio.addresses import check_address
from .._sansio.encodings import primitive_bytes
from ..errors import AddressError, ConfigurationError
from ..transfer._outgoing import check_file, open_file
from ._bodies import check_stream, is_stream, open_bytes, open_stream
from ._pushing import OpenBody
from ._words import InputSource

_VALUES = (bytes, bytearray, memoryview, bool, int, float, dict, list, tuple)


@attrs.frozen(eq=False)
class Resolved:
    """Data that is ready to go: a `link` for the service to fetch, or a body to push."""

    source: InputSource
    link: str | None = attrs.field(default=None, repr=False)
    open_body: OpenBody | None = None


async def resolve(
    name: str, data: Any, source: InputSource | str | None, *, is_value_refused: bool = False
) -> Resolved:
    """Find out what some data is and whether it can be sent; nothing is sent.

    Args:
        name: What it is for, in errors.
        data: As the user gave it.
        source: What the user says it is; this wins.
        is_value_refused: Whether a text that is neither link nor file is a mistake, a file that is missing most likely.

    Raises:
        ConfigurationError: If it cannot be sent.
        LocalFileError: If its file cannot be read.
    """
    kind = await trio.to_thread.run_sync(_kind, name, data, source)
    if is_value_refused and source is None and kind is InputSource.PRIMITIVE and isinstance(data, str):
        raise ConfigurationError(f"the file of {name} does not exist", "give the path of an existing file, or a link")
    match kind:
        case InputSource.LINK:
            return Resolved(kind, link=_link(name, data))
        case InputSource.FILE:
            path = _path(name, data)
            await trio.to_thread.run_sync(check_file, name, path)
            return Resolved(kind, open_body=partial(open_file, name, path))
        case InputSource.STREAM:
            check_stream(name, data)
            return Resolved(kind, open_body=partial(open_stream, name, data))
        case _:
            return Resolved(kind, open_body=partial(open_bytes, name, primitive_bytes(data, of=name)))


def default_data(name: str, text: str) -> Resolved:
    """Return a model's default value as data; unlike a value of the user's it may be empty on purpose."""
    data = primitive_bytes(text, of=name) if text else b""
    return Resolved(InputSource.PRIMITIVE, open_body=partial(open_bytes, name, data))


def _kind(name: str, data: Any, source: InputSource | str | None) -> InputSource:
    if source is not None:
        return InputSource(source)
    match data:
        case None:
            raise ConfigurationError(f"there is no data for {name}", "give a path, a link, a value or a stream")
        case os.PathLike():
            return InputSource.FILE
        case str():
            return _kind_of_text(data)
        case _ if isinstance(data, _VALUES):
            return InputSource.PRIMITIVE
        case _ if is_stream(data):
            return InputSource.STREAM
    advice = "give a path, a link, a text, bytes, a number, a dict, a list or a stream"
    raise ConfigurationError(f"a {type(data).__name__} cannot be sent for {name}", advice)


def _kind_of_text(text: str) -> InputSource:
    if is_link(text):
        return InputSource.LINK
    try:
        return InputSource.FILE if stat.S_ISREG(Path(text).stat().st_mode) else InputSource.PRIMITIVE
    except (OSError, ValueError):  # there is no such file, or the text could not even be its name
        return InputSource.PRIMITIVE


def is_link(text: str) -> bool:
    """Whether a text is an http or https URL, in whatever letters its scheme is written."""
    try:
        parts = urlsplit(text.strip())
    except ValueError:  # an odd host
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def _link(name: str, data: Any) -> str:
    if not isinstance(data, str):
        raise ConfigurationError(f"the link of {name} is no text", "give an http or https URL")
    try:
        check_address(data, allow_http=True, advice="give an http or https URL")  # it is the service that goes there
    except AddressError as error:
        raise ConfigurationError(f"the link of {name} cannot be used: {error.reason}") from None
    return data.strip()


def _path(name: str, data: Any) -> Path:
    if not isinstance(data, str | os.PathLike):
        raise ConfigurationError(f"the path of {name} is a {type(data).__name__}", "give a path")
    if not os.fspath(data):
        raise ConfigurationError(f"the path of {name} is empty", "give the path of an existing file")
    return Path(data)
