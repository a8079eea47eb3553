"""Digests: how peers announce them, and the one form in which they are compared."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import fastcrc

#: Every digest that can be computed, strongest first, with its length in bytes.
LENGTHS: Mapping[str, int] = {
    "sha512": 64,
    "sha256": 32,
    "sha1": 20,
    "md5": 16,
    "crc64xz": 8,
    "crc32c": 4,
    "crc32": 4,
}
#: Spellings of the same algorithms in headers and lists. Source: RFC 9530, section 5; vendors' documentation.
_SPELLINGS: Mapping[str, str] = {
    "sha-512": "sha512",
    "sha-256": "sha256",
    "sha-1": "sha1",
    "sha": "sha1",
    "crc64ecma": "crc64xz",
    "crc64": "crc64xz",
}
_DICTIONARY_ITEM = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)\s*=\s*:([A-Za-z0-9+/=\s]*):\s*", re.ASCII)
_PLAIN_ITEM = re.compile(r"\s*([A-Za-z0-9-]+)=([A-Za-z0-9+/=]+)\s*", re.ASCII)


class Hasher(Protocol):
    """The part of `hashlib`'s interface that is used: feed it, then ask once."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in the next bytes."""

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far, in lower-case hexadecimal."""


class _Checksum:
    def __init__(self, step: Callable[[bytes, int], int], length: int) -> None:
        self._step, self._length, self._value = step, length, 0

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._value = self._step(data, self._value)  # type: ignore[arg-type]  # every buffer will do

    def hexdigest(self) -> str:
        return f"{self._value:0{2 * self._length}x}"


def new_hasher(algorithm: str) -> Hasher:
    """Start a digest by one of the names in `LENGTHS`."""
    match algorithm:
        case "crc64xz":
            return _Checksum(fastcrc.crc64.xz, 8)
        case "crc32c":
            return _Checksum(fastcrc.crc32.iscsi, 4)
        case "crc32":
            return _Checksum(zlib.crc32, 4)
        case _:
            return hashlib.new(algorithm, usedforsecurity=algorithm in {"sha256", "sha512"})


def normal_digest(algorithm: str, text: str) -> tuple[str, str]:
    """Return one announced digest as (name, lower-case hexadecimal).

    Raises:
        ValueError: If the algorithm is unknown, or the value is not a whole digest of it: what cannot be compared
            must not be skipped.
    """
    name = algorithm.strip().lower()
    name = _SPELLINGS.get(name, name)
    if name not in LENGTHS:
        raise ValueError(f"unknown digest algorithm; known are {', '.join(LENGTHS)}")
    value = text.strip().lower()
    if not re.fullmatch(r"[0-9a-f]*", value, re.ASCII) or len(value) != 2 * LENGTHS[name]:
        raise ValueError(f"a {name} has {2 * LENGTHS[name]} hexadecimal digits")
    return name, value


def announced_digests(headers: Iterable[tuple[str, str]], *, whole_body: bool) -> dict[str, str]:
    """Collect what a response's headers say about the digest of the *whole object*.

    Args:
        headers: Names in lower case with their values.
        whole_body: Whether the body is the whole object; headers that speak of the message count only then.

    Returns:
        Algorithm to lower-case hexadecimal. A value that is no digest of its algorithm is kept as it stands: it will
        never compare equal, and so shows up instead of being skipped. Unknown algorithms are left out.

    Source: RFC 9530, sections 2 and 3 (``Repr-Digest``, ``Content-Digest``); the object stores' own header names.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name == "repr-digest" or (name == "content-digest" and whole_body):
            _collect_items(found, _DICTIONARY_ITEM, value)
        elif name == "x-goog-hash":
            _collect_items(found, _PLAIN_ITEM, value)
        elif name == "content-md5" and whole_body:
            found["md5"] = _hex_of_base64(value)
        elif name == "x-cos-hash-crc64ecma":
            number = value.strip()  # of more than int() takes for space
            found["crc64xz"] = f"{int(number):016x}" if re.fullmatch(r"\d{1,20}", number, re.ASCII) else number
        elif name.startswith("x-amz-checksum-") and "-" not in value and whole_body:
            _collect(found, name.removeprefix("x-amz-checksum-"), value)
    return found


def _collect_items(found: dict[str, str], pattern: re.Pattern[str], value: str) -> None:
    for item in value.split(","):
        match = pattern.fullmatch(item)
        if match:
            _collect(found, match[1].lower(), match[2])


def _collect(found: dict[str, str], name: str, value: str) -> None:
    name = _SPELLINGS.get(name, name)
    if name in LENGTHS:
        found[name] = _hex_of_base64(value)


def _hex_of_base64(value: str) -> str:
    try:
        return base64.b64decode(value.strip(), validate=True).hex()
    except ValueError:  # binascii.Error is one; text outside ASCII gives a plain one
        return value.strip()


def contradiction(known: Mapping[str, str], more: Mapping[str, str]) -> str | None:
    """Return the algorithm for which two announcements differ, or None."""
    return next((name for name in known if more.get(name, known[name]) != known[name]), None)
