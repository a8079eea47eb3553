"""``fetch``: the engine on any URLs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..transfer import ConnectionSettings, DownloadResult, Source, download_many
from ._batch import lines_for, run_batch
from ._board import Board
from ._lists import STDIN, ListFile, open_list
from ._options import OUTPUT, DownloadFlags, Hosts, OutputFlags


def _no_option(_: Any, path: str) -> None:
    if path.startswith("-") and path != STDIN:
        raise ValueError("there is no such option (a file of that name is ./NAME)")


ListPath = Annotated[str, Parameter(name="LIST", allow_leading_hyphen=True, validator=_no_option)]


async def fetch(
    list_: ListPath,
    /,
    *,
    flags: DownloadFlags,
    ca_file: Path | None = None,
    allow_http: bool = False,
    allow_host: Hosts = (),
    output: OutputFlags = OUTPUT,
) -> int:
    """Download any URLs, in parallel, resumable and verified.

    A line of the list is URL, tab, NAME, and behind further tabs any of size=BYTES, sha256=HEX and other digests.
    Empty lines and lines that start with # are skipped. The list is read only as fast as the downloads go on; a line
    that cannot be read ends it with exit code 2 after the lines before it are done. A source is known again by its URL
    without the query, by its size, digest and validator. Stdout has a line for each file as it is done; with --json
    each line is one JSON object.

    Args:
        list_: File with the list; - is stdin.
        ca_file: PEM file of a private certificate authority, trusted beside the system's.
        allow_http: Allow plain http to other machines.
        allow_host: Host to which redirects may lead besides a URL's own (*.NAME: and all below); may be repeated.
    """
    options, board = flags.options, Board()
    async with open_list(list_) as lines:
        if lines.can_be_read_twice and not output.quiet:
            board.expected_items, board.expected_bytes, board.is_listed = await lines.count(), None, True
        return await run_batch(
            lambda note: download_many(
                sources(lines, board),
                flags.to,
                flags.jobs,
                connection=ConnectionSettings(ca_file=ca_file, allow_http=allow_http, allow_hosts=allow_host),
                on_event=note,
                **options,
            ),
            board,
            lines_for(output, facts_of),
            quiet=output.quiet,
        )


async def sources(lines: ListFile, board: Board) -> AsyncGenerator[Source, None]:
    """Yield what the lines describe."""
    async with aclosing(lines.entries()) as entries:
        async for entry in entries:
            if not board.is_listed:
                board.expect(entry.size)
            source = Source.from_url(entry.url, entry.name, size_bytes=entry.size, digests=entry.digests)
            yield source  # noqa: ASYNC119 (the batch closes this generator)
    board.is_listed = True


def facts_of(result: DownloadResult) -> Mapping[str, object]:
    """Return what identifies a result's source: its URL without the query."""
    return {"url": result.source.identity}
