"""Access tokens: JSON Web Tokens signed with HMAC-SHA256 (RFC 7515, RFC 7518)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import attrs

from .._clock import WallClock
from ._refusals import RefusedError

_AUDIENCE = "norman:server"


@attrs.define(eq=False)
class Tokens:
    """Issues tokens and checks them. `lifetime` (seconds) may be changed at any time."""

    secret: bytes = attrs.field(repr=False)
    clock: WallClock
    lifetime: float = 3600.0
    issued: int = attrs.field(default=0, init=False)  # access tokens so far

    def issue(self, account_id: str) -> str:
        """Make an access token for an account."""
        self.issued += 1
        now = self.clock.now()
        claims = {"sub": account_id, "aud": _AUDIENCE, "iat": now, "exp": now + self.lifetime, "jti": str(self.issued)}
        return self._signed(claims)

    def issue_identity(self, account_id: str) -> str:
        """Make an identity token, which opens nothing."""
        return self._signed({"sub": account_id, "aud": "norman:client", "exp": self.clock.now() + self.lifetime})

    def revoke_all(self) -> None:
        """Refuse every token that was issued before."""
        self.secret = hashlib.blake2b(self.secret).digest()

    def account_of(self, authorization: str | None) -> str:
        """Give the account that an ``Authorization`` header stands for; raises `RefusedError`."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unknown("there is no bearer token")
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            raise _unknown("the signature does not match")
        claims: dict[str, Any] = json.loads(_unpacked(signed.partition(".")[2]))
        if claims["aud"] != _AUDIENCE:
            raise _unknown("the audience does not match")
        if claims["exp"] < self.clock.now():
            raise _unknown("the token has expired")
        return str(claims["sub"])

    def _signed(self, claims: dict[str, object]) -> str:
        head = {"alg": "HS256", "typ": "JWT"}
        signed = ".".join(_packed(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
        return f"{signed}.{self._signature(signed)}"

    def _signature(self, signed: str) -> str:
        return _packed(hmac.digest(self.secret, signed.encode(), "sha256"))


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _unknown(cause: str) -> RefusedError:
    return RefusedError("authentication", "the access token is not accepted", cause, ["log in again"])
