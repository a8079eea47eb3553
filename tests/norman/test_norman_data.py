"""What data of inputs may be, and what is refused before anything is made."""

from __future__ import annotations

import collections
import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.norman.norman_opening import (
    answer,
    asked,
    echo,
    open_in_memory,
)
from trio_norman._sansio.encodings import primitive_bytes
from trio_norman.errors import (
    ConfigurationError,
    JobFailedError,
)


class Pipe(io.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any, /) -> int:
        return self._data.readinto(room)


async def chunks() -> AsyncIterator[bytes]:
    for each in (b"one ", b"", b"two"):
        await trio.lowlevel.checkpoint()
        yield each


def iterated() -> Iterator[bytes]:
    yield b"one "
    yield b"two"


def half_read() -> io.BytesIO:
    stream = io.BytesIO(b"skipped one two")
    stream.seek(8)
    return stream


def closed(stream: io.BytesIO) -> io.BytesIO:
    stream.close()
    return stream


class Sink(io.RawIOBase):
    """A stream that can only be written to."""

    def writable(self) -> bool:
        return True


def receiving() -> trio.abc.ReceiveStream:
    _, here = trio.testing.memory_stream_one_way_pair()
    here.put_data(b"one two")
    here.put_eof()
    return here


VALUES: list[tuple[Callable[[], object], bytes]] = [
    (lambda: "text", b"text"),
    (lambda: "Zoë", "Zoë".encode()),
    (lambda: b"bytes", b"bytes"),
    (lambda: bytearray(b"array"), b"array"),
    (lambda: memoryview(b"view"), b"view"),
    (lambda: 42, b"42"),
    (lambda: 1.5, b"1.5"),
    (lambda: {"a": [1, "é"]}, b'{"a": [1, "\\u00e9"]}'),
    (lambda: [1, 2], b"[1, 2]"),
    (lambda: True, b"true"),
    (half_read, b"one two"),
    (lambda: Pipe(b"one two"), b"one two"),
    (chunks, b"one two"),
    (iterated, b"one two"),
    (receiving, b"one two"),
]


@pytest.mark.parametrize(("data", "sent"), VALUES, ids=range(len(VALUES)))
async def test_every_kind_of_value_and_stream_arrives(
    autojump_clock: MockClock, data: Callable[[], object], sent: bytes
) -> None:
    async with open_in_memory() as (_, norman):
        assert await answer(norman, echo(data())) == sent


async def test_a_path_a_text_that_names_a_file_and_a_trio_file_are_files(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "input.txt"
    path.write_bytes(b"content")
    async with open_in_memory() as (_, norman):
        for data in (path, str(path), trio.Path(path)):
            assert await answer(norman, echo(data)) == b"content"
        async with await trio.open_file(path, "rb") as file:
            assert await answer(norman, echo(file)) == b"content"
        assert await answer(norman, echo(str(path), source="Primitive")) == str(path).encode()
        assert await answer(norman, echo(f"{path} ")) == f"{path} ".encode()
        assert await answer(norman, echo(str(tmp_path))) == str(tmp_path).encode()
        assert await answer(norman, echo("x" * 5000)) == b"x" * 5000
        assert await answer(norman, echo("nul\0nul")) == b"nul\0nul"


async def test_a_link_is_fetched_by_the_service(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        link = emulator.upload("in.txt", b"from afar")
        assert await answer(norman, echo(link)) == b"from afar"
        assert len(emulator.norman.pushes) == 0
        assert await answer(norman, echo(link, source="Primitive")) == link.encode()
        with pytest.raises(JobFailedError):
            await norman.invoke(echo(f"{emulator.storage_url}/missing"))


@given(
    value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))
)
def test_the_bytes_of_a_value_are_what_the_page_says(value: Any) -> None:
    try:
        data = primitive_bytes(value, of="x")
    except ConfigurationError:
        assert value == "" or "\\ud" in ascii(value)
        return
    assert data == str(value).encode() if isinstance(value, str | int) and not isinstance(value, bool) else data


BAD: list[tuple[dict[str, Any], str]] = [
    (echo(Path("/missing/file")), "does not exist"),
    (echo("/missing/file", source="File"), "does not exist"),
    (echo(b""), "empty"),
    (echo(""), "empty"),
    (echo(None), "no data"),
    (echo(object()), "cannot be sent"),
    (echo({"x": object()}), "no JSON"),
    (echo(float("nan")) | {"inputs": [{"display_title": "Input", "data": [float("nan")]}]}, "no JSON"),
    (echo("x", source="Carrier Pigeon"), "known are"),
    (echo("not a link", source="Link"), "URL"),
    (echo(5, source="Link"), "no text"),
    (echo("https://u:p@example.org/x", source="Link"), "cannot be used"),
    (echo("x", source="Stream"), "no stream"),
    (echo(5, source="File"), "path"),
    (echo(io.StringIO("text")), "binary"),
    (echo(["x"], source="Stream"), "binary"),
    (echo(closed(io.BytesIO(b"x"))), "closed"),
    (echo(trio.wrap_file(closed(io.BytesIO(b"x")))), "closed"),
    (echo(io.TextIOWrapper(io.BytesIO(b"x"))), "gives str"),
    (echo(io.BufferedWriter(Sink())), "cannot be read"),
    (echo({1, 2}), "a set cannot be sent"),
    (echo(range(3)), "a range cannot be sent"),
    (echo({b"x"}, source="Stream"), "no stream"),
    (echo(collections.deque(["x"])), "gives str"),
    ({"model_name": "echo"}, "no input is given for 'Input'"),
    ({"model_name": "echo", "inputs": [{"display_title": "Imput", "data": "x"}]}, "no input called 'Imput'"),
    ({"model_name": "echo", "inputs": [*echo("x")["inputs"], {"display_title": "More", "data": "x"}]}, "'More'"),
    ({"model_name": "echo", "inputs": echo("x")["inputs"] * 2}, "several inputs"),
    (echo("x") | {"outputs": [{"display_title": "Output", "consume_mode": "swallow"}]}, "known are"),
    (echo("x") | {"outputs": [{"display_title": "Out"}]}, "no output called 'Out'"),
    ({"inputs": []}, "model_name"),
    ({"model_name": "echo", "inputs": [{"data": "x"}]}, "display_title"),
    ({"model_name": "echo", "inputs": {"Input": "x"}}, "expected a list"),
    ({"model_name": 5}, "expected str"),
    ({"model_name": "echo", "input": []}, "unknown field: input"),
]


@pytest.mark.parametrize(("config", "problem"), BAD, ids=[problem for _, problem in BAD])
async def test_what_cannot_work_is_refused_before_anything_is_made(
    autojump_clock: MockClock, config: dict[str, Any], problem: str
) -> None:
    async with open_in_memory() as (emulator, norman):
        with pytest.raises((ConfigurationError, TypeError), match=problem):
            await norman.invoke(config)
        assert asked(emulator, "by-name") == []


async def test_a_stream_that_turns_out_to_give_no_bytes_leaves_an_invocation_that_is_named(
    autojump_clock: MockClock,
) -> None:
    async with open_in_memory() as (_, norman):
        with pytest.raises(ConfigurationError, match="binary") as caught:
            await norman.invoke(echo(iter(["text"])))
        assert caught.value.orphans


async def test_a_stream_that_is_closed_before_its_turn_is_told_of(autojump_clock: MockClock) -> None:
    stream = io.BytesIO(b"x")
    async with open_in_memory() as (emulator, norman):
        emulator.misbehave("/v0/persist/models/get", delay=1)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def close() -> None:
                while not asked(emulator, "/models/get"):  # noqa: ASYNC110 (a log tells nobody)
                    await trio.sleep(0.01)
                stream.close()

            with pytest.raises(ConfigurationError, match="closed"):
                await norman.invoke(echo(stream))
