"""Every fault knob does what its name says, and nothing else."""

import gzip
import zlib
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.emulator.conftest import Served

SIZE = 300_000


async def get(served: Served, *, asked: str | None = None, size: int = SIZE, **knobs: Any) -> httpx.Response:
    headers = {"Range": asked} if asked else None
    return await served.store.get(served.emulator.blob_url(size, **knobs), headers=headers)


async def received_before(served: Served, error: type[Exception], **knobs: Any) -> int:
    """Count the body bytes that come before the error."""
    return await counted_before(error, served, served.emulator.blob_url(SIZE, **knobs))


async def counted_before(error: type[Exception], served: Served, url: str, **headers: str) -> int:
    count = 0
    async with served.store.stream("GET", url, headers=headers) as answer:
        try:
            async for block in answer.aiter_raw():
                count += len(block)
        except error:
            return count
    raise AssertionError(f"no {error}")


def whole(served: Served, size: int = SIZE, version: int = 0) -> bytes:
    return bytes(served.emulator.blob_content(size, version=version).read(0, size))


@pytest.mark.parametrize("at", ["0", "1", "65535", "64k", str(SIZE - 1), str(SIZE)])
async def test_reset_comes_after_so_many_bytes(served: Served, at: str) -> None:
    counted = 65536 if at == "64k" else int(at)
    if counted == SIZE:  # the client has its whole body then; the connection is of no further interest
        assert len((await get(served, reset=at)).content) == SIZE
    else:
        assert await received_before(served, httpx.ReadError, reset=at) == counted


async def test_truncation_ends_the_connection(served: Served) -> None:
    assert await received_before(served, httpx.RemoteProtocolError, trunc=1234) == 1234


async def test_cut_may_lie_at_an_offset_of_the_object(served: Served) -> None:
    url = served.emulator.blob_url(SIZE, trunc=1000, abs=1)
    for asked, length in [("bytes=400-", 600), ("bytes=1000-", 0), ("bytes=5000-", 0)]:
        assert await counted_before(httpx.RemoteProtocolError, served, url, Range=asked) == length
    assert len((await served.store.get(url, headers={"Range": "bytes=0-999"})).content) == 1000


async def test_faults_strike_so_many_times(served: Served) -> None:
    statuses = [(await get(served, status=503, times=2)).status_code for _ in range(4)]
    assert statuses == [503, 503, 200, 200]


async def test_times_are_counted_per_url(served: Served) -> None:
    for seed in range(2):
        assert (await get(served, status=503, times=1, seed=seed)).status_code == 503
        assert (await get(served, status=503, times=1, seed=seed)).status_code == 200


async def test_faults_strike_with_a_probability_that_follows_from_the_seed(served: Served) -> None:
    async def statuses(pseed: int) -> list[int]:
        return [(await get(served, status=503, p=0.3, pseed=pseed, size=10)).status_code for _ in range(100)]

    assert 15 < (await statuses(1)).count(503) < 45
    assert await statuses(2) != await statuses(3)


async def test_stall_is_silence_until_the_client_leaves(served: Served, autojump_clock: MockClock) -> None:
    count = 0
    with trio.move_on_after(1000) as scope:
        async with served.store.stream("GET", served.emulator.blob_url(SIZE, stall=5000)) as answer:
            async for block in answer.aiter_raw():
                count += len(block)
    assert scope.cancelled_caught
    assert count == 5000
    await served.emulator.connections.wait_idle()


async def test_stall_may_drip(served: Served, autojump_clock: MockClock) -> None:
    before = trio.current_time()
    assert (await get(served, stall=SIZE - 10, drip=1)).content == whole(served)
    assert trio.current_time() - before == pytest.approx(10)


@pytest.mark.parametrize(("rate", "seconds"), [("10k", 29.3), (500, 600), ("1m", 0.286)])
async def test_rate_is_kept(served: Served, autojump_clock: MockClock, rate: Any, seconds: float) -> None:
    before = trio.current_time()
    assert (await get(served, rate=rate)).content == whole(served)
    assert trio.current_time() - before == pytest.approx(seconds, rel=0.01)


async def test_head_may_be_late_or_drip(served: Served, autojump_clock: MockClock) -> None:
    before = trio.current_time()
    assert (await get(served, hdelay=7)).status_code == 200
    assert trio.current_time() - before == pytest.approx(7)
    before = trio.current_time()
    assert (await get(served, hdrip=1)).content == whole(served)
    assert trio.current_time() - before > 200


async def test_head_may_be_huge(served: Served) -> None:
    assert len((await get(served, hdrsize="20k")).headers["x-padding"]) == 20 * 1024
    assert len((await get(served, hdrs=300)).headers) > 300
    with pytest.raises(httpx.RemoteProtocolError):
        await get(served, hdrsize="1m")


async def test_interim_answers_come_first(served: Served) -> None:
    assert (await get(served, interim=50)).content == whole(served)
    assert (await get(served, interim=1234)).content == whole(served)


async def test_further_headers_are_sent_raw(served: Served) -> None:
    answer = await get(served, hdr=["Content-Encoding:br", "X-More: yes"], size=0)
    assert (answer.headers["content-encoding"], answer.headers["x-more"]) == ("br", "yes")
    with pytest.raises(httpx.RemoteProtocolError):
        await get(served, hdr="no colon")
    with pytest.raises(httpx.RemoteProtocolError):
        await get(served, hdr="X: a\0b")


@pytest.mark.parametrize(
    "knobs",
    [
        {"cl": "-1"},
        {"cl": "+5"},
        {"cl": "1e30"},
        {"cl": "9" * 5000},
        {"cl": "5, 6"},
        {"dupcl": 1},
        {"cl": SIZE + 1},
        {"raw": "HTTP/1.1 abc\r\n\r\n"},
        {"nohead": 1},
        {"badchunk": 1000},
        {"badchunk": 1000, "badkind": "digits"},
        {"badchunk": 1000, "badkind": "crlf"},
        {"chunked": 1, "trunc": 1000},
    ],
)
async def test_broken_framing_is_broken(served: Served, knobs: dict[str, Any]) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await get(served, **knobs)


async def test_connection_may_be_reset_in_place_of_an_answer(served: Served) -> None:
    with pytest.raises(httpx.ReadError):
        await get(served, nohead=1, reset=0)


@pytest.mark.parametrize(
    ("knobs", "header"),
    [
        ({"chunked": 1}, ("transfer-encoding", "chunked")),
        ({"chunkext": 500}, ("transfer-encoding", "chunked")),
        ({"trailers": 20}, ("transfer-encoding", "chunked")),
        ({"close": 1}, ("connection", "close")),
        ({"http10": 1}, ("connection", "close")),
        ({"overcl": 7}, ("content-length", str(SIZE))),
        ({"drop": "fin"}, ("connection", "keep-alive")),
        ({"drop": "rst"}, ("connection", "keep-alive")),
    ],
)
async def test_strange_framing_still_carries_the_object(
    served: Served, knobs: dict[str, Any], header: tuple[str, str]
) -> None:
    answer = await get(served, **knobs)
    assert answer.content == whole(served)
    assert answer.headers[header[0]] == header[1]
    assert (
        header[0] == "content-length"
        or "http10" in knobs
        or header[1] == "keep-alive"
        or ("content-length" not in answer.headers)
    )


async def test_length_beside_chunks(served: Served) -> None:
    answer = await get(served, tecl=1, chunked=1)
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["transfer-encoding"] == "chunked"


async def test_short_body_may_be_consistent(served: Served) -> None:
    answer = await get(served, shortcl="100k")
    assert answer.headers["content-length"] == "102400"
    assert answer.content == whole(served)[:102400]


@pytest.mark.parametrize(
    ("wish", "shown"),
    [
        ("5", "5"),
        ("date+2", "Thu, 01 Jan 2026 00:00:02 GMT"),
        ("date-5", "Wed, 31 Dec 2025 23:59:55 GMT"),
        ("1e999", "1e999"),
        ("", ""),
    ],
)
async def test_retry_after_is_a_number_a_date_or_nonsense(
    served: Served, autojump_clock: MockClock, wish: str, shown: str
) -> None:
    answer = await get(served, status=429, ra=wish)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, shown)


async def test_error_bodies(served: Served) -> None:
    assert b"<Code>ServiceUnavailable</Code>" in (await get(served, status=503)).content
    assert (await get(served, status=500, sbody="<b>\x1b[2J\xff")).content == b"<b>\x1b[2J\xff"
    large = await get(served, status=500, sbody="3m", sct="text/html")
    assert (len(large.content), large.headers["content-type"]) == (3 << 20, "text/html")
    assert (await get(served, status=204)).content == b""
    assert (await get(served, status=799)).status_code == 799


async def test_head_may_fail_alone(served: Served) -> None:
    url = served.emulator.blob_url(SIZE, headstatus=405)
    assert (await served.store.head(url)).status_code == 405
    assert (await served.store.get(url)).status_code == 200


async def test_error_document_with_status_200(served: Served) -> None:
    answer = await get(served, fail200=1)
    assert answer.status_code == 200
    assert b"<Error>" in answer.content


async def test_redirects_end_at_the_object(served: Served) -> None:
    answer = await served.store.get(served.emulator.blob_url(SIZE, redirect=3), follow_redirects=True)
    assert [hop.status_code for hop in answer.history] == [302, 302, 302]
    assert answer.content == whole(served)


async def test_redirect_to_the_other_origin_and_back(served: Served) -> None:
    emulator = served.emulator
    url = emulator.blob_url(SIZE, redirect=2, rto="other", rcode=307)
    answer = await served.store.get(url, follow_redirects=True)
    assert answer.content == whole(served)
    assert [request.server for request in emulator.requests] == ["storage", "other", "storage"]
    assert str(answer.history[1].url).startswith(emulator.other_storage_url)
    assert answer.history[0].status_code == 307
    assert answer.history[0].headers["etag"] != answer.headers["etag"]


async def test_redirect_without_end(served: Served) -> None:
    with pytest.raises(httpx.TooManyRedirects):
        await served.store.get(served.emulator.blob_url(SIZE, loop=1), follow_redirects=True)


@pytest.mark.parametrize(
    ("knobs", "location"),
    [
        ({"loc": "file:///etc/passwd"}, "file:///etc/passwd"),
        ({"redirect": 1, "rto": "lan"}, "http://192.168."),
        ({"redirect": 1, "rto": "meta"}, "http://169.254.169.254/"),
    ],
)
async def test_redirect_to_bad_places(served: Served, knobs: dict[str, Any], location: str) -> None:
    answer = await get(served, rbomb="2m", **knobs)
    assert answer.headers["location"].startswith(location)
    assert len(answer.content) == 2 << 20


async def test_url_may_expire_early_and_cut_its_bodies(served: Served, autojump_clock: MockClock) -> None:
    url = served.emulator.blob_url(SIZE, expire=3, expire_cut=1, rate="50k")
    assert await counted_before(httpx.RemoteProtocolError, served, url) == pytest.approx(3 * 50 * 1024, rel=0.1)
    assert (await served.store.get(url)).status_code == 403
    await trio.sleep(1)
    renewed = served.emulator.blob_url(SIZE, expire=3, expire_cut=1, rate="50k")
    assert (await served.store.get(renewed, headers={"Range": "bytes=0-9"})).status_code == 206


async def test_signature_may_be_taken_for_wrong(served: Served) -> None:
    assert (await get(served, sig="x", times=1)).status_code == 403
    assert (await get(served, sig="x", times=1)).status_code == 200


@pytest.mark.parametrize(
    ("knobs", "status", "said", "start", "stop"),
    [
        ({"norange": 1}, 200, None, 0, SIZE),
        ({"shift": 4096}, 206, "bytes 5096-6095/300000", 5096, 6096),
        ({"shift": -500}, 206, "bytes 500-1499/300000", 500, 1500),
        ({"crshift": 4096}, 206, "bytes 5096-6095/300000", 1000, 2000),
        ({"nocr": 1}, 206, None, 1000, 2000),
        ({"cr": "bytes x-y/z"}, 206, "bytes x-y/z", 1000, 2000),
        ({"total": 7}, 206, "bytes 1000-1999/7", 1000, 2000),
        ({"total": "*"}, 206, "bytes 1000-1999/*", 1000, 2000),
        ({"rangeshort": 10}, 206, "bytes 1000-1009/300000", 1000, 1010),
        ({"rangelong": 10}, 206, "bytes 1000-2009/300000", 1000, 2010),
    ],
)
async def test_ranges_that_are_not_what_was_asked(
    served: Served, knobs: dict[str, Any], status: int, said: str | None, start: int, stop: int
) -> None:
    answer = await get(served, asked="bytes=1000-1999", **knobs)
    assert answer.status_code == status
    assert answer.headers.get("content-range") == said
    assert answer.content == whole(served)[start:stop]


async def test_unwanted_416_and_206(served: Served) -> None:
    answer = await get(served, asked="bytes=0-9", r416=1)
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{SIZE}")
    answer = await get(served, asked="bytes=0-9", r416="nocr")
    assert (answer.status_code, "content-range" in answer.headers) == (416, False)
    answer = await get(served, force206=1)
    assert (answer.status_code, answer.content) == (206, whole(served))


async def test_multipart_for_one_range(served: Served) -> None:
    answer = await get(served, asked="bytes=0-9", multipart=1)
    assert answer.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert whole(served)[:10] in answer.content
    assert len(answer.content) == int(answer.headers["content-length"])


async def test_accept_ranges_none(served: Served) -> None:
    assert (await get(served, noar=1)).headers["accept-ranges"] == "none"


async def test_if_range_faults(served: Served) -> None:
    for knob, condition, status in [("noifrange", '"x"', 206), ("ifrange200", None, 200)]:
        url = f"{served.emulator.blob_url(SIZE)}&{knob}=1"
        etag = (await served.store.head(url)).headers["etag"]
        answer = await served.store.get(url, headers={"Range": "bytes=0-9", "If-Range": condition or etag})
        assert answer.status_code == status


async def test_corruption_keeps_the_announced_digest(served: Served) -> None:
    good = await get(served)
    spoilt = await get(served, corrupt="100k")
    differing = [at for at in range(SIZE) if good.content[at] != spoilt.content[at]]
    assert differing == [102400]
    assert good.headers["repr-digest"] == spoilt.headers["repr-digest"]
    assert good.headers["etag"] == spoilt.headers["etag"]
    part = await get(served, asked="bytes=102400-102409", corrupt="100k")
    assert part.content == spoilt.content[102400:102410]


async def test_zeros_from_somewhere_on(served: Served) -> None:
    assert (await get(served, zero=1000)).content == whole(served)[:1000] + bytes(SIZE - 1000)


async def test_gzip_though_it_was_not_asked_for(served: Served) -> None:
    url = served.emulator.blob_url(SIZE, gzip=1)
    async with served.store.stream("GET", url, headers={"Range": "bytes=0-9"}) as answer:
        packed = b"".join([block async for block in answer.aiter_raw()])
    assert answer.status_code == 200
    assert gzip.decompress(packed) == whole(served)
    url = served.emulator.blob_url(SIZE, gzip="range")
    async with served.store.stream("GET", url, headers={"Range": "bytes=5-9"}) as answer:
        packed = b"".join([block async for block in answer.aiter_raw()])
    assert answer.status_code == 206
    assert gzip.decompress(packed) == whole(served)[5:10]
    async with served.store.stream("GET", served.emulator.blob_url(SIZE, gzip="lie")) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert b"".join([block async for block in answer.aiter_raw()]) == whole(served)


async def test_bomb_unpacks_to_many_times_its_size(served: Served) -> None:
    size = (64 << 20) + 17
    async with served.store.stream("GET", served.emulator.blob_url(SIZE, bomb=size)) as answer:
        packed = b"".join([block async for block in answer.aiter_raw()])
    assert len(packed) < size / 900
    unpacked = zlib.decompress(packed, wbits=31)
    assert unpacked == bytes(size)


@pytest.mark.parametrize(("wish", "start"), [("weak", 'W/"'), ("none", None), ('"mine"', '"mine"')])
async def test_entity_tags(served: Served, wish: str, start: str | None) -> None:
    etag = (await get(served, etag=wish)).headers.get("etag")
    assert etag is None if start is None else etag.startswith(start)


async def test_entity_tag_may_be_new_each_time(served: Served) -> None:
    tags = [(await get(served, etag="rand")).headers["etag"] for _ in range(3)]
    assert len(set(tags)) == 3


async def test_last_modified_may_be_missing(served: Served) -> None:
    assert "last-modified" not in (await get(served, lm="none")).headers


async def test_object_changes_after_so_many_requests(served: Served) -> None:
    answers = [await get(served, flip=2) for _ in range(4)]
    assert [answer.content for answer in answers] == [whole(served)] * 2 + [whole(served, version=1)] * 2
    assert len({answer.headers["etag"] for answer in answers}) == 2
    assert len({answer.headers["last-modified"] for answer in answers}) == 2


async def test_object_may_change_on_each_request(served: Served) -> None:
    answers = [await get(served, flip="each") for _ in range(3)]
    assert len({answer.content for answer in answers}) == 3


async def test_entity_tag_may_change_alone(served: Served) -> None:
    old, new = await get(served), await get(served, flip=0, flipc=0)
    assert old.content == new.content
    assert old.headers["etag"] != new.headers["etag"]
    assert old.headers["repr-digest"] == new.headers["repr-digest"]


async def test_checkpoint_archives_change_too(served: Served) -> None:
    checkpoint = served.emulator.checkpoints[0]
    old = await served.store.get(served.emulator.archive_url(checkpoint.checkpoint_id)[0])
    served.emulator.inject(flip=0)
    new = await served.store.get(served.emulator.archive_url(checkpoint.checkpoint_id)[0])
    assert len(old.content) == len(new.content) == checkpoint.size_bytes
    assert old.content != new.content


async def test_object_may_have_another_size(served: Served) -> None:
    answer = await get(served, size=100)
    url = served.emulator.blob_url(100)
    assert answer.headers["content-length"] == "100"
    assert (await served.store.get(f"{url}&size=50")).headers["content-length"] == "50"
    large = await served.store.get(f"{url}&size=6g&nodigest=1", headers={"Range": f"bytes={(6 << 30) - 5}-"})
    assert large.headers["content-range"] == f"bytes {(6 << 30) - 5}-{(6 << 30) - 1}/{6 << 30}"


async def test_digests_may_be_missing_or_wrong(served: Served) -> None:
    good, without, wrong = await get(served), await get(served, nodigest=1), await get(served, sum="bad")
    assert "repr-digest" not in without.headers
    assert "x-cos-hash-crc64ecma" not in without.headers
    assert wrong.headers["repr-digest"] != good.headers["repr-digest"]
    assert wrong.headers["x-cos-hash-crc64ecma"] != good.headers["x-cos-hash-crc64ecma"]


@pytest.mark.parametrize("query", ["nosuch=1", "reset=x", "gzip=2", "p=often", "flip=x", "times="])
async def test_misspelt_knobs_are_refused_and_not_ignored(served: Served, query: str) -> None:
    answer = await served.store.get(f"{served.emulator.blob_url(SIZE)}&{query}")
    assert answer.status_code == 400
    name, _, value = query.partition("=")
    with pytest.raises(ValueError, match=r"\w"):
        served.emulator.inject(None, **{name: value})


async def test_injected_faults_reach_the_urls_that_the_api_signs(served: Served) -> None:
    one, other = served.emulator.checkpoints[0], served.emulator.checkpoints[1]

    async def status(checkpoint_id: str) -> int:
        return (await served.store.get(served.emulator.archive_url(checkpoint_id)[0])).status_code

    served.emulator.inject(status=503, times=1)
    served.emulator.inject(other.checkpoint_id, status=404)
    assert await status(one.checkpoint_id) == 503
    assert await status(one.checkpoint_id) == 200, "times are counted across signatures"
    assert await status(other.checkpoint_id) == 404
    served.emulator.inject(other.checkpoint_id)
    assert await status(other.checkpoint_id) == 503
    served.emulator.behave()
    assert await status(other.checkpoint_id) == 200


async def test_odd_ports_are_odd(served: Served, autojump_clock: MockClock) -> None:
    odd = served.emulator.odd_ports
    assert odd is not None
    limits = httpx.Timeout(30)
    with pytest.raises(httpx.ReadTimeout):
        await served.store.get(odd.silent, timeout=limits)
    with pytest.raises(httpx.ReadError):
        await served.store.get(odd.resetting)
    with pytest.raises(httpx.RemoteProtocolError):
        await served.store.get(odd.garbage)
    with pytest.raises(httpx.ConnectError):
        await served.store.get(odd.closed)
    with trio.move_on_after(600) as scope:
        await served.store.get(odd.dripping, timeout=limits)
    assert scope.cancelled_caught, "a byte a second never breaks a limit on silence"
