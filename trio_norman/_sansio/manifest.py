"""A list of downloads as text: one line an item, ``URL<TAB>NAME`` and further fields behind tabs."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..errors import ConfigurationError
from .digests import LENGTHS, normal_digest
from .ranges import LARGEST_SIZE


@attrs.frozen
class Entry:
    """One line: where from, under which name, and what is known of the content."""

    url: str = attrs.field(repr=False)
    name: str
    size: int | None = None
    digests: Mapping[str, str] = attrs.field(factory=dict)


def read_entry(line: str, *, number: int) -> Entry | None:
    """Read one line; None for an empty line and for a comment (``#``).

    Args:
        line: The text, with or without its line end. Fields stand between tabs: URL, name, then any of ``size=BYTES``
            and ``ALGORITHM=HEX`` (`sha256`, and the other names that `digests` knows).
        number: Its number, for errors.

    Raises:
        ConfigurationError: If the name is missing, or a field is unknown, doubled or malformed. Never shows the URL.
    """
    text = line.rstrip("\r\n")
    if not text.strip() or text.startswith("#"):
        return None
    url, *fields = (field.strip() for field in text.split("\t"))
    if not fields or not fields[0]:
        raise ConfigurationError(f"line {number} has no name", "write URL<TAB>NAME, with a real tab between them")
    size: int | None = None
    digests: dict[str, str] = {}
    for field in filter(None, fields[1:]):
        key, _, value = field.partition("=")
        if key == "size":
            _refuse_twice(key, size is not None, number)
            size = _size(value, number)
        else:
            algorithm, digest = _digest(key, value, number)
            _refuse_twice(algorithm, algorithm in digests, number)  # however it was spelled
            digests[algorithm] = digest
    return Entry(url, fields[0], size, digests)


def _refuse_twice(key: str, is_known: bool, number: int) -> None:
    if is_known:
        raise ConfigurationError(f"line {number} gives {key} twice")


def _size(value: str, number: int) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= 19 and int(value) <= LARGEST_SIZE):
        raise ConfigurationError(f"line {number}: size is not a number of bytes")
    return int(value)


def _digest(key: str, value: str, number: int) -> tuple[str, str]:
    try:
        return normal_digest(key, value)
    except ValueError as error:
        advice = f"a field is size=BYTES or one of {', '.join(LENGTHS)} =HEX"
        raise ConfigurationError(f"line {number}: {error}", advice) from None
