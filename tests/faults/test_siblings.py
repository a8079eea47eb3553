"""One faulty item of a batch: the others finish (I8), and a cancellation gets through in the middle of it (I10).

Each case has the fault of one row. Rows whose fault lies in the whole connection's settings or in the server's
certificate have no healthy siblings, and successes without any fault say nothing here.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.faults import trees
from tests.faults.partials import leave_partial
from tests.faults.rows import Row
from tests.faults.trees import Expected
from tests.security.resolving import resolving
from trio_norman import ConnectionSettings, DownloadStarted, RetryPolicy, Source, StallLimit, errors

SIZE, LARGE = 200_000, 1_200_000  # nothing is kept of the smaller one
HELD = 100_000
BRISK: Any = {
    "connection": ConnectionSettings(connect_seconds=0.3, head_seconds=0.3),
    "stall": StallLimit(bytes_per_second=1024, seconds=0.3),
}
WRONG = {"sha256": "ab" * 32}
LOST = (errors.InterruptedTransferError, errors.ConnectError)
REFUSED = (errors.RedirectError, errors.AddressError)


@attrs.frozen
class Fault:
    """What one item suffers from, and how it ends: with one of these kinds of errors, or well."""

    knobs: str = ""
    kinds: tuple[type[errors.TrioNormanError], ...] = ()
    disk: str = "D0"
    url: str = ""  # in place of knobs; an odd port by its name in braces
    is_sized: bool = False
    is_steady: bool = True  # else each answer is another version
    digests: dict[str, str] | None = None
    size: int = SIZE
    held: int = 0  # by an earlier run
    version: int = 0  # that a success has
    attempts: int = 2
    hops: int = 1  # that each of them follows
    is_signed_anew: bool = False  # behind a link that can be renewed

    def source(self, row: Row, size: int) -> Source:
        """Describe the item, as ``f``, in a destination where nothing else is."""
        for path in row.dest.iterdir() if row.dest.exists() else ():
            path.unlink()
        if self.held:
            leave_partial(row, size, 0, self.held)
        if self.url:
            row.contents["f"] = b""
            return Source.from_url(self.url.format(odd=row.odd), "f")
        if self.is_signed_anew:
            return row.renewable(self.knobs, size=size)
        how: Any = {"is_sized": self.is_sized, "digests": self.digests, "version": self.version}
        source = row.source(self.knobs, size, **how)
        row.contents["f"] = row.emulator.blob_content(size, name="f", version=self.version)
        return source


def case(knobs: str = "", *kinds: type[errors.TrioNormanError], id: str, **fields: Any) -> Any:
    """Give the fault of the row `id`."""
    return pytest.param(Fault(knobs, kinds, **fields), id=id)


def held_version(row: Row, size: int, most: int) -> Expected | None:
    """Return the version that a partial is of, all of it: one of the first `most`."""
    versions = [row.emulator.blob_content(size, name="f", version=number) for number in range(most + 1)]
    return next((each for each in versions if not trees.faults_of("D1", row.dest, "f", {}, each)), None)


async def try_it(row: Row, fault: Fault) -> None:
    """Download a faulty item among healthy ones; then cancel the same, with one more that would wait for ever."""
    resolving()
    how = {**BRISK, "retry": RetryPolicy(attempts=fault.attempts, initial=0.005, longest=0.01)}
    others = [row.source("", 4000 + number, name=name) for number, name in enumerate("ghi")]
    attempt = await row.download_all([fault.source(row, fault.size), *others], max_connections=2, **how)
    most = fault.attempts * (len(others) + fault.hops)
    for name in "ghi":
        row.expect(attempt, name, disk="D2", requests=most)
    if fault.kinds:
        row.expect_error(attempt, fault.kinds, "f", disk=fault.disk, requests=most)
    else:
        row.expect(attempt, "f", disk="D2", requests=most)

    if fault.version:
        fault = attrs.evolve(fault, held=0)  # which would be right, but not of this version
    sources = [fault.source(row, fault.size + 1), *others, row.source("hdelay=999", name="never")]
    middle = min(0.5 * attempt.seconds, 0.1)  # before the one that would wait for ever is given up
    attempt = await row.download_all(sources, max_connections=3, cancel_after=middle, **how)
    assert attempt.scope.cancelled_caught
    told = [event for event in attempt.events if "name='never'" in repr(event)]
    assert {type(event) for event in told} <= {DownloadStarted}  # the cancellation is no end and no failure of it
    if not fault.is_steady:
        attempt.files = {**attempt.files, "f": held_version(row, fault.size + 1, len(attempt.requests))}
    row.expect_cancelled(attempt, "f", disk="D0 D1 D2")
    for name in "ghi":
        row.expect_cancelled(attempt, name, disk="D0 D1 D2")
    row.expect_cancelled(attempt, "never", disk="D0 D1")


@pytest.mark.parametrize(
    "fault",
    [
        case("", errors.ConnectError, url="{odd.closed}/f", id="C-01"),
        case("", *LOST, url="{odd.resetting}/f", id="C-03"),
        case("", errors.HeadTimeoutError, url="{odd.silent}/f", id="C-04"),
        case("", errors.NameResolutionError, url="https://x.invalid/f", id="C-07"),
        case("", errors.ProtocolError, url="{odd.garbage}/f", id="C-09"),
        case("", errors.HeadTimeoutError, url="{odd.stalling}/f", id="C-15"),
        case("drop=rst", id="C-17"),
        case("", errors.AddressError, url="http://192.0.2.1/f", id="C-18"),
    ],
)
async def test_siblings_of_faulty_connecting(row: Row, fault: Fault) -> None:
    """As the row says; its siblings in the batch are D2, and a cancellation in the middle gets through."""
    await try_it(row, fault)


@pytest.mark.parametrize(
    "fault",
    [
        case("hdelay=999", errors.HeadTimeoutError, id="H-01"),
        case("hdrip=0.05", errors.HeadTimeoutError, id="H-02"),
        case("hdrs=1000", errors.LimitExceededError, id="H-03"),
        case("interim=1000", errors.LimitExceededError, id="H-04"),
        case("hdr=X-A: a%00b", errors.ProtocolError, id="H-05"),
        case("cl=-1", errors.ProtocolError, id="H-06"),
        case("dupcl=1", errors.ProtocolError, id="H-07"),
        case("raw=hi", errors.ProtocolError, id="H-08"),
        case("status=204", errors.ProtocolError, id="H-09"),
    ],
)
async def test_siblings_of_faulty_heads(row: Row, fault: Fault) -> None:
    """As the row says; its siblings in the batch are D2, and a cancellation in the middle gets through."""
    await try_it(row, fault)


@pytest.mark.parametrize(
    "fault",
    [
        case("reset=1000&times=1", id="B-01"),
        case("trunc=1000&times=1", id="B-02"),
        case("shortcl=1000", errors.ChecksumMismatchError, id="B-03"),
        case("overcl=7", id="B-04"),
        case("badchunk=1000", errors.ProtocolError, disk="D0 D1", size=LARGE, id="B-05"),
        case("chunked=1&trunc=1000", errors.InterruptedTransferError, disk="D1", size=LARGE, id="B-06"),
        case("stall=1000", errors.SlowTransferError, disk="D1", size=LARGE, id="B-07"),
        case("rate=500", errors.SlowTransferError, disk="D1", size=LARGE, id="B-08"),
        case("stall=1m&abs=1&drip=1", errors.SlowTransferError, disk="D1", size=LARGE, id="B-09"),
        case("close=1&nodigest=1", errors.UnprovenError, id="B-10"),
        case("close=1&trunc=1000", errors.ChecksumMismatchError, id="B-11"),
        case("corrupt=1000", errors.ChecksumMismatchError, id="B-12"),
        case("zero=1000", errors.ChecksumMismatchError, id="B-13"),
        case("reset=1", errors.InterruptedTransferError, disk="D1", size=LARGE, id="B-14"),
        case("reset=1m&abs=1", errors.InterruptedTransferError, disk="D1", size=LARGE, id="B-15"),
        case("p=0.3&reset=50k&pseed=2", attempts=8, id="B-16"),
        case("overcl=1g", id="B-17"),
        case("chunked=1&chunkext=4m", errors.ProtocolError, disk="D0 D1", is_sized=True, size=LARGE, id="B-18"),
    ],
)
async def test_siblings_of_faulty_bodies(row: Row, fault: Fault) -> None:
    """As the row says; its siblings in the batch are D2, and a cancellation in the middle gets through."""
    await try_it(row, fault)


@pytest.mark.parametrize(
    "fault",
    [
        case("norange=1", held=HELD, id="R-01"),
        case("shift=4096", held=HELD, id="R-02"),
        case("crshift=4096", held=HELD, id="R-03"),
        case("nocr=1", held=HELD, id="R-04"),
        case("rangeshort=1", errors.RangeNotHonouredError, disk="D1", held=HELD, id="R-05"),
        case("r416=1", held=HELD, id="R-06"),
        case("", held=SIZE, id="R-07"),
        case("total=7", held=HELD, id="R-09"),
        case("multipart=1", held=HELD, id="R-10"),
        case("noar=1&norange=1", held=HELD, id="R-11"),
        case("rangelong=4096", held=HELD, id="R-13"),
        case("force206=1", errors.ProtocolError, id="R-16"),
    ],
)
async def test_siblings_of_faulty_ranges(row: Row, fault: Fault) -> None:
    """As the row says; its siblings in the batch are D2, and a cancellation in the middle gets through."""
    await try_it(row, fault)


@pytest.mark.parametrize(
    "fault",
    [
        case("flip=0", held=HELD, version=1, id="V-01"),
        case("flip=0&noifrange=1", held=HELD, version=1, id="V-03"),
        case("ifrange200=1", held=HELD, id="V-04"),
        case("flip=each&trunc=1m", errors.SourceChangedError, size=LARGE, attempts=5, is_steady=False, id="V-05"),
        case("etag=none&lm=none&nodigest=1&trunc=1m&times=1", size=LARGE, id="V-06"),
        case("flip=0&flipc=0", held=HELD, id="V-07"),
        case("etag=rand", held=HELD, id="V-08"),
        case("", errors.ChecksumMismatchError, digests=WRONG, id="V-09"),
        case("status=412", errors.ConflictError, id="V-10"),
    ],
)
async def test_siblings_of_faulty_versions(row: Row, fault: Fault) -> None:
    """As the row says; its siblings in the batch are D2, and a cancellation in the middle gets through."""
    await try_it(row, fault)


@pytest.mark.parametrize(
    "fault",
    [
        case("status=503&ra=date-5&times=1", id="S-02"),
        case("status=429&ra=315360000", errors.RateLimitedError, id="S-03"),
        case("status=500&times=1", id="S-04"),
        case("status=404", errors.NotFoundError, id="S-05"),
        case("status=500&sbody=1g", errors.ServiceBrokenError, id="S-07"),
        case("fail200=1", errors.ChecksumMismatchError, is_sized=True, id="S-08"),
        case("expire=0", errors.UrlExpiredError, is_signed_anew=True, id="S-10"),
        case("sig=x", errors.PermissionDeniedError, is_signed_anew=True, id="S-14"),
    ],
)
async def test_siblings_of_faulty_statuses(row: Row, fault: Fault) -> None:
    """As the row says; its siblings in the batch are D2, and a cancellation in the middle gets through."""
    await try_it(row, fault)


@pytest.mark.parametrize(
    "fault",
    [
        case("redirect=3", hops=4, id="D-01"),
        case("loop=1", errors.RedirectError, hops=6, id="D-02"),
        case("redirect=1&rto=other", hops=2, id="D-03"),
        case("redirect=1&rbomb=1024m", hops=2, id="D-05"),
        case("redirect=1&reset=1k&times=1", hops=2, id="D-06"),
        case("loc=https://169.254.169.254/", *REFUSED, id="D-07"),
    ],
)
async def test_siblings_of_faulty_redirects(row: Row, fault: Fault) -> None:
    """As the row says; its siblings in the batch are D2, and a cancellation in the middle gets through."""
    await try_it(row, fault)


@pytest.mark.parametrize(
    "fault",
    [
        case("gzip=1", errors.ProtocolError, id="E-01"),
        case("gzip=range", held=HELD, id="E-02"),
        case("gzip=lie", errors.ProtocolError, id="E-03"),
        case("bomb=300m", errors.LimitExceededError, id="E-04"),
        case("hdr=Content-Encoding: br", errors.ProtocolError, id="E-05"),
    ],
)
async def test_siblings_of_faulty_encodings(row: Row, fault: Fault) -> None:
    """As the row says; its siblings in the batch are D2, and a cancellation in the middle gets through."""
    await try_it(row, fault)
