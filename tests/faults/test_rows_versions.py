"""Versions of the object: rows V. A killed run has left one of three MiB, unless said otherwise."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.faults.partials import leave_partial
from tests.faults.rows import Attempt, MiB, Row
from tests.faults.trees import sha256_of
from trio_norman import RetryPolicy, errors

SIZE, LARGE = 3 * MiB, 20 * MiB
ONCE = RetryPolicy(attempts=1)
#: What makes parts of one file come over several connections, slowly enough for all of them to begin.
IN_PARTS: Any = {"max_connections": 8, "part_bytes": MiB}


def conditions(attempt: Attempt) -> list[str | None]:
    """Return the validator under which each request asked for its range."""
    return [request.headers.get("if-range") for request in attempt.requests]


def ranges(attempt: Attempt) -> list[str | None]:
    """Return what each request asked for."""
    return [request.headers.get("range") for request in attempt.requests]


def whole_requests(attempt: Attempt) -> int:
    """Count the requests for the object from its first byte on: the first one, and one for each restart."""
    return Counter(ranges(attempt))[None]


def came_whole_at_once(attempt: Attempt) -> None:
    """Check that the first answer to a conditional request was the whole, and was taken."""
    assert [request.status for request in attempt.requests] == [200]
    assert conditions(attempt) != [None]
    assert attempt.result.received_bytes == SIZE


def sha256(row: Row, version: int, *, size: int = SIZE) -> str:
    """Return the digest of one version of ``f``."""
    return sha256_of(row.emulator.blob_content(size, name="f", version=version))


async def test_V_01_changed_between_two_runs(row: Row) -> None:
    """Success: the answer to the conditional request is the new version's, from its first byte. D2."""
    leave_partial(row, SIZE, 0, MiB)
    attempt = await row.download("flip=0", SIZE, version=1)
    row.expect(attempt, disk="D2", requests=1)
    assert conditions(attempt) != [None]


async def test_V_01_changed_and_interrupted_again(row: Row) -> None:
    """InterruptedTransferError; the sidecar speaks of the new version, which the third run completes. D1, D2."""
    leave_partial(row, SIZE, 0, MiB)
    broken = await row.download(f"flip=0&trunc={2 * MiB}", SIZE, version=1, retry=ONCE)
    row.expect_error(broken, errors.InterruptedTransferError, disk="D1", requests=1)
    assert row.held() == 2 * MiB
    attempt = await row.download("flip=0", SIZE, version=1)
    row.expect(attempt, disk="D2", requests=1)
    assert attempt.result.received_bytes == MiB


async def test_V_02_changed_in_the_middle_of_parallel_parts(row: Row) -> None:
    """Success: every part of the old version is dropped, once. D2."""
    attempt = await row.download("flip=5&rate=10m", LARGE, version=1, **IN_PARTS)
    row.expect(attempt, disk="D2", requests=60)
    assert attempt.peak > 1
    assert 2 <= whole_requests(attempt) <= 3


async def test_V_03_changed_and_the_condition_is_ignored(row: Row) -> None:
    """Success: the ETag of the answer shows it, and nothing of it is written. D2."""
    leave_partial(row, SIZE, 0, MiB)
    attempt = await row.download("flip=0&noifrange=1", SIZE, version=1)
    row.expect(attempt, disk="D2", requests=2)
    assert [request.status for request in attempt.requests] == [206, 200]
    assert attempt.result.received_bytes == SIZE


async def test_V_03_changed_without_an_etag(row: Row) -> None:
    """Success: the digest that the answer announces shows it. D2."""
    leave_partial(row, SIZE, 0, MiB, validator=None, digests={"sha256": sha256(row, 0)})
    attempt = await row.download("flip=0&noifrange=1&etag=none&lm=none", SIZE, version=1)
    row.expect(attempt, disk="D2", requests=2)
    assert attempt.result.received_bytes == SIZE


async def test_V_03_changed_and_only_a_date_tells(row: Row) -> None:
    """Success: two dates that are old enough to be strong contradict each other. D2."""
    before = "Mon, 01 Jan 2024 00:00:00 GMT"
    leave_partial(row, SIZE, 0, MiB, validator=before)
    attempt = await row.download("flip=0&noifrange=1&etag=none&nodigest=1", SIZE, version=1)
    row.expect(attempt, disk="D2", requests=2)
    assert conditions(attempt) == [before, None]


async def test_V_03_changed_and_only_the_caller_knows_the_digest(row: Row) -> None:
    """Success: the mixture does not verify and is fetched anew. D2."""
    leave_partial(row, SIZE, 0, MiB, validator=None)
    digests = {"sha256": sha256(row, 1)}
    fault = "flip=0&noifrange=1&etag=none&lm=none&nodigest=1"
    attempt = await row.download(fault, SIZE, version=1, digests=digests)
    row.expect(attempt, disk="D2", requests=2)


async def test_V_04_the_condition_is_never_granted(row: Row) -> None:
    """Success: what comes is taken as the whole. D2."""
    leave_partial(row, SIZE, 0, MiB)
    attempt = await row.download("ifrange200=1", SIZE)
    row.expect(attempt, disk="D2")
    came_whole_at_once(attempt)


async def test_V_04_the_condition_is_never_granted_to_parts(row: Row) -> None:
    """Success in one stream, after a bounded number of requests. D2."""
    attempt = await row.download("ifrange200=1&rate=40m", LARGE, **IN_PARTS)
    row.expect(attempt, disk="D2", requests=8 + 2)


async def test_V_05_changed_at_each_request_that_cannot_bring_the_whole(row: Row) -> None:
    """SourceChangedError after two restarts. D0."""
    attempt = await row.download(f"flip=each&trunc={2 * MiB}", SIZE)
    row.expect_error(attempt, errors.SourceChangedError, disk="D0")
    assert len(attempt.requests) == 2 + 2  # the first two answers, and one for each restart


async def test_V_05_changed_at_each_request_of_parts_that_cannot_be_brought(row: Row) -> None:
    """SourceChangedError after two restarts. D0."""
    fault = f"flip=each&trunc={2 * MiB}&rate=40m"
    attempt = await row.download(fault, LARGE, is_sized=True, **IN_PARTS)
    row.expect_error(attempt, errors.SourceChangedError, disk="D0", requests=3 * 8)
    assert len(attempt.requests) >= 2 + 2


async def test_V_05_changed_at_each_request_and_one_brings_the_whole(row: Row) -> None:
    """Success: what the last restart takes is a single whole answer of one version, which proves it. D2.

    The matrix has CHANGED here. But a client sees the same in V-08, where one stream must succeed: another ETag at each
    answer. What is published is exact all the same: every byte is of one response, whose length was met and whose own
    announced digest agrees; nothing of any other version is in it. Without such an answer it is an error, see above.
    """
    source = row.source("flip=each&rate=20m", LARGE, is_sized=True)
    attempt = await row.download_all([source], **IN_PARTS)
    assert attempt.requests[-1].sent_bytes == LARGE
    attempt.files = {"f": row.emulator.blob_content(LARGE, name="f", version=len(attempt.requests))}
    row.expect(attempt, disk="D2", requests=3 * 8)


VALIDATORS = {
    "strong": ("", True),
    "weak": ("etag=weak", None),
    "an old date": ("etag=none", True),
    "a date of just now": ("etag=none&lm=30", None),
    "a date of almost a minute ago": ("etag=none&lm=59", None),
    "a date of a minute ago": ("etag=none&lm=60", None),
    "a date of over a minute ago": ("etag=none&lm=61", True),
    "neither": ("etag=none&lm=none", None),
    "a tag that no header takes back": ('etag=none&lm=none&hdr=ETag: "caf\xe9"', None),
}


@pytest.mark.parametrize("kind", VALIDATORS)
async def test_V_06_what_may_stand_in_a_condition(row: Row, kind: str) -> None:
    """Success: strong ETags and old dates are sent, nothing else; a digest lets the rest be asked for anyway. D2."""
    fault, is_sent = VALIDATORS[kind]
    attempt = await row.download(f"{fault}&trunc={2 * MiB}&times=1".lstrip("&"), SIZE)
    row.expect(attempt, disk="D2", requests=2)
    assert ranges(attempt) == [None, f"bytes={2 * MiB}-{SIZE - 1}"]
    assert [condition is not None for condition in conditions(attempt)] == [False, bool(is_sent)]


@pytest.mark.parametrize("kind", VALIDATORS)
@pytest.mark.parametrize("is_new_run", [False, True], ids=["same run", "next run"])
async def test_V_06_without_any_digest(row: Row, kind: str, is_new_run: bool) -> None:
    """Success: without a strong validator nothing is resumed. D2."""
    fault, is_sent = VALIDATORS[kind]
    if is_new_run:
        fault = f"{fault}&nodigest=1".lstrip("&")
        broken = await row.download(f"{fault}&trunc={2 * MiB}", SIZE, retry=ONCE)
        row.expect_error(broken, errors.InterruptedTransferError, disk="D1" if is_sent else "D0 D1")
        attempt = await row.download(fault, SIZE)
        asked = ranges(attempt)
    else:
        attempt = await row.download(f"{fault}&nodigest=1&trunc={2 * MiB}&times=1".lstrip("&"), SIZE)
        asked = ranges(attempt)[1:]
    row.expect(attempt, disk="D2", requests=2)
    assert asked == [f"bytes={2 * MiB}-{SIZE - 1}" if is_sent else None]


async def test_V_07_another_etag_for_equal_bytes(row: Row) -> None:
    """Success: it is taken for another version, in the same answer. D2."""
    leave_partial(row, SIZE, 0, MiB)
    attempt = await row.download("flip=0&flipc=0", SIZE)
    row.expect(attempt, disk="D2")
    came_whole_at_once(attempt)


async def test_V_08_a_random_etag_and_one_stream(row: Row) -> None:
    """Success with one request. D2."""
    row.expect(await row.download("etag=rand", SIZE), disk="D2", requests=1)


async def test_V_08_a_random_etag_and_a_resume(row: Row) -> None:
    """Success: everything comes in one stream. D2."""
    leave_partial(row, SIZE, 0, MiB)
    attempt = await row.download("etag=rand", SIZE)
    row.expect(attempt, disk="D2")
    came_whole_at_once(attempt)


async def test_V_08_a_random_etag_and_parts(row: Row) -> None:
    """Success: in the end everything comes in one stream. D2."""
    attempt = await row.download("etag=rand&rate=20m", LARGE, **IN_PARTS)
    row.expect(attempt, disk="D2", requests=3 * 8)
    assert attempt.requests[-1].sent_bytes == LARGE


@pytest.mark.parametrize(("fault", "sent"), [("nodigest=1", 2 * SIZE), ("", 0)], ids=["computed", "told by the server"])
async def test_V_09_the_announced_digest_is_another_contents(row: Row, fault: str, sent: int) -> None:
    """ChecksumMismatchError that names both digests, after a second try. D0."""
    attempt = await row.download(fault, SIZE, digests={"sha256": sha256(row, 1)})
    error = row.expect_error(attempt, errors.ChecksumMismatchError, disk="D0", requests=2)
    assert (error.algorithm, error.announced, error.computed) == ("sha256", sha256(row, 1), sha256(row, 0))
    assert attempt.result.received_bytes == sent


async def test_V_10_a_precondition_failed(row: Row) -> None:
    """Success: the partial is given up, a plain request brings the whole. D2.

    If-Match is never sent; some servers answer so to an If-Range that does not hold.
    """
    leave_partial(row, SIZE, 0, MiB)
    attempt = await row.download("status=412&times=1&flip=0", SIZE, version=1)
    row.expect(attempt, disk="D2", requests=2)
    assert [request.status for request in attempt.requests] == [412, 200]
    assert ranges(attempt)[1] is None


async def test_V_10_a_precondition_failed_that_nobody_made(row: Row) -> None:
    """ConflictError at once. D0."""
    row.expect_error(await row.download("status=412", SIZE), errors.ConflictError, disk="D0", requests=1)
