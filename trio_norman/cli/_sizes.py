"""Sizes, rates and durations, as people write and read them."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?)(i?b?)", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Read a size in bytes: ``1048576``, ``1MiB``, ``1M`` (1024 each), or ``1MB`` (1000 each).

    Raises:
        ValueError: If it is no size, or no whole number of bytes comes out.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("write a size as 16MiB, 1.5GiB or 1048576")
    number, prefix, ending = match.groups()
    if not prefix and ending.lower().startswith("i"):
        raise ValueError("write a size as 16MiB, 1.5GiB or 1048576")
    base = 1000 if prefix and ending.lower() == "b" else 1024
    size = (
        float(number) * base ** _POWERS[prefix.lower()]
        if "." in number
        else int(number) * base ** _POWERS[prefix.lower()]
    )
    if size != int(size):
        raise ValueError("this is no whole number of bytes")
    return int(size)


def shown_size(size: int | None) -> str:
    """Return a size for reading: ``16.0 MiB``; a question mark for an unknown one."""
    if size is None:
        return "?"
    if size < 1024:
        return f"{size} B"
    value = float(size)
    units = ["TiB", "GiB", "MiB", "KiB"]
    value /= 1024
    while value >= 999.95 and len(units) > 1:
        value /= 1024
        units.pop()
    return f"{value:.1f} {units[-1]}"


def shown_rate(per_second: float) -> str:
    """Return bytes per second for reading: ``12.3 MB/s`` (millions of bytes)."""
    return f"{per_second / 1e6:.1f} MB/s"


def shown_seconds(seconds: float) -> str:
    """Return a duration for reading: ``7 s``, ``4:05``, ``2:00:00``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
