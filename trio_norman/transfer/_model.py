"""What goes into the engine and what comes out of it."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict

import attrs

from .._sansio.digests import normal_digest
from .._sansio.ranges import LARGEST_SIZE, ByteRange
from .._sansio.redaction import Secret, public_url
from .._sansio.retrying import RetryPolicy
from .._sansio.stalling import StallLimit
from .._wire._fetching import Answer
from ..errors import ConfigurationError, TrioNormanError


@attrs.frozen
class Link:
    """A URL to fetch from (it prints as ``<redacted>``), and for how many seconds from its signing it is good.

    `pinned_pem` holds the only certificates that its origin is trusted by; the system's authorities then do not count.
    """

    url: Secret = attrs.field(converter=Secret)
    lifetime: float | None = None
    pinned_pem: str | None = attrs.field(default=None, repr=False)


class Fetch(Protocol):
    """How the engine asks for bytes: `trio_norman.transfer` needs no client, only this."""

    def __call__(
        self, url: Secret, span: ByteRange | None = None, if_range: str | None = None, /
    ) -> AbstractAsyncContextManager[Answer]:
        """Open the answer to a GET of `url`, or of one span of it under the condition of a validator."""


class PinningFetch(Protocol):
    """A `Fetch` that is also told whom to trust; only who has one makes links with a `pinned_pem`."""

    def __call__(
        self, url: Secret, span: ByteRange | None, if_range: str | None, pinned_pem: str, /
    ) -> AbstractAsyncContextManager[Answer]:
        """Open the answer likewise, and trust the URL's origin by these certificates alone."""


def _normal_digests(digests: Mapping[str, str]) -> dict[str, str]:
    try:
        return dict(normal_digest(name, value) for name, value in digests.items())
    except ValueError as error:
        raise ConfigurationError(f"a digest cannot be compared: {error}") from None


def _a_length(_: Any, __: Any, size: int | None) -> None:
    if size is not None and not 0 <= size <= LARGEST_SIZE:
        raise ConfigurationError(f"no object has {size} bytes", "give the length in bytes, or None if it is not known")


@attrs.frozen
class Source:
    """One file to bring home.

    Args:
        name: File name at the destination; checked when its turn comes.
        link: Gives a URL that can be fetched now; it is called just in time, and again when a URL is refused.
        identity: What makes this the same source in a later run, without any secret in it.
        size_bytes: Length, if it is known beforehand.
        digests: Algorithm to hexadecimal digest, as announced beforehand (``{"sha256": "..."}``).
        item: Anything of yours; you find it again in the result.
        is_renewable: Whether `link` gives a *new* URL each time, so that asking again may help.
        fingerprint: What else tells two sources of one identity apart while a batch lasts; it is written nowhere.

    Raises:
        ConfigurationError: If a digest has an unknown name or is no digest, or the length is none.
    """

    name: str
    link: Callable[[], Awaitable[Link]] = attrs.field(repr=False)
    identity: str
    size_bytes: int | None = attrs.field(default=None, validator=_a_length)
    digests: Mapping[str, str] = attrs.field(factory=dict, converter=_normal_digests)
    item: Any = None
    is_renewable: bool = True
    fingerprint: bytes = attrs.field(default=b"", repr=False, eq=False, kw_only=True)

    @classmethod
    def from_url(
        cls,
        url: str,
        name: str,
        *,
        size_bytes: int | None = None,
        digests: Mapping[str, str] | None = None,
        item: Any = None,
    ) -> Source:
        """Describe a fixed URL. It is identified by what stands before its query, which may be a signature."""
        link = Link(Secret(url))

        async def same_link() -> Link:
            return link

        print_of_url = hashlib.blake2b(url.encode(errors="surrogatepass"), digest_size=16).digest()
        return cls(
            name,
            same_link,
            public_url(url),
            size_bytes,
            digests or {},
            item,
            is_renewable=False,
            fingerprint=print_of_url,  # what the identity leaves out of the URL may name another object
        )


class Outcome(StrEnum):
    """What became of one source."""

    OK = "ok"  #: fetched, verified, and under its final name
    SKIPPED = "skipped"  #: it was there already and proved to be the same; or it was kept as asked
    #: See `error`. The final name is as it was before; or, if the directory could not be synced afterwards, the whole
    #: file has it, and the next run proves that.
    FAILED = "failed"


@attrs.frozen
class DownloadResult:
    """What became of one source.

    `size_bytes` is the file's length; `received_bytes` counts what came over the network for it, over all attempts;
    `seconds` is from its first request to its final name. `digests` were computed from the file on disk, and
    `verified_by` names those of them that somebody had announced.
    """

    source: Source
    path: Path
    outcome: Outcome
    size_bytes: int | None = None
    received_bytes: int = 0
    resumed_bytes: int = 0
    attempts: int = 0
    seconds: float = 0.0
    digests: Mapping[str, str] = attrs.field(factory=dict)
    verified_by: tuple[str, ...] = ()
    error: TrioNormanError | None = None

    @property
    def item(self) -> Any:
        """What the caller gave with the source, a checkpoint for example."""
        return self.source.item

    @property
    def sha256(self) -> str | None:
        """The file's SHA-256 in lower-case hexadecimal, if it was computed."""
        return self.digests.get("sha256")


@attrs.frozen
class DownloadStarted:
    """A source's turn has come: `held_bytes` of it were there already."""

    source: Source
    size_bytes: int | None
    held_bytes: int


@attrs.frozen
class DownloadAdvanced:
    """Bytes of a source were written: `done_bytes` of `size_bytes` are on disk."""

    source: Source
    done_bytes: int
    size_bytes: int | None


@attrs.frozen
class DownloadRetrying:
    """A request failed and is tried again in `wait_seconds`."""

    source: Source
    error: TrioNormanError
    wait_seconds: float


@attrs.frozen
class DownloadFinished:
    """A source is done with, one way or the other."""

    result: DownloadResult


Event = DownloadStarted | DownloadAdvanced | DownloadRetrying | DownloadFinished
OnEvent = Callable[[Event], None]


class Options(TypedDict, total=False):
    """The further keywords that every download call accepts; `DownloadOptions` says what they mean."""

    max_connections: int | Literal["auto"] | None
    verify: bool | Literal["archive"]
    durable: bool
    existing: Literal["verify", "overwrite", "keep"]
    fail_fast: bool
    retry: RetryPolicy
    stall: StallLimit
    part_bytes: int
    bytes_per_second: float | None
    largest_bytes: int
    archive_entries: int
    archive_ratio: int


def _is_a_number_of_connections(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and value != "auto" and not (type(value) is int and value >= 1):
        raise ValueError(f"'max_connections' is a number from 1 on, 'auto' or None, not {value!r}")


@attrs.frozen(kw_only=True)
class DownloadOptions:
    """How a batch is downloaded.

    Args:
        max_concurrency: Files that are worked on at the same time, at least 1; fewer if the system allows the process
            too few descriptors (five for each).
        max_connections: Connections in total; None for as many as files; ``"auto"`` begins with as many
            as there may be files, but four at least and sixteen at most, and finds out how many the link deserves.
            Spare ones fetch parts of large files.
        verify: Compute a SHA-256 of every file. Digests that somebody announced are always compared. ``"archive"``
            also reads a ZIP archive through against its own checksums. False computes only what was announced.
        durable: Sync data and directory before a file counts as done; False leaves that to the kernel.
        existing: What to do where a file has the name already: prove that it is the same, and fail if it is not
            (``"verify"``); replace it at the very end (``"overwrite"``); or leave it alone unread (``"keep"``).
        fail_fast: Stop everything at the first source that fails, and raise its error.
        retry: Limits of trying again, for each file.
        stall: The least speed of a body.
        part_bytes: Longest span that one request asks for, in bytes, from 1 MiB on.
        bytes_per_second: Limit on what the whole batch receives, from 1024 on; None for no limit.
        largest_bytes: Longest object that is taken without its size having been declared beforehand (1 TiB).
        archive_entries: The most that an archive may have to be read through; memory goes by it.
        archive_ratio: How many times its own length such an archive may expand to; 64 MiB are always allowed.
    """

    max_concurrency: int = attrs.field(default=8, validator=attrs.validators.ge(1))
    max_connections: int | Literal["auto"] | None = attrs.field(default=None, validator=_is_a_number_of_connections)
    verify: bool | Literal["archive"] = attrs.field(
        default=True, validator=attrs.validators.in_([True, False, "archive"])
    )
    durable: bool = True
    existing: Literal["verify", "overwrite", "keep"] = attrs.field(
        default="verify", validator=attrs.validators.in_(["verify", "overwrite", "keep"])
    )
    fail_fast: bool = False
    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    stall: StallLimit = attrs.field(factory=StallLimit)
    part_bytes: int = attrs.field(default=32 * 2**20, validator=attrs.validators.ge(2**20))
    bytes_per_second: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(1024))
    )
    largest_bytes: int = attrs.field(default=2**40, validator=attrs.validators.ge(1))
    archive_entries: int = attrs.field(default=16_384, validator=attrs.validators.ge(1))
    archive_ratio: int = attrs.field(default=100, validator=attrs.validators.ge(1))
