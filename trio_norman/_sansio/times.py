"""The two ways in which services write a moment, and seconds that a peer asks us to wait."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

_ISO = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)


class Timestamp(datetime):
    """A moment in UTC that remembers in `raw` how the service wrote it."""

    raw: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an ISO 8601 time (no zone means UTC) or an HTTP date.

        Raises:
            ValueError: If `text` is neither.

        Source: wire/pytrio, section 1.4; RFC 9110, section 5.6.7.
        """
        moment = _iso(text) if _ISO.fullmatch(text) else http_date(text)
        if moment is None:
            raise ValueError("neither an ISO 8601 time nor an HTTP date")
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise ValueError("a time outside the years 1 to 9999") from None
        clock = (moment.hour, moment.minute, moment.second, moment.microsecond)
        stamp = cls(moment.year, moment.month, moment.day, *clock, tzinfo=UTC)
        stamp.raw = text
        return stamp

    @classmethod
    def from_unix(cls, number: float) -> Self:
        """Read a count of seconds, or of milliseconds where seconds would lie beyond the year 5138; `raw` is ISO 8601.

        Raises:
            ValueError: If it is no time of the years 1 to 9999.

        Source: wire/pytrio, section 2.3.
        """
        seconds = number / 1000 if abs(number) >= 1e11 else number
        try:
            moment = datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, OSError, ValueError):
            raise ValueError("a time outside the years 1 to 9999") from None
        return cls.parse(moment.isoformat())

    @classmethod
    def at(cls, moment: datetime) -> Self:
        """Return a moment written as RFC 3339 in UTC: ``Z``, microseconds as six digits and only if there are any."""
        return cls.parse(moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z")

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # `datetime` has one of its own, which knows nothing of `raw`; what arithmetic made of a time has no `raw`.
        return (Timestamp.parse, (self.raw,)) if hasattr(self, "raw") else tuple(super().__reduce_ex__(protocol))


def _iso(text: str) -> datetime:
    moment = datetime.fromisoformat(text.upper().replace(" ", "T"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def http_date(text: str) -> datetime | None:
    """Read an HTTP date in any of its three historical forms; None if it is no date.

    Source: RFC 9110, section 5.6.7.
    """
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def retry_after_seconds(text: str | None, *, now: datetime) -> float | None:
    """Return how long a peer asks us to wait; None if it does not say so in a usable way.

    Args:
        text: The ``Retry-After`` value: whole seconds, or an HTTP date.
        now: The peer's clock: its ``Date`` header where it sent one.

    A date in the past and a malformed value give None: the caller's own back-off counts then.
    Source: RFC 9110, section 10.2.3.
    """
    if text is None:
        return None
    text = text.strip()
    if re.fullmatch(r"\d{1,300}", text, re.ASCII):
        return float(text)
    moment = http_date(text)
    seconds = 0.0 if moment is None else (moment - now).total_seconds()
    return seconds if seconds > 0 else None
