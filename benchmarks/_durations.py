"""What all clients of the futures' benchmark share: which tasks they make, and what they tell."""

import random
import statistics
from collections.abc import Iterator

IN_FLIGHT = 64


def seconds(count: int) -> Iterator[float]:
    """Give the seconds that each task takes: 50 to 500 ms, the same for every client."""
    luck = random.Random(7)
    return (luck.uniform(0.05, 0.5) for _ in range(count))


def told(delays: list[float], polls: float) -> dict[str, float]:
    """Sum up how long after each task's end its answer was here."""
    slowest = sorted(delays)[round(0.95 * (len(delays) - 1))]
    return {"count": len(delays), "median": statistics.median(delays), "p95": slowest, "polls": polls}
