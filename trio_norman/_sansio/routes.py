"""Paths of an API from ids and numbers that a caller gave."""

from __future__ import annotations

from urllib.parse import quote

from ..errors import ConfigurationError

LONGEST_ID = 1024  # characters


def segment(text: str, *, what: str) -> str:
    """Return an id percent-encoded as exactly one path segment.

    Args:
        text: The id.
        what: Its name in the error, ``training_run_id`` for example.

    Raises:
        TypeError: If it is no text.
        ConfigurationError: If it is empty, means a directory (``.``, ``..``), or cannot be an id.

    Source: RFC 3986, section 3.3.
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} is a text, not {type(text).__name__}")
    if not text.strip():
        raise ConfigurationError(f"{what} is empty", "pass the id as the service gave it")
    if text in {".", ".."} or "/" in text or "\\" in text or len(text) > LONGEST_ID or not text.isprintable():
        raise ConfigurationError(f"{what} cannot be an id", "pass the id alone, not a path or a URL")
    return quote(text, safe="")


def bounded(number: int, *, at_least: int, what: str) -> int:
    """Return a paging number that is whole and large enough.

    Raises:
        TypeError: If it is no whole number.
        ConfigurationError: If it is smaller than `at_least`.
    """
    if type(number) is not int:
        raise TypeError(f"{what} is a whole number, not {type(number).__name__}")
    if number < at_least:
        raise ConfigurationError(f"{what} is {number}", f"it begins at {at_least}")
    return number
