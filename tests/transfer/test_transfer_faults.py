"""Each fault of the storage has one right outcome: exact bytes, or a typed error and nothing under the final name."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from tests.destinations import IMPATIENT, QUICK, Destination, results_of, sha256_of
from tests.transfer.conftest import PUMPS
from trio_norman import ConnectionSettings, Outcome, RetryPolicy, Source, download_many, errors
from trio_norman._wire import _pump
from trio_norman.emulator import Emulator, open_emulator
from trio_norman.transfer._model import Options

MiB = 2**20
SMALL, MIDDLE, LARGE = 5000, 3 * MiB, 20 * MiB
PART = 4 * MiB  # small enough for a large file to be fetched in several ranges


@attrs.frozen
class Fault:
    """A fault by the storage's knobs; `error` None: it must succeed. `requests`: at most so many for the file."""

    knobs: dict[str, Any]
    size: int = MIDDLE
    error: type[errors.TrioNormanError] | None = None
    requests: int = 2
    is_resumable: bool = False  # whether a partial stays


FAULTS = {
    "none, small": Fault({}, SMALL, requests=1),
    "none": Fault({}, requests=1),
    "none, large": Fault({}, LARGE, requests=12),
    "none, empty": Fault({}, 0, requests=1),
    "reset before the first byte": Fault({"reset": 0, "times": 1}),
    "reset after 64 KiB": Fault({"reset": 65536, "times": 1}),
    "reset before the last byte": Fault({"reset": MIDDLE - 1, "times": 1}),
    "reset after the last byte": Fault({"reset": MIDDLE, "times": 1}),
    "closed early": Fault({"trunc": MiB, "times": 1}),
    "closed early, small": Fault({"trunc": 100, "times": 1}, SMALL),
    "one byte a connection": Fault({"reset": 1}, error=errors.InterruptedTransferError, requests=5, is_resumable=True),
    "resets by chance": Fault({"reset": "2m", "p": 0.3}, LARGE, requests=40),
    "never past 1 MiB": Fault(
        {"reset": MiB, "abs": 1}, error=errors.InterruptedTransferError, requests=10, is_resumable=True
    ),
    "chunked": Fault({"chunked": 1}, requests=1),
    "chunked, closed early": Fault({"chunked": 1, "trunc": MiB, "times": 1}),
    "broken chunk": Fault({"chunked": 1, "badchunk": MiB, "times": 1}),
    "no length, but a digest": Fault({"close": 1}, requests=1),
    "HTTP/1.0": Fault({"http10": 1}, requests=1),
    "no length and no digest": Fault(
        {"close": 1, "nodigest": 1, "etag": "none"}, error=errors.UnprovenError, requests=1
    ),
    "no length, closed early": Fault({"close": 1, "trunc": MiB, "times": 1}, requests=3),
    "stalled once": Fault({"stall": MiB, "times": 1}),
    "stalled always": Fault({"stall": 100}, error=errors.SlowTransferError, requests=5, is_resumable=True),
    "one corrupt byte, once": Fault({"corrupt": 100, "times": 1}),
    "one corrupt byte": Fault({"corrupt": 100}, error=errors.ChecksumMismatchError),
    "one corrupt byte, small": Fault({"corrupt": 100}, SMALL, error=errors.ChecksumMismatchError),
    "zeros": Fault({"zero": MiB}, error=errors.ChecksumMismatchError),
    "a wrong digest announced": Fault({"sum": "bad"}, error=errors.ChecksumMismatchError),
    "consistently short, once": Fault({"shortcl": MiB, "times": 1}),
    "more than announced": Fault({"overcl": 7}, requests=1),
    "ranges ignored": Fault({"norange": 1}, LARGE, requests=12),
    "ranges ignored and a reset": Fault({"norange": 1, "reset": MiB, "times": 1}),
    "other bytes than asked for": Fault({"shift": 4096}, LARGE, requests=12),
    "other bytes than it says": Fault({"crshift": 4096}, LARGE, requests=12),
    "206 without Content-Range": Fault({"nocr": 1}, LARGE, requests=12),
    "416 to every range": Fault({"r416": 1}, LARGE, requests=12),
    "multipart ranges": Fault({"multipart": 1}, LARGE, requests=12),
    "another total": Fault({"total": 7}, LARGE, requests=12),
    "shorter spans than asked for": Fault({"rangeshort": "1500k"}, LARGE, requests=40),
    "If-Range never granted": Fault({"ifrange200": 1}, LARGE, requests=20),
    "random ETag": Fault({"etag": "rand"}, LARGE, requests=30),
    "weak ETag": Fault({"etag": "weak", "lm": "none", "nodigest": 1}, LARGE, requests=2),
    "no validator at all": Fault({"etag": "none", "lm": "none", "nodigest": 1}, LARGE, requests=2),
    "503 once": Fault({"status": 503, "times": 1}),
    "408 once": Fault({"status": 408, "times": 1}),
    "404": Fault({"status": 404}, error=errors.NotFoundError, requests=1),
    "403 of a fixed URL": Fault({"status": 403}, error=errors.PermissionDeniedError, requests=1),
    "500 for ever": Fault({"status": 500}, error=errors.ServiceBrokenError, requests=5),
    "204": Fault({"status": 204}, error=errors.ProtocolError),
    "Retry-After of ten years": Fault({"status": 429, "ra": 315360000}, error=errors.RateLimitedError, requests=1),
    "a GiB of error body": Fault({"status": 404, "sbody": "1g"}, error=errors.NotFoundError, requests=1),
    "three hops": Fault({"redirect": 3}, requests=4),
    "hops without end": Fault({"loop": 1}, error=errors.RedirectError, requests=6),
    "redirect to another origin": Fault({"redirect": 1, "rto": "other"}),
    "redirect to a file": Fault({"redirect": 1, "loc": "file:///etc/passwd"}, error=errors.RedirectError, requests=1),
    "redirect with a body": Fault({"redirect": 1, "rbomb": "100m"}),
    "gzip, unasked": Fault({"gzip": 1}, error=errors.ProtocolError),
    "no header line": Fault({"hdr": "no colon"}, error=errors.ProtocolError),
    "a header of 1 MiB": Fault({"hdrsize": "1m"}, error=errors.LimitExceededError),
    "interim answers without end": Fault({"interim": 100000}, error=errors.LimitExceededError),
    "negative length": Fault({"cl": -1}, error=errors.ProtocolError),
    "two lengths": Fault({"dupcl": 1}, error=errors.ProtocolError),
    "reset after a promise to stay": Fault({"drop": "rst"}, requests=1),
}


WAYS = {
    "splice, size unknown": ("splice", False),
    "splice, size announced": ("splice", True),
    "buffer, size announced": ("buffer", True),
    "portable, size unknown": ("portable", False),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_ends_in_exact_bytes_or_a_typed_error(
    name: str, way: str, emulator: Emulator, dest: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump, is_sized = WAYS[way]
    monkeypatch.setattr(_pump, "KINDS", PUMPS[pump])
    fault = FAULTS[name]
    url = emulator.blob_url(fault.size, **fault.knobs)
    content = emulator.blob_content(fault.size)
    source = Source.from_url(url, "f", size_bytes=fault.size if is_sized else None)
    connections = 8 if fault.size >= LARGE else 1  # with one, the requests can be counted
    options = Options(retry=QUICK, stall=IMPATIENT, part_bytes=PART, max_connections=connections)
    with trio.fail_after(20):
        async with download_many([source], dest.path, **options) as downloads:
            (result,) = await results_of(downloads)
        await emulator.connections.wait_idle()  # no socket of ours is left
    requests = emulator.requests.of("storage", "other")
    assert len(requests) <= (fault.requests if fault.size < LARGE else fault.requests + 4)
    is_proven_by_its_size = is_sized and fault.error is errors.UnprovenError
    if fault.error is None or is_proven_by_its_size:
        assert result.error is None
        assert result.outcome is Outcome.OK
        assert dest.visible() == {"f": sha256_of(content)} == {"f": result.sha256}
        assert dest.hidden() == set()
    else:
        assert type(result.error) is fault.error
        assert result.outcome is Outcome.FAILED
        assert dest.visible() == {}
        is_partial = dest.partial_is_right("f", content) if dest.hidden() else False
        assert is_partial == (fault.is_resumable and bool(dest.hidden()))
        assert "q-signature" not in str(result.error) + repr(result.error) + repr(result)


async def test_an_error_document_of_another_size_is_no_file(emulator: Emulator, dest: Destination) -> None:
    source = Source.from_url(emulator.blob_url(MIDDLE, fail200=1), "f", size_bytes=MIDDLE)
    async with download_many([source], dest.path, retry=QUICK) as downloads:
        (result,) = await results_of(downloads)
    assert isinstance(result.error, errors.ChecksumMismatchError)
    assert result.error.algorithm == "size"
    assert (dest.visible(), dest.hidden()) == ({}, set())


@pytest.mark.parametrize("flip", ["1", "3", "each"])
async def test_two_versions_are_never_mixed(flip: str, emulator: Emulator, dest: Destination) -> None:
    url = emulator.blob_url(LARGE, flip=flip)
    source = Source.from_url(url, "f", size_bytes=LARGE)
    async with download_many([source], dest.path, retry=QUICK, part_bytes=PART) as downloads:
        (result,) = await results_of(downloads)
    versions = (sha256_of(emulator.blob_content(LARGE, version=number)) for number in range(60))
    assert result.outcome is Outcome.OK
    assert any(result.sha256 == version for version in versions)
    assert dest.visible() == {"f": result.sha256}


async def test_an_announced_digest_that_differs_from_the_content_names_both(
    emulator: Emulator, dest: Destination
) -> None:
    announced = {"sha256": "0" * 64}
    source = Source.from_url(emulator.blob_url(MIDDLE, nodigest=1), "f", digests=announced)
    async with download_many([source], dest.path, retry=QUICK) as downloads:
        (result,) = await results_of(downloads)
    assert isinstance(result.error, errors.ChecksumMismatchError)
    assert (result.error.announced, result.error.computed) == ("0" * 64, sha256_of(emulator.blob_content(MIDDLE)))
    assert (dest.visible(), dest.hidden()) == ({}, set())


async def test_what_one_task_is_told_to_wait_all_tasks_of_that_origin_wait(
    emulator: Emulator, dest: Destination
) -> None:
    slow = emulator.blob_url(SMALL, name="a", status=429, ra=1, times=1)
    urls = [slow] + [emulator.blob_url(SMALL, name=f"b{number}", hdelay=0.1) for number in range(8)]
    sources = [Source.from_url(url, f"f{number}") for number, url in enumerate(urls)]
    async with download_many(sources, dest.path, 2, retry=QUICK) as downloads:
        results = await results_of(downloads)
    assert {result.outcome for result in results} == {Outcome.OK}
    refused = next(request for request in emulator.requests.of("storage") if request.status == 429)
    waited = [request.started_at - refused.started_at for request in emulator.requests.of("storage")]
    assert not [seconds for seconds in waited if 0.15 < seconds < 0.95]


async def test_odd_ports_end_in_their_own_kind_of_error(dest: Destination) -> None:
    async with open_emulator(odd_ports=True) as emulator:
        odd = emulator.odd_ports
        assert odd is not None
        expected: dict[str, tuple[type[errors.TrioNormanError], ...]] = {
            odd.silent: (errors.HeadTimeoutError,),
            odd.resetting: (errors.InterruptedTransferError, errors.ConnectError),
            odd.garbage: (errors.ProtocolError,),
            odd.dripping: (errors.HeadTimeoutError,),
            odd.closed: (errors.ConnectError,),
            "http://name.invalid": (errors.AddressError,),
            "https://name.invalid": (errors.NameResolutionError,),
        }
        sources = [Source.from_url(f"{root}/f", f"f{number}") for number, root in enumerate(expected)]
        limits = ConnectionSettings(head_seconds=0.3)
        policy = RetryPolicy(attempts=2, initial=0.01)
        async with download_many(sources, dest.path, connection=limits, retry=policy) as downloads:
            found = {result.source.name: result.error for result in await results_of(downloads)}
    for number, kinds in enumerate(expected.values()):
        assert isinstance(found[f"f{number}"], kinds), (number, found[f"f{number}"])
    assert dest.hidden() == set()
