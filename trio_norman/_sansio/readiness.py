"""How long, and how often, to ask for something that is not ready yet."""

from __future__ import annotations

_FIRST, _LONGEST = 1.0, 30.0  # seconds between two questions


def next_question(asked: int, *, waited: float, within: float, jitter: float) -> float | None:
    """Return the seconds until the next question, or None if the time for waiting is over.

    Args:
        asked: How often it was asked already, from 1 on.
        waited: Seconds since the first question.
        within: Longest wait in all, in seconds.
        jitter: Luck in [0, 1), which spreads the questions of many by a tenth.
    """
    left = within - waited
    if left <= 0:
        return None
    pause = min(_LONGEST, _FIRST * 2.0 ** min(asked - 1, 60))
    return min(left, pause * (1 + jitter / 10))
