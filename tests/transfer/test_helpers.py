"""Connections beside an object's own one: welcome while they bring something, and never needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import attrs
import pytest
import trio

from tests.destinations import Destination, results_of
from tests.transfer.fakes import FakeStore
from trio_norman import Outcome, RetryPolicy, Secret, Source, download_many, errors
from trio_norman._sansio.ranges import ByteRange
from trio_norman._wire._fetching import Answer
from trio_norman.errors import TrioNormanError
from trio_norman.transfer import Link
from trio_norman.transfer._model import Options

MiB = 2**20
URL = "https://store.test/f"
POLICY = RetryPolicy(attempts=4, initial=0.02, longest=0.1)
PAUSE = 0.004  # seconds: the whole takes 0.4
BODY = bytes(range(256)) * (6 * MiB // 256)
THREE_PARTS = BODY[: 3 * MiB]  # of a MiB: one comes at once, the others are for two connections

REFUSALS: dict[str, Callable[[], TrioNormanError]] = {
    "503": lambda: errors.ServiceBrokenError("GET", URL, 503),
    "503 for a long time": lambda: errors.ServiceBrokenError("GET", URL, 503, retry_after=250.0),
    "403": lambda: errors.PermissionDeniedError("GET", URL, 403),
    "404": lambda: errors.NotFoundError("GET", URL, 404),
    "reset": lambda: errors.InterruptedTransferError("GET", URL),
    "refused": lambda: errors.ConnectError("GET", URL, "connection refused"),
}


@attrs.define(eq=False)
class BusyStore(FakeStore):
    """Serves so many answers at a time, and refuses the others."""

    refusal: Callable[[], TrioNormanError] = REFUSALS["503"]
    at_a_time: int = 1
    links_made: int = 0
    refused: int = 0
    cut_first_at: int | None = None  # bytes; from then on one answer at a time is served

    def renewable(self) -> Source:
        """Describe the object behind links that are made on demand."""
        self.objects[URL] = BODY

        async def link() -> Link:
            await trio.lowlevel.checkpoint()
            self.links_made += 1
            return Link(Secret(URL))

        return Source("f", link, "f", len(BODY))

    @asynccontextmanager
    async def fetch(
        self, url: Secret, span: ByteRange | None = None, if_range: str | None = None
    ) -> AsyncIterator[Answer]:
        """Answer or refuse."""
        await trio.lowlevel.checkpoint()
        if self.open_answers >= self.at_a_time:
            self.refused += 1
            raise self.refusal()
        is_first = not self.asked
        async with FakeStore.fetch(self, url, span, if_range) as answer:
            if is_first and self.cut_first_at is not None:
                answer = Answer(answer.url, answer.status, answer.headers, self._cut(answer, self.cut_first_at))
            yield answer

    async def _cut(self, answer: Answer, left: int) -> AsyncIterator[bytes]:
        async with aclosing(answer.chunks()) as chunks:
            async for chunk in chunks:
                if left <= 0:
                    self.at_a_time = 1
                    raise errors.InterruptedTransferError("GET", URL)
                left -= len(chunk)
                yield chunk  # noqa: ASYNC119 (`Answer.chunks` closes this generator)


def options(connections: int | None = 4, *, is_auto: bool = False) -> Options:
    return Options(max_connections="auto" if is_auto else connections, retry=POLICY)


@pytest.mark.parametrize("is_auto", [False, True])
@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_store_that_serves_one_connection_only_is_as_good_as_any(
    kind: str, is_auto: bool, dest: Destination
) -> None:
    store = BusyStore(pause=PAUSE, refusal=REFUSALS[kind])
    with trio.fail_after(10):  # nobody waits for those who were refused
        async with download_many(
            [store.renewable()], dest.path, fetch=store.fetch, **options(is_auto=is_auto)
        ) as downloads:
            (result,) = await results_of(downloads)
    assert (result.error, result.outcome) == (None, Outcome.OK)
    assert (dest.path / "f").read_bytes() == BODY
    assert 0 < store.refused <= 4 * POLICY.attempts
    assert (store.links_made, result.received_bytes) == (1, len(BODY))


async def test_large_files_do_not_wait_for_each_others_helpers(dest: Destination) -> None:
    store = BusyStore(pause=PAUSE, at_a_time=2)
    sources = [store.source(name, BODY) for name in "ab"]
    with trio.fail_after(10):
        async with download_many(sources, dest.path, fetch=store.fetch, **options(is_auto=True)) as downloads:
            assert [result.error for result in await results_of(downloads)] == [None, None]


async def test_a_refusal_is_not_final_while_others_are_served(dest: Destination) -> None:
    store = BusyStore(pause=PAUSE, at_a_time=2, refusal=REFUSALS["404"], cut_first_at=2 * MiB)
    with trio.fail_after(10):
        async with download_many([store.renewable()], dest.path, fetch=store.fetch, **options(2)) as downloads:
            (result,) = await results_of(downloads)
    assert result.error is None
    assert store.refused > 0
    assert (dest.path / "f").read_bytes() == BODY


async def _nothing() -> AsyncIterator[bytes]:
    await trio.lowlevel.checkpoint()
    yield b""


@attrs.define(eq=False)
class ChangedStore(FakeStore):
    """Changes as soon as the own connection and a helper have both asked for a further part of what was there before.

    The helper is told so first, and the own connection when it has left: its answer had come already.
    """

    etag: str = '"before"'
    own: trio.lowlevel.Task | None = None
    asking: int = 0
    both_ask: trio.Event = attrs.field(factory=trio.Event)
    helper_left: trio.Event = attrs.field(factory=trio.Event)

    @asynccontextmanager
    async def fetch(
        self, url: Secret, span: ByteRange | None = None, if_range: str | None = None
    ) -> AsyncIterator[Answer]:
        """Answer with a part, or with the new whole."""
        await trio.lowlevel.checkpoint()
        self.own = self.own or trio.lowlevel.current_task()
        is_own = trio.lowlevel.current_task() is self.own
        if if_range == '"before"':
            self.asking += 1
            if self.asking == 2:
                self.etag = '"after"'
                self.both_ask.set()
            await self.both_ask.wait()
            if is_own:
                with trio.CancelScope(shield=True):
                    await self.helper_left.wait()
            try:
                yield Answer(URL, 200, [("etag", self.etag), ("content-length", str(len(THREE_PARTS)))], _nothing())
            finally:
                self.helper_left.set()
            return
        async with FakeStore.fetch(self, url, span, if_range) as answer:
            fields = [(name, self.etag if name == "etag" else value) for name, value in answer.headers]
            yield Answer(answer.url, answer.status, fields, answer.chunks())


@pytest.mark.rows("V-02", "V-08")
@pytest.mark.parametrize("turn", range(4))  # which of the two goes first is Trio's luck
async def test_a_change_that_two_connections_see_is_one_restart(turn: int, dest: Destination) -> None:
    """Success, by parts again: one plain request for all would be the last resort. D2."""
    store, how = ChangedStore(pause=PAUSE / 4), options(2)
    how["part_bytes"] = MiB
    source = store.source("f", THREE_PARTS, size_bytes=len(THREE_PARTS))
    with trio.fail_after(10):
        async with download_many([source], dest.path, fetch=store.fetch, **how) as downloads:
            (result,) = await results_of(downloads)
    assert (result.error, result.outcome) == (None, Outcome.OK)
    assert (dest.path / "f").read_bytes() == THREE_PARTS
    assert store.asking == 2
    assert None not in [span for _, span in store.asked]
