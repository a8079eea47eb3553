"""How the API can be told to misbehave."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

import attrs

PagingFault: TypeAlias = Literal[
    "loop", "same", "empty", "lie_total", "lie_few", "lie_negative", "ignore_offset", "zero_limit"
]
RawBody: TypeAlias = bytes | str | Callable[[], Iterable[bytes]]


@attrs.define(eq=False)
class Misbehaviour:
    """One rule: requests whose path matches get this instead of, or before, the true answer."""

    pattern: re.Pattern[str]
    method: str | None = None
    status: int | None = None  # nothing: the true answer, after `delay`
    body: RawBody = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0  # seconds before the answer; `math.inf` for none at all
    skip: int = 0  # so many matching requests are answered well first
    times: int | None = None  # so many are answered badly then; nothing: all
    cut_at: int | None = None  # body bytes after which the answer breaks off, although all were announced
    drop: bool = False  # reset the connection in place of an answer
    acts: bool = False  # let the request have its effect first, although its true answer is never seen
    hits: int = attrs.field(default=0, init=False)  # matching requests so far

    def strikes(self, method: str, path: str) -> bool:
        """Tell whether this request is to be answered badly, and count it."""
        if self.method not in (None, method) or not self.pattern.match(path):
            return False
        self.hits += 1
        late = self.times is not None and self.hits > self.skip + self.times
        return self.hits > self.skip and not late
