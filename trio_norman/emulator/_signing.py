"""Presigned URLs of the object storage, in the form that Tencent COS gives them, and their check.

Source: the service's own archive URLs, and the storage's published request signature (``q-sign-algorithm=sha1``).
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote

import attrs

_ACCESS_KEY = "AKIDemulator0000000000000000000000"


@attrs.frozen
class Refusal:
    """Why the storage does not serve a request: HTTP status, error code, message."""

    status: int
    code: str
    message: str


@attrs.frozen
class UrlSigner:
    """Signs and checks URLs with a secret of its own.

    The signature covers the method GET (a HEAD is let through with it), the path, the storage's own host and the
    times. The rest of the query is free, so that a test may append fault knobs to a signed URL.
    """

    secret: bytes = attrs.field(repr=False)
    host: str

    def query(self, path: str, start: int, end: int) -> str:
        """Give the query that lets a GET of `path` through from `start` to `end`, in Unix seconds."""
        times = f"{start};{end}"
        fields = {
            "q-sign-algorithm": "sha1",
            "q-ak": _ACCESS_KEY,
            "q-sign-time": times,
            "q-key-time": times,
            "q-header-list": "host",
            "q-url-param-list": "",
            "q-signature": self._signature(path, times),
        }
        return "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())

    def refusal(self, path: str, fields: dict[str, str], now: float) -> Refusal | None:
        """Check a request's signature fields; nothing means that it may be served."""
        times = fields.get("q-sign-time", "")
        given = fields.get("q-signature", "")
        if not times or not given:
            return Refusal(403, "AccessDenied", "Access Denied.")
        if fields.get("q-sign-algorithm") != "sha1" or fields.get("q-key-time") != times:
            return Refusal(403, "SignatureDoesNotMatch", "The signature fields contradict each other.")
        if not hmac.compare_digest(given.encode(), self._signature(path, times).encode()):
            return Refusal(403, "SignatureDoesNotMatch", "The request signature is not valid.")
        start, _, end = times.partition(";")
        if now < int(start) - 900:
            return Refusal(403, "RequestTimeTooSkewed", "The request is not valid yet.")
        if now >= int(end):
            return Refusal(403, "AccessDenied", "Request has expired")
        return None

    def _signature(self, path: str, times: str) -> str:
        sign_key = self._mac(self.secret, times)
        request = f"get\n{path}\n\nhost={quote(self.host, safe='')}\n"
        digest = hashlib.sha1(request.encode(), usedforsecurity=False).hexdigest()
        return self._mac(sign_key.encode(), f"sha1\n{times}\n{digest}\n")

    @staticmethod
    def _mac(key: bytes, text: str) -> str:
        return hmac.new(key, text.encode(), hashlib.sha1).hexdigest()
