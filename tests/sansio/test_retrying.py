from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trio_norman._sansio.retrying import (
    LASTING_CODES,
    PASSING_CODES,
    RETRYABLE_STATUSES,
    SAFE_METHODS,
    News,
    RetryBudget,
    RetryPolicy,
    Verdict,
    verdict,
)
from trio_norman.errors import (
    AddressError,
    ChecksumMismatchError,
    ConfigurationError,
    ConnectError,
    DownloadCancelledError,
    HeadTimeoutError,
    InterruptedTransferError,
    LimitExceededError,
    MalformedResponseError,
    NameResolutionError,
    NoSpaceError,
    PagingError,
    ProtocolError,
    ProxyError,
    RangeNotHonouredError,
    RateLimitedError,
    RedirectError,
    ServiceError,
    SlowTransferError,
    TlsError,
    TransferError,
    TransportError,
    TrioNormanError,
    UndecodableResponseError,
    UrlExpiredError,
)

URL = "https://h/x"
RESET = InterruptedTransferError("GET", URL, "connection reset")
MIB = 2**20


def policies() -> st.SearchStrategy[RetryPolicy]:
    """Policies with small numbers, so that every limit is met."""
    seconds = st.floats(0, 100)
    return st.builds(
        RetryPolicy,
        attempts=st.integers(1, 10),
        seconds=seconds,
        initial=seconds,
        longest=seconds,
        longest_retry_after=seconds,
    )


def jitters() -> st.SearchStrategy[float]:
    """Luck."""
    return st.floats(0, 1, exclude_max=True)


def limited(retry_after: float | None) -> RateLimitedError:
    return RateLimitedError("GET", URL, 429, retry_after=retry_after)


# ---- kinds


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectError("GET", URL), "yes"),
        (HeadTimeoutError("GET", URL), "yes"),
        (SlowTransferError("GET", URL), "yes"),
        (RESET, "yes"),
        (ProxyError("GET", URL), "yes"),
        (NameResolutionError("GET", URL, "no such host"), "no"),
        (NameResolutionError("GET", URL, "Temporary failure in name resolution"), "yes"),
        (TlsError("GET", URL), "no"),
        (RedirectError("GET", URL), "no"),
        (AddressError("GET", URL), "no"),
        (ProtocolError("GET", URL), "once"),
        (RangeNotHonouredError("f"), "once"),
        (ChecksumMismatchError("f"), "once"),
        (MalformedResponseError("GET", URL), "no"),
        (UndecodableResponseError("GET", URL), "no"),
        (PagingError("GET", URL), "no"),
        (LimitExceededError("GET", URL, "the body", 5), "no"),
        (ConfigurationError("no key"), "no"),
        (NoSpaceError("f"), "no"),
        (DownloadCancelledError("f"), "no"),
        (UrlExpiredError("f"), "no"),
        (TransferError("f"), "no"),
        (TrioNormanError(), "no"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_every_kind_of_failure_has_its_verdict(error: TrioNormanError, expected: Verdict) -> None:
    assert verdict(error) == expected


@given(status=st.sampled_from(sorted(RETRYABLE_STATUSES)) | st.integers(300, 599))
def test_a_status_is_tried_again_exactly_if_it_may_pass(status: int) -> None:
    assert verdict(ServiceError("GET", URL, status)) == (
        "yes" if status in {408, 425, 429, 500, 502, 503, 504} else "no"
    )


def test_only_verbs_that_change_nothing_are_safe() -> None:
    assert {"GET", "HEAD", "OPTIONS"} == SAFE_METHODS


# ---- waits


@given(policy=policies(), failures=st.integers(1, 10_000), jitter=jitters())
def test_a_backoff_is_never_negative_nor_longer_than_the_longest(
    policy: RetryPolicy, failures: int, jitter: float
) -> None:
    wait = policy.backoff(failures, jitter=jitter)
    assert 0 <= wait <= policy.longest
    assert wait <= policy.backoff(failures + 1, jitter=jitter)


@given(failures=st.integers(1, 20), jitter=jitters())
def test_a_backoff_doubles_until_it_is_longest_and_is_spread_over_all_of_it(failures: int, jitter: float) -> None:
    policy = RetryPolicy(initial=0.5, longest=30)
    assert policy.backoff(failures, jitter=jitter) == pytest.approx(jitter * min(30, 0.5 * 2 ** (failures - 1)))
    assert policy.backoff(failures, jitter=0.0) == 0


def test_the_limits_are_those_that_are_promised() -> None:
    policy = RetryPolicy()
    assert (policy.attempts, policy.seconds, policy.longest_retry_after) == (8, 600, 300)


@pytest.mark.parametrize("name", ["attempts", "seconds", "initial", "longest", "longest_retry_after"])
def test_a_policy_of_negative_numbers_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        RetryPolicy(**{name: -1})


def test_a_policy_makes_at_least_one_attempt() -> None:
    with pytest.raises(ValueError, match="must be"):
        RetryPolicy(attempts=0)


# ---- budgets


@given(policy=policies(), jitter=jitters(), pause=st.floats(0, 50))
def test_a_failure_that_goes_on_is_tried_no_more_often_and_no_longer_than_the_policy_says(
    policy: RetryPolicy, jitter: float, pause: float
) -> None:
    budget, now, tries = RetryBudget(policy), 1000.0, 1
    began = now
    while (wait := budget.after(RESET, now=now, jitter=jitter)) is not None:
        now += wait
        assert now - began <= policy.seconds * 1.000001
        tries += 1
        now += pause
    assert 1 <= tries <= policy.attempts
    assert budget.total_failures == budget.failures == tries


def test_a_failure_is_tried_as_often_as_the_policy_allows() -> None:
    budget = RetryBudget(RetryPolicy(attempts=4))
    waits = [budget.after(RESET, now=0.0, jitter=0.5) for _ in range(4)]
    assert waits == [0.25, 0.5, 1.0, None]


@given(now=st.floats(0, 10**6), wait=st.floats(0, 10))
def test_time_is_up_exactly_if_the_next_wait_would_end_after_it(now: float, wait: float) -> None:
    assume(wait != 5)
    budget = RetryBudget(RetryPolicy(seconds=5.0))
    assert (budget.after(limited(wait), now=now, jitter=0.5) is None) == (wait > 5)


@given(policy=policies(), asked=st.floats(0.001, 200), jitter=jitters())
def test_what_the_service_asks_for_is_waited_for_in_full_or_not_at_all(
    policy: RetryPolicy, asked: float, jitter: float
) -> None:
    wait = RetryBudget(policy).after(limited(asked), now=0.0, jitter=jitter)
    assert wait is None or wait == asked
    if asked > policy.longest_retry_after:
        assert wait is None


@pytest.mark.parametrize(("asked", "wait"), [(300.0, 300.0), (300.5, None), (315360000.0, None), (math.inf, None)])
def test_a_wait_above_the_cap_ends_the_matter_at_once(asked: float, wait: float | None) -> None:
    assert RetryBudget(RetryPolicy()).after(limited(asked), now=0.0, jitter=0.0) == wait


def test_without_a_word_from_the_service_the_own_backoff_counts() -> None:
    assert RetryBudget(RetryPolicy()).after(limited(None), now=0.0, jitter=0.5) == 0.25


@pytest.mark.parametrize("error", [TlsError("GET", URL), ServiceError("GET", URL, 404), TrioNormanError()])
def test_a_hopeless_failure_is_final_at_once(error: TrioNormanError) -> None:
    assert RetryBudget(RetryPolicy()).after(error, now=0.0, jitter=0.0) is None


def test_a_failure_worth_one_try_gets_one_for_each_kind_and_progress_brings_no_second() -> None:
    budget = RetryBudget(RetryPolicy())
    odd, wrong = ProtocolError("GET", URL), RangeNotHonouredError("f")
    assert budget.after(odd, now=0.0, jitter=0.0) == 0
    assert budget.after(wrong, now=0.0, jitter=0.0) == 0
    budget.advance(10 * MIB, size=None)
    assert budget.after(odd, now=0.0, jitter=0.0) is None
    assert budget.after(wrong, now=0.0, jitter=0.0) is None
    assert budget.after(RESET, now=0.0, jitter=0.0) == 0


@given(pieces=st.lists(st.integers(0, MIB // 2), max_size=8), size=st.none() | st.integers(0, 400 * MIB))
def test_failures_are_refunded_exactly_by_a_mebibyte_or_a_hundredth(pieces: list[int], size: int | None) -> None:
    enough = MIB if size is None else min(MIB, max(1, size // 100))
    budget, progress = RetryBudget(RetryPolicy()), 0
    budget.after(RESET, now=0.0, jitter=0.0)
    for piece in pieces:
        budget.advance(piece, size=size)
        progress += piece
        if progress >= enough:
            assert budget.failures == 0
            budget.after(RESET, now=0.0, jitter=0.0)
            progress = 0
        assert budget.failures == 1


@given(size=st.none() | st.integers(1, 400 * MIB), pieces=st.lists(st.integers(1, 64 * 1024), max_size=20))
def test_short_answers_are_failures_only_if_they_bring_next_to_nothing(size: int | None, pieces: list[int]) -> None:
    budget = RetryBudget(RetryPolicy(attempts=3))
    little = [piece < 16 * 1024 and (size is None or piece < max(1, size // 100)) for piece in pieces]
    goes_on = [budget.allows_short_answer(piece, size=size) for piece in pieces]
    assert goes_on == [not is_little or sum(little[: n + 1]) < 3 for n, is_little in enumerate(little)]


def test_progress_starts_the_clock_afresh() -> None:
    budget = RetryBudget(RetryPolicy(seconds=10))
    assert budget.after(limited(4.0), now=0.0, jitter=0.0) == 4
    budget.advance(MIB, size=None)
    assert budget.after(limited(4.0), now=100.0, jitter=0.0) == 4
    assert budget.after(limited(4.0), now=107.0, jitter=0.0) is None


@given(size=st.integers(1, 10 * MIB), piece=st.integers(1, 1000))
def test_a_peer_that_gives_little_before_each_failure_is_left_after_a_bounded_number_of_tries(
    size: int, piece: int
) -> None:
    assume(size // piece <= 2000)
    policy = RetryPolicy(attempts=3, initial=0)
    budget, came, tries = RetryBudget(policy), 0, 0
    while came < size:
        tries += 1
        came += piece
        budget.advance(piece, size=size)
        if budget.after(RESET, now=0.0, jitter=0.0) is None:
            break
    refunds = came // max(1, size // 100)
    assert tries <= policy.attempts * (1 + refunds)


@given(first=jitters(), second=jitters())
def test_budgets_share_nothing(first: float, second: float) -> None:
    policy = RetryPolicy(attempts=2)
    one, other = RetryBudget(policy), RetryBudget(policy)
    assert one.after(RESET, now=0.0, jitter=first) is not None
    assert other.after(RESET, now=0.0, jitter=second) is not None
    assert one.after(TransportError("GET", URL), now=0.0, jitter=first) is None


@given(status=st.integers(300, 599), code=st.sampled_from(sorted(PASSING_CODES | LASTING_CODES)))
def test_a_code_that_is_known_says_more_than_its_status(status: int, code: str) -> None:
    assert verdict(ServiceError("GET", URL, status, code)) == ("yes" if code in PASSING_CODES else "no")


@given(st.lists(st.lists(st.integers(0, 1000), max_size=5), max_size=5))
def test_bytes_that_come_once_more_are_no_progress(tries: list[list[int]]) -> None:
    news, fresh = News(), 0
    for pieces in tries:
        news.begin_anew()
        fresh += sum(news.count(piece) for piece in pieces)
    assert fresh == max((sum(pieces) for pieces in tries), default=0)
