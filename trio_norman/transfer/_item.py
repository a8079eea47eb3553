"""One source of a batch, from its name to its result."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import BinaryIO

import attrs
import trio

from .._sansio.endings import wrong_size
from .._sansio.heads import UNKNOWN, Version
from .._sansio.retrying import RetryBudget
from .._sansio.unpacking import LOOKED_AT, encoding_unasked, new_gauge
from ..errors import (
    ChecksumMismatchError,
    DestinationExistsError,
    ProtocolError,
    SourceChangedError,
    TrioNormanError,
    UnprovenError,
)
from ._archives import check_archive
from ._digesting import checked, digest_file, digests_of, same_or_refused, wanted_algorithms
from ._folder import Sight
from ._links import Links
from ._model import DownloadFinished, DownloadResult, DownloadStarted, Outcome, Source
from ._object import ObjectDownload
from ._part import Part
from ._probing import probe
from ._restarts import MOST_RESTARTS, AppearedError, StartAnewError
from ._shop import Shop
from ._small import SMALL, SmallFile

_WORTHLESS = (
    ChecksumMismatchError,
    SourceChangedError,
    UnprovenError,
)  # after these there is nothing in a partial that could be resumed
_LETTING_GO = 5.0  # seconds that giving a partial back may take on a slow disk, even when we are being cancelled


async def download_item(shop: Shop, source: Source, sight: Sight, links: Links) -> DownloadResult:
    """Bring one source home and tell what became of it; its errors are in the result, never raised.

    `sight` is what stood under its name when it was listed.

    Cancellation: noticed at every wait; what came so far stays as a partial that can be resumed.
    """
    item = ItemDownload(shop, source, sight, links)
    try:
        result = await item.run()
    except TrioNormanError as error:
        result = item.result(Outcome.FAILED, error=error)
    shop.emit(DownloadFinished(result))
    return result


async def result_of_present_file(shop: Shop, source: Source, sight: Sight) -> DownloadResult:
    """Tell what a file is that this batch has brought home already, without any request.

    Cancellation: nothing has happened.
    """
    item = ItemDownload(shop, source, sight, Links(source))
    algorithms = wanted_algorithms(source.digests, verify=bool(shop.options.verify))
    try:
        digests = await digest_file(shop.folder, source.name, algorithms, shop.hashing)
        proofs = checked(source.name, source.digests, digests)
    except TrioNormanError as error:
        return item.result(Outcome.FAILED, error=error)
    return item.result(Outcome.SKIPPED, size=sight.size, digests=digests, verified_by=proofs)


@attrs.define(eq=False)
class ItemDownload:
    """The steps of one source: look, claim, fetch, verify, publish."""

    shop: Shop
    source: Source
    _sight: Sight
    _links: Links
    _object: ObjectDownload | None = attrs.field(init=False, default=None)
    _resumed: int = attrs.field(init=False, default=0)
    _has_appeared: bool = attrs.field(init=False, default=False)
    _began: float = attrs.field(init=False, factory=trio.current_time)

    def result(
        self,
        outcome: Outcome,
        *,
        size: int | None = None,
        digests: Mapping[str, str] | None = None,
        verified_by: tuple[str, ...] = (),
        error: TrioNormanError | None = None,
    ) -> DownloadResult:
        """Return a result with all that was counted."""
        fetched = self._object
        return DownloadResult(
            self.source,
            self.shop.folder.path / self.source.name,
            outcome,
            size_bytes=self.source.size_bytes if size is None else size,
            received_bytes=0 if fetched is None else fetched.received_bytes,
            resumed_bytes=self._resumed,
            attempts=0 if fetched is None else fetched.attempts,
            seconds=trio.current_time() - self._began,
            digests=digests or {},
            verified_by=verified_by,
            error=error,
        )

    async def run(self) -> DownloadResult:
        """Take the steps.

        Raises:
            TrioNormanError: If the file cannot be brought home. The final name is then as it was before.
        """
        try:
            return await self._run()
        except AppearedError:
            self._has_appeared = True  # once is enough: what comes and goes is met again in the end
            self._sight = await trio.to_thread.run_sync(self.shop.folder.look, self.source.name, limiter=self.shop.disk)
            return await self._run()

    async def _run(self) -> DownloadResult:
        sight = self._sight
        twin: Mapping[str, str] = {}
        if sight.kind == "other" and self.shop.options.existing != "keep":
            raise DestinationExistsError(self.source.name, "it is not a regular file")
        if sight.kind is not None and self.shop.options.existing != "overwrite":
            present = await self._compare(sight)
            if isinstance(present, DownloadResult):
                await self._clear_away(sight)
                return present
            twin = present
        part = await self._claim(self._announced()) if self._needs_partial(sight) else None
        try:
            fetched = self._object = self._new_object(part)
            await self._fetch(fetched)
            return await self._finish(fetched, twin)
        finally:
            await self._let_go(part)  # noqa: ASYNC102 (it shields itself)

    async def _compare(self, sight: Sight) -> DownloadResult | Mapping[str, str]:
        """Tell what the present file is: a result that ends the matter, or its digests for comparing in the end."""
        source, options = self.source, self.shop.options
        if options.existing == "keep":
            return self.result(Outcome.SKIPPED, size=sight.size)
        if not sight.is_file:
            raise DestinationExistsError(source.name, "it is not a regular file")
        announced = self._announced()
        if not announced.digests:
            announced = announced.joined(await probe(self.shop, source, self._links, RetryBudget(options.retry)))
        if announced.size not in (None, sight.size):
            raise DestinationExistsError(source.name, f"it has {sight.size} bytes, not {announced.size}")
        algorithms = wanted_algorithms(announced.digests, verify=bool(options.verify) or not announced.digests)
        digests = await digest_file(self.shop.folder, source.name, algorithms, self.shop.hashing)
        if not announced.digests:
            return digests
        try:
            proofs = checked(source.name, announced.digests, digests)
        except ChecksumMismatchError as error:
            raise DestinationExistsError(source.name, f"it has another {error.algorithm}") from None
        return self.result(Outcome.SKIPPED, size=sight.size, digests=digests, verified_by=proofs)

    async def _clear_away(self, sight: Sight) -> None:
        """Remove what an earlier, killed run left beside a file that proved to be complete."""
        if sight.has_partial and self.shop.options.existing != "keep":
            part = await self._claim(self._announced())
            await self._give_back(part.discard)

    def _needs_partial(self, sight: Sight) -> bool:
        """Tell whether there is a partial, or will surely be one."""
        return sight.has_partial or (self.source.size_bytes is not None and self.source.size_bytes > SMALL)

    async def _let_go(self, part: Part | None) -> None:
        """Give the partial back: what was read is worth something to the next run, unless it made this one fail."""
        left = part if self._object is None else self._object.part
        if left is not None and not left.is_closed:
            is_encoded = self._object is not None and self._object.is_encoded
            await self._give_back(
                left.discard if is_encoded or isinstance(sys.exception(), _WORTHLESS) else left.release
            )

    async def _give_back(self, let_go: Callable[[], None]) -> None:
        """Let go of a claimed partial, cancelled or not: one that nobody lets go of stays ours while we live."""
        with trio.move_on_after(_LETTING_GO, shield=True):
            await trio.to_thread.run_sync(let_go, limiter=self.shop.disk)

    async def _claim(self, version: Version) -> Part:
        """Become the only writer of the partial; `version` is what is known of the object.

        Raises:
            AppearedError: If something has got the final name since: whoever wrote the partial before us was quicker.
        """
        folder, source = self.shop.folder, self.source
        is_free = self._sight.kind is None and self.shop.options.existing != "overwrite" and not self._has_appeared

        def claim() -> Part:
            part = Part.claim(folder, source.name, source.identity, version)
            try:
                if is_free and folder.look(source.name).kind is not None:
                    raise AppearedError
            except BaseException:
                part.release()
                raise
            return part

        return await trio.to_thread.run_sync(claim, limiter=self.shop.disk)

    def _announced(self) -> Version:
        """Return what the caller has said of the object."""
        source = self.source
        is_known = source.size_bytes is not None or source.digests
        return Version(source.size_bytes, None, source.digests) if is_known else UNKNOWN

    def _new_object(self, part: Part | None) -> ObjectDownload:
        self._resumed = 0 if part is None else sum(map(len, part.held))
        if self._object is None:
            self.shop.emit(DownloadStarted(self.source, self.source.size_bytes, self._resumed))
        announced = self._announced()
        budget = RetryBudget(self.shop.options.retry)
        return ObjectDownload(self.shop, self.source, announced, budget, self._links, self._claim, part)

    async def _fetch(self, fetched: ObjectDownload) -> None:
        while True:
            try:
                return await self._fetch_in_turn(fetched)
            except StartAnewError as anew:
                if not anew.is_paid_for:
                    fetched.count_restart(anew.reason)
                # An object that keeps changing between two requests may still come whole in a single one.
                single = anew.single or fetched.restarts == MOST_RESTARTS
                await fetched.start_anew(single=single, is_same=anew.is_paid_for)

    async def _fetch_in_turn(self, fetched: ObjectDownload) -> None:
        await self.shop.connections.take_for_file()
        try:
            await fetched.fetch_all()
        finally:
            self.shop.connections.release()

    async def _finish(self, fetched: ObjectDownload, twin: Mapping[str, str]) -> DownloadResult:
        """Verify and publish; what does not verify is fetched once more from the first byte."""
        try:
            return await self._publish(fetched, twin)
        except (ChecksumMismatchError, ProtocolError) as error:
            wait = fetched.budget.after(error, now=trio.current_time(), jitter=self.shop.luck())
            if wait is None:
                raise
        await trio.sleep(wait)
        await fetched.start_anew(single=False)
        await self._fetch(fetched)
        return await self._publish(fetched, twin)

    async def _publish(self, fetched: ObjectDownload, twin: Mapping[str, str]) -> DownloadResult:
        try:
            return await self._publish_as_it_came(fetched, twin)
        except ChecksumMismatchError:
            if fetched.is_encoded:
                gauge = new_gauge(self.source.size_bytes)
                gauge.feed((fetched.small or b"")[:LOOKED_AT])
                raise encoding_unasked(self.source.identity, gauge) from None
            raise

    async def _publish_as_it_came(self, fetched: ObjectDownload, twin: Mapping[str, str]) -> DownloadResult:
        algorithms = [*fetched.algorithms(), *twin]
        outcome = Outcome.SKIPPED if twin else Outcome.OK
        try:
            if fetched.part is None:
                digests = await self._publish_small(fetched, fetched.small or b"", algorithms, twin)
            else:
                digests = await self._publish_part(fetched, fetched.part, algorithms, twin)
        except DestinationExistsError:
            if twin or not algorithms:
                raise
            digests, outcome = await self._same_meanwhile(fetched, algorithms), Outcome.SKIPPED
        proofs = checked(self.source.name, fetched.known.digests, digests)
        return self.result(outcome, size=fetched.size, digests=digests, verified_by=proofs)

    async def _same_meanwhile(self, fetched: ObjectDownload, algorithms: Sequence[str]) -> Mapping[str, str]:
        """Make do with a file that got the name while we were fetching, if it is the same: another run was quicker.

        Raises:
            DestinationExistsError: If it is not.
        """
        name = self.source.name
        sight = await trio.to_thread.run_sync(self.shop.folder.look, name, limiter=self.shop.disk)
        if not sight.is_file or sight.size != fetched.size:
            raise DestinationExistsError(name)
        found = await digest_file(self.shop.folder, name, algorithms, self.shop.hashing)
        if fetched.digester is None:
            same_or_refused(name, found, digests_of(fetched.small or b"", algorithms))
        else:
            same_or_refused(name, found, await fetched.digester.digests(algorithms))
        if fetched.part is not None:
            await trio.to_thread.run_sync(fetched.part.discard, limiter=self.shop.disk)
        return found

    async def _publish_small(
        self, fetched: ObjectDownload, body: bytes, algorithms: Sequence[str], twin: Mapping[str, str]
    ) -> Mapping[str, str]:
        announced = fetched.known.digests
        await self._check_archive(lambda: io.BytesIO(body), announced)
        return await self.shop.small_files.save(SmallFile(self.source.name, body, algorithms, announced, twin))

    async def _publish_part(
        self, fetched: ObjectDownload, part: Part, algorithms: Sequence[str], twin: Mapping[str, str]
    ) -> Mapping[str, str]:
        assert fetched.digester is not None  # noqa: S101 (a part comes with its digester)
        options, announced = self.shop.options, fetched.known.digests
        digests = await fetched.digester.digests(algorithms)
        checked(self.source.name, announced, digests)
        wrong = wrong_size(self.source.name, fetched.known, fetched.size, goes_on=fetched.goes_on)
        if wrong is not None:
            raise wrong
        if twin:
            same_or_refused(self.source.name, twin, digests)
            await trio.to_thread.run_sync(part.discard, limiter=self.shop.disk)
        else:
            await self._check_archive(part.open_reader, announced)
            overwrite = options.existing == "overwrite"
            publish = partial(part.publish, size=fetched.size, overwrite=overwrite, durable=options.durable)
            await trio.to_thread.run_sync(publish, limiter=self.shop.disk)
        return digests

    async def _check_archive(self, open_reader: Callable[[], BinaryIO], announced: Mapping[str, str]) -> None:
        """Read a ZIP archive against its own checksums, if asked for and nothing stronger is announced."""
        if self.shop.options.verify != "archive" or announced:
            return
        entries, ratio = self.shop.options.archive_entries, self.shop.options.archive_ratio
        check = partial(check_archive, self.source.name, open_reader, entries=entries, ratio=ratio)
        await trio.to_thread.run_sync(check, limiter=self.shop.hashing)
