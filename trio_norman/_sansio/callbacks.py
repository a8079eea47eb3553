"""Who may deliver a callback, and how much of it: decided without I/O."""

from __future__ import annotations

import base64
import hmac
from typing import Literal

import attrs

from .redaction import Secret

_MOST_DIGITS = 20  # of a length; it would not be read as a number if there were thousands

Refusal = Literal[400, 401, 404, 405, 411, 413, 429]


def basic_auth(username: str, password: str) -> Secret:
    """Return the value of an Authorization header. Source: RFC 7617, section 2."""
    return Secret("Basic " + base64.b64encode(f"{username}:{password}".encode()).decode())


@attrs.frozen
class CallbackDoor:
    """What a request must show before its body is read.

    Both secrets are compared in constant time, and both each time, so that neither can be guessed piece by piece.

    Args:
        path: The only path that is served; nobody can guess it.
        authorization: The only value of Authorization that is let in.
        largest: Most bytes of a body.
    """

    path: Secret
    authorization: Secret
    largest: int

    def refusal(
        self, method: str, target: bytes, authorization: bytes, length: str | None, *, is_chunked: bool
    ) -> Refusal | None:
        """Return the status that turns a request away; None lets it in.

        Args:
            method: Its verb.
            target: Its request target, as sent.
            authorization: Its Authorization header, empty if there is none.
            length: Its Content-Length, if there is one.
            is_chunked: Whether its body comes in chunks, whose sum the reader has to watch.
        """
        is_place = hmac.compare_digest(target.partition(b"?")[0], self.path.reveal().encode())
        is_sender = hmac.compare_digest(authorization, self.authorization.reveal().encode())
        if not is_place:
            return 404
        if method != "POST":
            return 405
        if not is_sender:
            return 401
        if length is None and not is_chunked:
            return 411
        if length is None:
            return None
        if not (length.isascii() and length.isdigit()):
            return 400
        return 413 if len(length) > _MOST_DIGITS or int(length) > self.largest else None
