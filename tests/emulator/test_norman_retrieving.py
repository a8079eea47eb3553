"""Retrieving: bodies as streams, ranges where a test turns them on, and answers that break."""

from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.emulator.conftest import NormanServed
from tests.emulator.norman_plain import output_path, plain_client
from trio_norman.emulator import open_emulator

BODY = bytes(range(256)) * 4096


async def stored(norman: NormanServed, body: bytes = BODY) -> dict[str, Any]:
    invocation = await norman.plain.invocation("echo")
    await norman.plain.push(invocation["inputs"][0], body)
    await norman.plain.wait_finished(invocation["id"], invocation["outputs"][0]["id"])
    return invocation


async def read_into(received: bytearray, http: httpx.AsyncClient, path: str) -> None:
    async with http.stream("GET", path) as answer:
        async for block in answer.aiter_raw():
            received += block


async def test_an_input_is_given_back_like_an_output(norman: NormanServed) -> None:
    invocation = await stored(norman)
    parts = [invocation["account_id"], invocation["model_id"], invocation["id"], invocation["inputs"][0]["id"]]
    answer = await norman.plain.http.get("retrieve/input/" + "/".join(parts))
    assert (answer.status_code, answer.content) == (200, BODY)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/octet-stream"),
        (b"\x00\x01", "application/octet-stream"),
        ("größer".encode() * 200, "text/plain"),
        (b"\x89PNG\r\n\x1a\nx", "image/png"),
        (b"\xff\xd8\xffx", "image/jpeg"),
        (b"ID3x", "audio/mpeg"),
        (b"RIFFx", "audio/wav"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
    ],
)
async def test_heads_tell_length_and_type(norman: NormanServed, body: bytes, content_type: str) -> None:
    answer = await norman.plain.retrieve(await stored(norman, body))
    assert answer.content == body
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["content-type"] == content_type


async def test_ranges_are_ignored_unless_they_are_turned_on(norman: NormanServed) -> None:
    invocation = await stored(norman)
    plain = await norman.plain.retrieve(invocation, range="bytes=10-19")
    assert (plain.status_code, len(plain.content)) == (200, len(BODY))
    assert {"etag", "accept-ranges", "last-modified"}.isdisjoint(plain.headers)

    norman.emulator.norman.serves_ranges = True
    part = await norman.plain.retrieve(invocation, range="bytes=10-19")
    assert (part.status_code, part.content) == (206, BODY[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(BODY)}"
    etag = part.headers["etag"]
    rest = await norman.plain.retrieve(invocation, range=f"bytes={len(BODY) - 5}-", **{"if-range": etag})
    assert (rest.status_code, rest.content) == (206, BODY[-5:])
    whole = await norman.plain.retrieve(invocation, range="bytes=5-", **{"if-range": '"another"'})
    assert (whole.status_code, whole.content) == (200, BODY)
    beyond = await norman.plain.retrieve(invocation, range=f"bytes={len(BODY)}-")
    assert beyond.status_code == 416


async def test_what_is_not_there_is_not_found(norman: NormanServed) -> None:
    invocation = await norman.plain.invocation("echo")
    early = await norman.plain.retrieve(invocation)
    assert (early.status_code, early.json()["error_type"]) == (404, "not_found")
    assert (await norman.plain.http.get(output_path(invocation)[:-1])).status_code == 404
    swapped = output_path(invocation).replace(invocation["model_id"], "5")
    assert (await norman.plain.http.get(swapped)).status_code == 404


@pytest.mark.parametrize("knob", ["trunc", "reset"])
async def test_an_answer_can_break_off_so_often(norman: NormanServed, knob: str) -> None:
    invocation = await stored(norman)
    knobs: dict[str, Any] = {knob: 1000, "times": 1}
    norman.emulator.norman.inject_retrieval(invocation["outputs"][0]["id"], **knobs)
    received = bytearray()
    with pytest.raises(httpx.TransportError):
        await read_into(received, norman.plain.http, output_path(invocation))
    assert received == BODY[:1000]
    assert (await norman.plain.retrieve(invocation)).content == BODY


async def test_an_answer_can_be_slow_or_late_or_stall(autojump_clock: MockClock, norman: NormanServed) -> None:
    invocation = await stored(norman, BODY[:10_000])
    norman.emulator.norman.inject_retrieval(rate=1000, hdelay=5)
    started = trio.current_time()
    assert (await norman.plain.retrieve(invocation)).content == BODY[:10_000]
    assert trio.current_time() - started == pytest.approx(15, abs=1)
    norman.emulator.norman.inject_retrieval(stall=100)
    with pytest.raises(httpx.ReadTimeout):
        await norman.plain.retrieve(invocation)
    norman.emulator.norman.inject_retrieval()
    assert (await norman.plain.retrieve(invocation)).content == BODY[:10_000]


async def test_an_answer_can_be_another_one(norman: NormanServed) -> None:
    invocation = await stored(norman)
    norman.emulator.norman.inject_retrieval(corrupt=5)
    assert (await norman.plain.retrieve(invocation)).content[5] == BODY[5] ^ 0xFF
    norman.emulator.norman.inject_retrieval(status=503, ra=7)
    answer = await norman.plain.retrieve(invocation)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    norman.emulator.norman.inject_retrieval(gzip=1)
    assert (await norman.plain.retrieve(invocation)).content == BODY
    for knob in ("chunked", "nonsense"):
        with pytest.raises(ValueError, match=knob):
            norman.emulator.norman.inject_retrieval(None, **{knob: 1})


async def test_a_large_body_comes_from_the_disk_over_real_sockets_and_can_be_reset() -> None:
    body = BODY * 12
    with trio.fail_after(60):
        async with open_emulator(runs=0) as emulator:
            plain = plain_client(emulator, trio.open_tcp_stream)
            async with plain.http:
                await plain.log_in(emulator.norman_api_key)
                invocation = await plain.invocation("echo")
                await plain.push(invocation["inputs"][0], body)
                await plain.wait_finished(invocation["id"], invocation["outputs"][0]["id"])
                assert emulator.norman.body_of(invocation["outputs"][0]["id"]).is_on_disk
                assert (await plain.retrieve(invocation)).content == body
                for knob in ("reset", "trunc"):
                    emulator.norman.inject_retrieval(None, **{knob: 1000})
                    with pytest.raises(httpx.TransportError):
                        await plain.retrieve(invocation)
