"""What an encrypted push puts on the wire: a header and a body under one key stream, and a checksum of the body.

The cipher has no integrity tag and the checksum is none against an attacker: both guard against accidents only.

Source: wire/norman, section 5; RFC 8439, section 2.4.
"""

from __future__ import annotations

import base64
from typing import Any

import attrs
import xxhash
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from .redaction import REDACTED, Secret

KEY_BYTES, NONCE_BYTES = 32, 12
LONGEST = 2**38  # bytes of header and body: the block counter has 32 bits, and a block 64 bytes
ALGORITHM = "xxh3-64"
_LARGEST_HEADER = 64 * 1024  # bytes; the known ones have 16


@attrs.frozen
class PushKeys:
    """What opens one connection and encrypts what goes over it. Nothing of it is shown."""

    key: bytes = attrs.field(repr=lambda _: REDACTED)
    nonce: bytes = attrs.field(repr=lambda _: REDACTED)
    header: bytes = attrs.field(repr=lambda _: REDACTED)


def read_keys(*, encryption_key: Secret, nonce: Secret, authentication_header: Secret) -> PushKeys:
    """Decode a pairing's three base64 texts.

    Raises:
        ValueError: If one is not standard base64 or has the wrong length; it names the field and shows nothing of it.
    """
    key = _decoded("encryption_key", encryption_key)
    iv = _decoded("nonce", nonce)
    header = _decoded("authentication_header", authentication_header)
    if len(key) != KEY_BYTES:
        raise ValueError(f"expected {KEY_BYTES} bytes, got {len(key)} @ $.encryption_key")
    if len(iv) != NONCE_BYTES:
        raise ValueError(f"expected {NONCE_BYTES} bytes, got {len(iv)} @ $.nonce")
    if not 1 <= len(header) <= _LARGEST_HEADER:
        raise ValueError(f"expected 1 to {_LARGEST_HEADER} bytes, got {len(header)} @ $.authentication_header")
    return PushKeys(key, iv, header)


def _decoded(name: str, text: Secret) -> bytes:
    try:
        return base64.b64decode(text.reveal(), validate=True)
    except ValueError:
        pass
    raise ValueError(f"not base64 @ $.{name}")  # outside, so that the text is nobody's context


class PushFrames:
    """The bytes of one push: `start` once, then `encrypt` for the body in pieces of any size, then `checksum`.

    A key and a nonce are good for one connection and one body: make another object only from another pairing.

    Args:
        keys: Of the pairing.
        size: Announced length of the body, in bytes.

    Raises:
        ValueError: If the body is longer than the key stream.
    """

    def __init__(self, keys: PushKeys, size: int) -> None:
        if len(keys.header) + size > LONGEST:
            raise ValueError(f"one push takes {LONGEST - len(keys.header)} bytes at most")
        algorithm = algorithms.ChaCha20(keys.key, bytes(4) + keys.nonce)
        self._stream: Any = Cipher(algorithm, mode=None).encryptor()
        self._header, self._checksum = keys.header, xxhash.xxh3_64()
        self._size, self.taken = size, 0

    def start(self) -> bytes:
        """Return what comes first on the wire; nothing if it was returned before."""
        header, self._header = self._header, b""
        return bytes(self._stream.update(header))

    def encrypt(self, body: memoryview, into: memoryview) -> int:
        """Encrypt the next bytes of the body and take them into the checksum; return how many there were.

        Args:
            body: Any number of bytes.
            into: Room for as many; it may be `body` itself.

        Raises:
            ValueError: If more comes than was announced, or `start` was not called.
        """
        if self._header:
            raise ValueError("the header goes first")
        if self.taken + len(body) > self._size:
            raise ValueError("more bytes than announced")
        self._checksum.update(body)
        self.taken += len(body)
        return int(self._stream.update_into(body, into[: len(body)]))

    @property
    def is_complete(self) -> bool:
        """Whether the announced length has been reached."""
        return self.taken == self._size and not self._header

    def checksum(self) -> str:
        """Return the checksum of the body so far: 16 lower-case hexadecimal digits."""
        return str(self._checksum.hexdigest())
