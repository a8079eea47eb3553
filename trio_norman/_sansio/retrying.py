"""Which failures are tried again, when, and for how long."""

from __future__ import annotations

from typing import Literal

import attrs

from ..errors import (
    ChecksumMismatchError,
    LimitExceededError,
    NameResolutionError,
    ProtocolError,
    ProxyError,
    RangeNotHonouredError,
    ServiceError,
    TransportError,
    TrioNormanError,
)

Verdict = Literal["no", "once", "yes"]

#: Statuses after which the same safe request may succeed. Source: RFC 9110, section 15; wire/pytrio, section 2.1.
RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Codes of the service's envelope that say more than their status. Source: wire/pytrio, section 2.2.
PASSING_CODES = frozenset(
    {
        *("too_many_requests", "actor_capacity_exceeded", "service_unavailable", "auth_service_unavailable"),
        *("no_available_actor", "actor_disabled", "runner_disabled", "internal_error", "database_error"),
    }
)
LASTING_CODES = frozenset(
    {
        *("unauthorized", "forbidden", "api_key_expired", "api_key_revoked", "api_key_disabled"),
        *("billing_insufficient_balance", "model_not_found", "validation_failed", "checkpoint_invalid_type"),
        *("invalid_request_body", "invalid_query_params", "invalid_path_params"),
    }
)
#: Verbs that change nothing and may therefore be sent again after a lost answer. Source: RFC 9110, section 9.2.1.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

#: An answer that brings so many bytes is worth a request, even if more were asked for.
_WORTH_ASKING = 16 * 2**10


@attrs.frozen
class RetryPolicy:
    """Limits of trying again: the wait doubles from `initial` to `longest` seconds and is spread by full jitter.

    `attempts` tries and `seconds` are what may go by *without progress*: a download that advances starts afresh.
    A `Retry-After` above `longest_retry_after` seconds ends the matter at once instead of sleeping.
    """

    attempts: int = attrs.field(default=8, validator=attrs.validators.ge(1))
    seconds: float = attrs.field(default=600.0, validator=attrs.validators.ge(0))
    initial: float = attrs.field(default=0.5, validator=attrs.validators.ge(0))
    longest: float = attrs.field(default=30.0, validator=attrs.validators.ge(0))
    longest_retry_after: float = attrs.field(default=300.0, validator=attrs.validators.ge(0))

    def backoff(self, failures: int, *, jitter: float) -> float:
        """Return the seconds to wait after the `failures`-th failure in a row; `jitter` is in [0, 1)."""
        return min(self.longest, self.initial * 2.0 ** min(failures - 1, 60)) * jitter


def verdict(error: TrioNormanError) -> Verdict:
    """Tell whether the request that ended in `error` is worth sending again, as far as its kind goes."""
    match error:
        case ServiceError(status=status, code=code):
            may_pass = status in RETRYABLE_STATUSES or code in PASSING_CODES
            return "yes" if may_pass and code not in LASTING_CODES else "no"
        case NameResolutionError(reason=reason):
            return "yes" if "temporary" in reason.lower() else "no"
        case ProxyError(reason=reason):
            return "no" if reason.startswith("407") else "yes"  # it wants a login
        case ProtocolError(again=again):
            return again
        case RangeNotHonouredError() | ChecksumMismatchError() | LimitExceededError(unit="interim responses"):
            return "once"
        case TransportError():
            return "yes" if error.retryable else "no"
        case _:
            return "no"


@attrs.define
class News:
    """Tells bytes that are more than there ever were from those that come once more: these are no progress."""

    _came: int = attrs.field(init=False, default=0)  # since the object was begun the last time
    _most: int = attrs.field(init=False, default=0)

    def begin_anew(self) -> None:
        """Note that what came is forgotten."""
        self._came = 0

    def count(self, received: int) -> int:
        """Count bytes that came, and return how many of them are new."""
        self._came += received
        fresh = min(received, max(0, self._came - self._most))
        self._most = max(self._most, self._came)
        return fresh


@attrs.define
class RetryBudget:
    """What is left of a policy for one piece of work; `now` is any clock that never goes back, in seconds."""

    policy: RetryPolicy
    failures: int = attrs.field(init=False, default=0)
    total_failures: int = attrs.field(init=False, default=0)
    _since: float | None = attrs.field(init=False, default=None)
    _progress: int = attrs.field(init=False, default=0)
    _once_spent: set[type[TrioNormanError]] = attrs.field(init=False, factory=set)

    def advance(self, count: int, *, size: int | None) -> None:
        """Note `count` new bytes: 1 MiB of them, or 1 % of the object, refund what failures have used up."""
        self._progress += count
        enough = 2**20 if size is None else min(2**20, max(1, size // 100))
        if self._progress >= enough:
            self._progress, self.failures, self._since = 0, 0, None

    def allows_short_answer(self, count: int, *, size: int | None) -> bool:
        """Tell whether to ask on after an answer that brought less than was asked for.

        One of 16 KiB, or of 1 % of the object, bounds the number of requests by itself. A shorter one is a failure.

        Args:
            count: Bytes that it brought.
            size: Length of the object, if it is known.
        """
        if count >= _WORTH_ASKING or (size is not None and count >= max(1, size // 100)):
            return True
        self.failures += 1
        return self.failures < self.policy.attempts

    def after(self, error: TrioNormanError, *, now: float, jitter: float) -> float | None:
        """Return the seconds to wait before the next try, or None: this error is final.

        Args:
            error: What ended the last try.
            now: Seconds on a monotonic clock.
            jitter: Luck in [0, 1).
        """
        self._since = now if self._since is None else self._since
        self.failures += 1
        self.total_failures += 1
        kind = verdict(error)
        if kind == "no" or (kind == "once" and type(error) in self._once_spent):
            return None
        self._once_spent |= {type(error)} if kind == "once" else set()
        asked = getattr(error, "retry_after", None)
        if asked is not None and asked > self.policy.longest_retry_after:
            return None
        wait = float(asked) if asked else self.policy.backoff(self.failures, jitter=jitter)
        spent = now - self._since + wait
        return None if self.failures >= self.policy.attempts or spent > self.policy.seconds else wait
