"""The objects of the storage: what stands behind a path, and its digests."""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar
from urllib.parse import unquote

import attrs
import fastcrc
import trio

from ._archives import ArchiveContent, archive_content
from ._content import Block, BytesContent, Content, SyntheticContent, blocks_of
from ._records import Checkpoint
from ._state import ServiceState, plain_content

_T = TypeVar("_T")
_STEP = 64 << 20  # bytes that are hashed in one go of a worker thread
_SMALL = 256 << 10  # bytes that are hashed faster than a thread is found
_CONTENTS_KEPT = 8192


class RunSync(Protocol):
    """How long computations are run: `trio.to_thread.run_sync`, or inline under a test's clock."""

    def __call__(self, function: Callable[[], _T], /) -> Awaitable[_T]:
        """Run the function and wait for its result."""
        ...


async def run_inline(function: Callable[[], _T], /) -> _T:
    """Run a computation on the Trio thread: a clock that jumps when all tasks wait must not see it as waiting."""
    await trio.lowlevel.checkpoint()
    return function()


async def run_in_thread(function: Callable[[], _T], /) -> _T:
    """Run a computation in a worker thread."""
    return await trio.to_thread.run_sync(function)


@attrs.frozen
class Digests:
    """The digests that the storage announces."""

    sha256: bytes
    crc64: int

    def spoilt(self) -> Digests:
        """Give digests that are wrong."""
        return Digests(self.sha256[::-1], self.crc64 ^ 1)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The header lines: RFC 9530, and the CRC-64/XZ that COS sends."""
        return [
            ("Repr-Digest", f"sha-256=:{base64.b64encode(self.sha256).decode()}:"),
            ("x-cos-hash-crc64ecma", str(self.crc64)),
        ]


@attrs.frozen
class StoredObject:
    """One version of one object."""

    identity: str  # equal identities mean equal bytes, with one exception: see `tagged`
    content: Content
    modified_at: float  # Unix seconds
    content_type: str
    is_private: bool  # only to be had with a signature
    tag: str = ""  # makes another ETag for the same bytes

    @property
    def etag(self) -> str:
        """The strong entity tag."""
        digest = hashlib.blake2b(f"{self.identity} {self.tag}".encode(), digest_size=20)
        return f'"{digest.hexdigest()}"'


@attrs.define(eq=False)
class Objects:
    """Finds objects by their path and knows their digests, which are computed once, when they are needed."""

    state: ServiceState
    pool: bytes = attrs.field(repr=False)
    makes_archives: bool
    run_sync: RunSync
    uploads: dict[str, bytes] = attrs.field(factory=dict)  # path -> bytes given by a test
    _contents: OrderedDict[str, Content] = attrs.field(factory=OrderedDict, init=False)
    _digests: dict[str, Digests] = attrs.field(factory=dict, init=False)
    _locks: dict[str, trio.Lock] = attrs.field(factory=dict, init=False)

    def find(self, path: str, *, version: int = 0, tag: int = 0, size: int | None = None) -> StoredObject | None:
        """Give the object of a percent-encoded path, in this version and size."""
        key = unquote(path).lstrip("/")
        kind, _, rest = key.partition("/")
        modified_at = self.state.epoch - 86400 + 60 * (version or tag)
        if path in self.uploads:
            held = BytesContent(self.uploads[path])
            identity = f"upload {hashlib.sha256(held.held).hexdigest()}"
            return StoredObject(identity, held, modified_at, "application/octet-stream", False, str(tag))
        if kind == "blobs":
            return self._blob(rest, version, tag, size, modified_at)
        if kind == "models" and rest.endswith(".zip"):
            checkpoint = self._checkpoint_of(key)
            if checkpoint is None:
                return None
            changed = attrs.evolve(
                checkpoint,
                version=checkpoint.version + version,
                size_bytes=checkpoint.size_bytes if size is None else size,
            )
            modified_at = checkpoint.created_at + 60 * (version or tag)
            identity, content = self.checkpoint_content(changed)
            return StoredObject(identity, content, modified_at, "application/zip", True, str(tag or ""))
        return None

    def _checkpoint_of(self, key: str) -> Checkpoint | None:
        path = key.removeprefix("models/").removesuffix(".zip")
        for found in (self.state.find_path(path), self.state.find_checkpoint(path.rpartition("/")[2])):
            if found is not None and found.object_key == key:
                return found
        return None

    def checkpoint_content(self, checkpoint: Checkpoint) -> tuple[str, Content]:
        """Give a checkpoint's archive, and the identity of its bytes."""
        version = f"{checkpoint.checkpoint_id} {checkpoint.version}"
        identity = f"checkpoint {version} {checkpoint.size_bytes}"
        if not self.makes_archives:
            return identity, plain_content(self.pool, checkpoint)
        run = self.state.runs[checkpoint.training_run_id]

        def make() -> Content:
            size = checkpoint.size_bytes
            return archive_content(self.pool, version, size, base_model=run.base_model, rank=run.lora_rank)

        return identity, self._kept(identity, make)

    async def digests(self, stored: StoredObject) -> Digests:
        """Give an object's digests, computing them at most once."""
        known = self._digests.get(stored.identity)
        if known is not None:
            return known
        async with self._locks.setdefault(stored.identity, trio.Lock()):
            if stored.identity not in self._digests:
                await self.finish_checksum(stored.content)
                self._digests[stored.identity] = await self._digested(stored.content)
        self._locks.pop(stored.identity, None)
        return self._digests[stored.identity]

    async def finish_checksum(self, content: Content) -> None:
        """Compute what an archive's last bytes need, so that no read blocks."""
        if not isinstance(content, ArchiveContent):
            return
        while not content.is_summed:
            await self._run(content.size, content.advance_checksum)

    async def _digested(self, content: Content) -> Digests:
        sha256, crc64 = hashlib.sha256(), 0

        def take(block: Block) -> None:
            nonlocal crc64
            sha256.update(block)
            crc64 = fastcrc.crc64.xz(bytes(block), crc64)

        def take_step(start: int) -> None:
            for block in blocks_of(content, start, min(start + _STEP, content.size)):
                take(block)

        for start in range(0, content.size, _STEP):
            await self._run(content.size, lambda start=start: take_step(start))  # type: ignore[misc]
        return Digests(sha256.digest(), crc64)

    async def _run(self, size: int, function: Callable[[], _T]) -> _T:
        return await (run_inline(function) if size <= _SMALL else self.run_sync(function))

    def _blob(self, rest: str, version: int, tag: int, size: int | None, modified_at: float) -> StoredObject | None:
        seed, _, tail = rest.partition("/")
        length, _, name = tail.partition("/")
        if not length.isdecimal() or len(length) > 18 or not name:
            return None
        actual = int(length) if size is None else size
        identity = f"blob {name} {seed} {version} {actual}"
        content = SyntheticContent(self.pool, f"blob {name} {seed} {version}", actual)
        return StoredObject(identity, content, modified_at, "application/octet-stream", False, str(tag or ""))

    def _kept(self, identity: str, make: Callable[[], Content]) -> Content:
        content = self._contents.get(identity)
        if content is None:
            content = self._contents[identity] = make()
            if len(self._contents) > _CONTENTS_KEPT:
                self._contents.popitem(last=False)
        return content
