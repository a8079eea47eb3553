"""Foreign bytes, spoilt in every way, and a budget of time and memory for whatever reads them."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from tests.strategies import Damage, damages

T = TypeVar("T")

#: Measuring makes each example dear, as a connection does: fewer of them, in `make test` and in `make soak`.
measured = settings(max_examples=max(50, settings().max_examples // 10), deadline=None)

#: What reading may cost beside what its size allows: the first call fills caches.
_SECONDS, _SECONDS_PER_KIB = 0.05, 0.01
# h11 reads a line by a regular expression, whose engine remembers some 300 bytes for each one of a reason phrase.
_BYTES, _BYTES_PER_BYTE = 256 * 1024, 384
_TRIES = 3  # a garbage collection may fall into any of them


def spoilt(*samples: bytes, most: int = 6) -> st.SearchStrategy[bytes]:
    """Samples that were harmed at a few places, repeated many times, or are any bytes at all."""

    def harm(data: bytes, harms: list[Damage]) -> bytes:
        for each in harms:
            data = each.on(data)
        return data

    harmed = st.builds(harm, st.sampled_from(samples), st.lists(damages(), max_size=most))
    long = st.builds(lambda data, times, end: data * times + end, harmed, st.integers(2, 200), harmed)
    return harmed | long | st.binary(max_size=100)


def within_budget(size: int, read: Callable[[], T], *refusals: type[Exception]) -> T | None:
    """Read, and see that time and memory are in proportion to the size of what is read.

    Args:
        size: Of the input, in bytes.
        read: Reads it; it may be called several times.
        refusals: What it may raise instead of an answer. Anything else goes through.

    Returns:
        What `read` returns; None if it refuses.
    """
    seconds, held = float("inf"), float("inf")
    answer: T | None = None
    for _ in range(_TRIES):
        tracemalloc.start()
        began = time.thread_time()
        try:
            answer = read()
        except refusals:
            answer = None
        finally:
            seconds = min(seconds, time.thread_time() - began)
            held = min(held, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        if seconds <= _SECONDS + _SECONDS_PER_KIB * size / 1024 and held <= _BYTES + _BYTES_PER_BYTE * size:
            return answer
        gc.collect()  # so that the next try is not charged with when the collector happens to run
    raise AssertionError(f"reading {size} bytes took {seconds:.3f} s and {held} bytes of memory")
