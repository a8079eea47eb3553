"""How long an access token may be used."""

from __future__ import annotations

import base64
import math
from datetime import datetime
from typing import Any

from .expiry import renewal_age
from .jsontext import decode_json

_LAST = 2**53  # seconds; a larger number may be none that a float can hold
_LONGEST = 10 * 365 * 86_400  # seconds; what claims more is taken for a mistake


def token_age_limit(token: str, *, now: datetime) -> float:
    """Return for how many seconds from its making a token is used before a new one is asked for.

    It ends a margin before its own end. The signature is not looked at: that is the service's business.

    Args:
        token: The access token; one that is no JWT, or tells no end, is used until it is refused.
        now: The service's own clock when it made the token, so that a wrong local clock does no harm.

    Source: wire/norman, section 1; RFC 7519, section 4.1.4.
    """
    end = _claims(token).get("exp")
    if isinstance(end, bool) or not isinstance(end, int | float):
        return math.inf
    lifetime = min(max(end, 0), _LAST) - now.timestamp()
    return max(renewal_age(lifetime) or 0.0, 0.0) if lifetime < _LONGEST else math.inf


def _claims(token: str) -> dict[str, Any]:
    parts = token.split(".")
    try:
        claims = decode_json(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, IndexError):
        return {}
    return claims if isinstance(claims, dict) else {}
