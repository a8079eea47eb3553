"""Checkpoints and weights as files, through the client: every kind of list, one at a time, and as a handle."""

from __future__ import annotations

import gc
import zipfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.rest.rest_opening import QUICK, asked, at, partials, service, visible
from trio_norman import Checkpoint, DownloadFinished, DownloadResult, Event, Outcome, RestClient, Transfer, Weight
from trio_norman.emulator import Emulator, open_emulator
from trio_norman.errors import (
    ChecksumMismatchError,
    ConfigurationError,
    DestinationExistsError,
    DownloadCancelledError,
    FileNameError,
    LocalFileError,
    NotFoundError,
    PagingError,
    ServiceError,
    UrlExpiredError,
)
from trio_norman.rest import checkpoint_file_name


async def all_of(results: AsyncIterator[DownloadResult]) -> list[DownloadResult]:
    """Take every result."""
    return [result async for result in results]


def assert_brought_home(emulator: Emulator, results: Iterable[DownloadResult], dest: Path) -> None:
    """Whether exactly these files lie there, right to the last byte."""
    results = list(results)
    for result in results:
        assert result.error is None
        assert result.outcome == Outcome.OK
        assert isinstance(result.item, Checkpoint | Weight)
        identity = result.item.cuid if isinstance(result.item, Weight) else result.item.checkpoint_id
        assert result.sha256 == emulator.sha256_of(identity)
        assert "sha256" in result.verified_by
        assert result.path == dest / checkpoint_file_name(result.item)
        assert zipfile.ZipFile(result.path).testzip() is None
    assert sorted(each.name for each in dest.iterdir()) == sorted(result.path.name for result in results)


async def test_checkpoints_from_a_list(rest: RestClient, emulator: Emulator, tmp_path: Path) -> None:
    page = await rest.list_user_checkpoints()
    async with rest.download_checkpoints(page.checkpoints, tmp_path) as results:
        assert_brought_home(emulator, found := await all_of(results), tmp_path)
    assert {result.item for result in found} == set(page.checkpoints)
    signed = [request.path for request in asked(emulator, path=at("archive"))]
    assert len(signed) == 8
    beginning = "/api/api/runs/" if rest.dialect == "classic" else at("checkpoints")
    assert all(path.startswith(beginning) for path in signed)  # classic: the run is read from the path


async def test_checkpoints_from_an_iterator_over_all_pages(
    rest: RestClient, emulator: Emulator, tmp_path: Path
) -> None:
    async with rest.download_checkpoints(rest.iter_user_checkpoints(3), str(tmp_path), 2) as results:
        assert_brought_home(emulator, await all_of(results), tmp_path)
        assert (results.progress.items_seen, results.progress.items_done) == (8, 8)
    assert emulator.connections.peak <= 2


async def test_checkpoints_from_an_asynchronous_generator_of_the_users(
    rest: RestClient, emulator: Emulator, tmp_path: Path
) -> None:
    async def chosen() -> AsyncIterator[Checkpoint]:
        async for checkpoint in rest.iter_user_checkpoints():
            if checkpoint.checkpoint_type == "sampler":
                yield checkpoint

    async with rest.download_checkpoints(chosen(), tmp_path) as results:
        assert_brought_home(emulator, found := await all_of(results), tmp_path)
    assert len(found) == 4


async def test_the_checkpoints_of_one_run_by_its_id(rest: RestClient, emulator: Emulator, tmp_path: Path) -> None:
    run = emulator.training_runs[1].training_run_id
    async with rest.download_checkpoints(run, tmp_path / "new" / "folder") as results:
        assert_brought_home(emulator, found := await all_of(results), tmp_path / "new" / "folder")
    assert {result.item.training_run_id for result in found} == {run}
    assert len(found) == 4


async def test_weights(rest: RestClient, emulator: Emulator, tmp_path: Path) -> None:
    async with rest.download_checkpoints(rest.iter_weights(3), tmp_path) as results:
        assert_brought_home(emulator, found := await all_of(results), tmp_path)
    assert len(found) == 4
    assert len(asked(emulator, path="/archive_url/" if rest.dialect == "classic" else at("archive"))) == 4


async def test_a_checkpoint_of_which_only_the_id_is_known(rest: RestClient, emulator: Emulator, tmp_path: Path) -> None:
    known = emulator.checkpoints[1]
    result = await rest.download_checkpoint(Checkpoint(known.checkpoint_id), tmp_path)
    assert result.path.name == f"{known.checkpoint_id}.zip"
    assert result.sha256 == emulator.sha256_of(known.checkpoint_id)


async def test_one_checkpoint(rest: RestClient, emulator: Emulator, tmp_path: Path) -> None:
    (item, *_) = (await rest.list_user_checkpoints()).checkpoints
    events: list[Event] = []
    result = await rest.download_checkpoint(
        item, tmp_path, file_name=lambda checkpoint: "mine.zip", on_event=events.append, verify="archive"
    )
    assert result.path == tmp_path / "mine.zip"
    assert (await trio.Path(result.path).stat()).st_size == result.size_bytes == item.size_bytes
    assert events[-1] == DownloadFinished(result)
    again = await rest.download_checkpoint(item, tmp_path, file_name=lambda checkpoint: "mine.zip")
    assert again.outcome == Outcome.SKIPPED
    assert len(asked(emulator, path=at("archive"))) <= 2


async def test_one_checkpoint_that_cannot_be_had_is_its_error(
    rest: RestClient, emulator: Emulator, tmp_path: Path
) -> None:
    page = (await rest.list_user_checkpoints()).checkpoints
    emulator.inject(page[0].checkpoint_id, corrupt=5)
    with pytest.raises(ChecksumMismatchError):
        await rest.download_checkpoint(page[0], tmp_path)
    emulator.inject(page[1].checkpoint_id, sig="x")
    with pytest.raises((UrlExpiredError, ServiceError)):
        await rest.download_checkpoint(page[1], tmp_path, retry=QUICK)
    await trio.Path(tmp_path / checkpoint_file_name(page[2])).write_text("mine")
    with pytest.raises(DestinationExistsError):
        await rest.download_checkpoint(page[2], tmp_path)
    await trio.Path(tmp_path / "file").write_text("x")
    with pytest.raises(LocalFileError):
        await rest.download_checkpoint(page[3], tmp_path / "file")
    assert visible(tmp_path) == ["file", checkpoint_file_name(page[2])]


async def test_a_checkpoint_that_was_deleted_meanwhile_spoils_no_other(
    rest: RestClient, emulator: Emulator, tmp_path: Path
) -> None:
    page = (await rest.list_user_checkpoints()).checkpoints
    await rest.delete_checkpoint(emulator.checkpoints[2].training_run_id, page[2].checkpoint_id)
    async with rest.download_checkpoints(page, tmp_path) as results:
        found = {result.item.checkpoint_id: result for result in await all_of(results)}
    assert isinstance(found.pop(page[2].checkpoint_id).error, NotFoundError)
    assert_brought_home(emulator, found.values(), tmp_path)
    assert len(found) == 7


async def test_a_listing_that_fails_is_raised_after_what_it_gave(
    rest: RestClient, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.paging_fault = "loop"
    found = []
    with pytest.raises(PagingError):  # noqa: PT012 (its last step raises)
        async with rest.download_checkpoints(rest.iter_user_checkpoints(3), tmp_path) as results:
            async for result in results:
                found.append(result)
    assert_brought_home(emulator, found, tmp_path)
    assert len(found) == 6


async def test_an_unknown_run_is_not_found(rest: RestClient, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        async with rest.download_checkpoints("nobody", tmp_path) as results:
            assert await all_of(results) == []
    with pytest.raises(ConfigurationError, match="training_run_id cannot be an id"):
        async with rest.download_checkpoints("../x", tmp_path) as results:
            assert await all_of(results) == []


@pytest.mark.parametrize("item", ["an-id", 5, None, {"checkpoint_id": "c"}])
async def test_what_is_neither_checkpoint_nor_weight_is_refused(
    rest: RestClient, emulator: Emulator, tmp_path: Path, item: object
) -> None:
    with pytest.raises(ConfigurationError, match="cannot be downloaded: pass checkpoints or weights"):
        await rest.download_checkpoint(item, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="cannot be downloaded"):
        rest.start_download(item, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="cannot be downloaded"):
        async with rest.download_checkpoints([item], tmp_path) as results:  # type: ignore[list-item]
            assert await all_of(results) == []
    assert asked(emulator) == []
    assert visible(tmp_path) == []
    assert partials(tmp_path) == []


async def test_impossible_options_are_refused_before_anything_is_sent(
    rest: RestClient, emulator: Emulator, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="max_concurrency"):
        async with rest.download_checkpoints(rest.iter_user_checkpoints(), tmp_path, 0):
            raise AssertionError("never reached")
    with pytest.raises(TypeError):
        async with rest.download_checkpoints([], tmp_path, colour="blue"):  # type: ignore[call-arg]
            raise AssertionError("never reached")
    assert asked(emulator) == []


@pytest.mark.parametrize("name", ["..", "a/b", "/etc/passwd", "a\\b", "CON", "-rf", "x\x1b[2J", "a\u202eb"])
async def test_a_name_that_a_service_chose_stays_inside_the_folder(
    rest: RestClient, emulator: Emulator, tmp_path: Path, name: str
) -> None:
    run = emulator.training_runs[0].training_run_id
    emulator.state.add_checkpoint(run, name=name)
    page = (await rest.list_user_checkpoints()).checkpoints
    dest = tmp_path / "dest"
    async with rest.download_checkpoints(page, dest) as results:
        found = await all_of(results)
    assert {name.split("/")[0] for name in visible(tmp_path)} == {"dest"}
    for result in found:
        if result.error is None:
            assert result.path.parent == dest
        else:
            assert isinstance(result.error, FileNameError | ServiceError | ConfigurationError)
    assert len([result for result in found if result.error is None]) >= 8


async def test_two_checkpoints_of_one_name_lie_side_by_side(rest: RestClient, emulator: Emulator) -> None:
    page = (await rest.list_user_checkpoints()).checkpoints
    names = [checkpoint_file_name(each) for each in page]
    assert len(set(names)) == 8
    assert names[0] == f"step-0100-{page[0].checkpoint_id}.zip"
    assert checkpoint_file_name(Weight("w1", path="u/t/weights/final.zip")) == "final-w1.zip"


async def test_a_url_that_is_refused_is_signed_once_more(tmp_path: Path) -> None:
    async with open_emulator(runs=1, checkpoints=2, size_bytes=5000) as emulator:
        async with service(emulator).create_rest_client() as rest:
            emulator.inject(emulator.checkpoints[0].checkpoint_id, status=403, times=1)
            async with rest.download_checkpoints(rest.iter_user_checkpoints(), tmp_path, retry=QUICK) as results:
                assert {each.outcome for each in await all_of(results)} == {Outcome.OK}
            assert len(asked(emulator, path=at("archive"))) == 3


# ---- leaving early


async def test_leaving_early_closes_what_was_listed_and_started(
    rest: RestClient, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.inject(emulator.checkpoints[1].checkpoint_id, stall=10)
    is_closed = False

    async def chosen() -> AsyncIterator[Checkpoint]:
        nonlocal is_closed
        try:
            async for checkpoint in rest.iter_user_checkpoints(1):
                yield checkpoint
        finally:
            is_closed = True

    async with rest.download_checkpoints(chosen(), tmp_path, 2) as results:
        async for _ in results:
            break
    assert is_closed
    gc.collect()
    with trio.fail_after(5):
        while emulator.connections.active > 2:
            await trio.testing.wait_all_tasks_blocked(0.01)
    emulator.behave()
    async with rest.download_checkpoints(rest.iter_user_checkpoints(), tmp_path) as results:
        assert {each.outcome for each in await all_of(results)} <= {Outcome.OK, Outcome.SKIPPED}
    assert (len(visible(tmp_path)), partials(tmp_path)) == (8, [])


async def test_an_error_of_the_users_block_comes_out_as_it_is(rest: RestClient, tmp_path: Path) -> None:
    own = KeyError("own")
    with pytest.raises(KeyError) as caught:  # noqa: PT012 (its last step raises)
        async with rest.download_checkpoints(rest.iter_user_checkpoints(1), tmp_path, 1) as results:
            async for _ in results:
                raise own
    assert caught.value is own
    await rest.list_sessions()


# ---- handles


async def started(rest: RestClient, dest: Path, which: int = 0) -> Transfer:
    """Start one download."""
    return rest.start_download((await rest.list_user_checkpoints()).checkpoints[which], dest, retry=QUICK)


async def test_a_handle_is_waited_for_by_any_number_of_tasks(
    rest: RestClient, emulator: Emulator, tmp_path: Path
) -> None:
    transfer = await started(rest, tmp_path)
    assert not transfer.progress.is_done
    found: list[DownloadResult] = []

    async def wait() -> None:
        found.append(await transfer.wait())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
    assert_brought_home(emulator, found[:1], tmp_path)
    assert found[0] is found[1] is found[2]
    done = transfer.progress
    assert (done.done_bytes, done.size_bytes, done.is_done) == (5000, 5000, True)
    transfer.cancel()  # too late to matter
    assert await transfer.wait() is found[0]


async def test_a_cancelled_handle_says_so_and_leaves_what_the_next_one_takes_up(
    rest: RestClient, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.inject(stall=2000)
    transfer = await started(rest, tmp_path)
    with trio.fail_after(5):
        while not emulator.requests.of("storage"):
            await trio.testing.wait_all_tasks_blocked(0.01)
    with trio.move_on_after(0) as scope:
        await transfer.wait()
    so_far = transfer.progress
    assert scope.cancelled_caught  # only the waiting
    assert not so_far.is_done
    transfer.cancel()
    transfer.cancel()
    with pytest.raises(DownloadCancelledError, match=r"step-0100-.*\.zip"):
        await transfer.wait()
    assert transfer.progress.is_done
    assert visible(tmp_path) == []
    emulator.behave()
    result = await (await started(rest, tmp_path)).wait()
    assert_brought_home(emulator, [result], tmp_path)


async def test_a_handle_that_is_cancelled_before_it_began(rest: RestClient, emulator: Emulator, tmp_path: Path) -> None:
    transfer = await started(rest, tmp_path / "new")
    transfer.cancel()
    with pytest.raises(DownloadCancelledError):
        await transfer.wait()
    assert emulator.requests.of("storage") == []


async def test_a_handle_keeps_its_error_for_whoever_waits(rest: RestClient, emulator: Emulator, tmp_path: Path) -> None:
    emulator.misbehave(f".*{at('archive')}", status=404)
    transfer = await started(rest, tmp_path)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await transfer.wait()
    await rest.list_sessions()  # the client is none the worse for it

    def shout(event: Event) -> None:
        raise KeyError("own")

    item = (await rest.list_user_checkpoints()).checkpoints[0]
    with pytest.raises(KeyError):
        await rest.start_download(item, tmp_path, on_event=shout).wait()
    await rest.list_sessions()
