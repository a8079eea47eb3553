"""Whatever is asked of the storage: it answers, or breaks the connection, and goes on serving."""

import httpx
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from trio_norman.testing import open_memory_emulator

SIZE = 5000
KNOBS = """
times p pseed reset trunc stall drip rate drop close http10 abs hdelay hdrip hdrsize hdrs hdr interim cl dupcl tecl
nohead raw status ra sbody sct headstatus fail200 redirect rcode rto loc rbomb loop expire expire_cut sig norange noar
shift crshift nocr cr total rangeshort rangelong force206 r416 multipart noifrange ifrange200 shortcl overcl corrupt
zero chunked chunkext trailers badchunk badkind gzip bomb etag lm flip flipc size nodigest digest sum nonsense
"""
values = st.one_of(
    st.sampled_from(["0", "1", "4k", "-7", "none", "rand", "weak", "each", "bad", "lie", "range", "date+2", "other"]),
    st.sampled_from(["fin", "rst", "digits", "crlf", "nocr", "204", "304", "99", "999", "0.5", "infk", "nan", ""]),
    st.integers(-10, 9000).map(str),
)
queries = st.lists(st.tuples(st.sampled_from(KNOBS.split()), values), max_size=4)
headers = st.dictionaries(
    st.sampled_from(["Range", "If-Range", "If-Match", "If-None-Match"]),
    st.one_of(
        st.from_regex(r"bytes=[0-9]{0,5}-[0-9]{0,5}", fullmatch=True),
        st.sampled_from(["bytes=" + "9" * 5000 + "-", "*", '"x"', 'W/"x", "y"', "items=0-1", "bytes=0-0,5-6"]),
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(query=queries, extra=headers, method=st.sampled_from(["GET", "GET", "HEAD", "PUT"]))
def test_storage_survives_every_combination(query: list[tuple[str, str]], extra: dict[str, str], method: str) -> None:
    async def check() -> None:
        async with open_memory_emulator(runs=0) as (emulator, transport):
            url = httpx.URL(emulator.blob_url(SIZE, signed=False), params=query)
            for _ in range(2):
                with trio.move_on_after(100_000):
                    await ask(transport, httpx.Request(method, url, headers=extra))
            await emulator.connections.wait_idle()
            plain = await transport.handle_async_request(httpx.Request("GET", emulator.blob_url(10)))
            assert len(await plain.aread()) == 10

    trio.run(check, clock=MockClock(autojump_threshold=0))


async def ask(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> None:
    try:
        answer = await transport.handle_async_request(request)
    except httpx.TransportError:
        return
    assert isinstance(answer.stream, httpx.AsyncByteStream)
    try:
        async for _ in answer.stream:
            pass
    except httpx.TransportError:
        pass
    finally:
        await answer.stream.aclose()
