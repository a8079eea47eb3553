"""What all clients of the futures' benchmark share: which tasks they make, and what they tell."""

import random
import statistics
import time
from collections.abc import Iterator

IN_FLIGHT = 64


def seconds(count: int) -> Iterator[float]:
    """Give the seconds that each task takes: 50 to 500 ms, the same for every client."""
    luck = random.Random(7)
    return (luck.uniform(0.05, 0.5) for _ in range(count))


def told(delays: list[float], polls: float, began: float) -> dict[str, float]:
    """Sum up how long after each task's end its answer was here, and what all took.

    Args:
        delays: Seconds, one for each task.
        polls: Polls a task.
        began: What `time.process_time` said before the first task.
    """
    slowest, cpu = sorted(delays)[round(0.95 * (len(delays) - 1))], time.process_time() - began
    return {"count": len(delays), "median": statistics.median(delays), "p95": slowest, "polls": polls, "cpu": cpu}
