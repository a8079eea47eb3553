"""Options that several commands share."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
from cyclopts import Group, Parameter
from cyclopts.validators import Number

from .._sansio.settings import exposure
from ..errors import ConfigurationError
from ..transfer._model import Options
from ._output import say
from ._sizes import parse_size, shown_size

_LONGEST_KEY = 4096  # bytes that are read of a key file


def _read_size(_: Any, tokens: Sequence[Any]) -> int:
    return parse_size(tokens[0].value)


def _at_least_one(_: Any, value: Any) -> None:
    if isinstance(value, int) and value < 1:
        raise ValueError("must be at least 1, or auto")


Size = Annotated[int, Parameter(converter=_read_size, metavar="SIZE", show_default=shown_size)]
Count = Annotated[int, Parameter(validator=Number(gte=0), show_default=True)]
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535), show_default=True)]
Positive = Annotated[int, Parameter(validator=Number(gte=1))]
Connections = Annotated[int | Literal["auto"], Parameter(validator=_at_least_one, metavar="N")]
Hosts = Annotated[tuple[str, ...], Parameter(metavar="HOST")]
Jobs = Annotated[int, Parameter(name=("--jobs", "-j"), validator=Number(gte=1), show_default=True)]

SERVICE_GROUP = Group("Service", sort_key=2)
_DOWNLOADING = Group("Downloading", sort_key=1)
_OUTPUT = Group("Output", sort_key=3)


def read_key(path: Path) -> str:
    """Read an API key from a file; warns on stderr if other users can read or write it too. Blocks.

    Raises:
        ConfigurationError: If it cannot be read as one line of text.
    """
    try:
        with open(0 if path == Path("-") else path, "rb", buffering=0, closefd=path != Path("-")) as file:
            mode = Path(path).stat().st_mode if path != Path("-") else 0
            data = file.read(_LONGEST_KEY) or b""
        text = data.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(
            f"the key file cannot be read: {why}", "--api-key-file names a file with the key"
        ) from None
    exposed = exposure("the key file", mode) if stat.S_ISREG(mode) else None
    if exposed is not None:
        say(f"warning: {exposed}")
    return text


@Parameter(name="*", group=_OUTPUT)
@attrs.frozen(kw_only=True)
class OutputFlags:
    """How much is written, and in which form."""

    json: bool = False
    """Write JSON to stdout, in plain ASCII."""
    quiet: bool = False
    """Show no progress and no summary; errors are shown."""


OUTPUT = OutputFlags()


@Parameter(name="*", group=_DOWNLOADING)
@attrs.frozen(kw_only=True)
class DownloadFlags:
    """Where to, how many at once, and how careful."""

    to: Path
    """Directory for the files; it is made if need be."""
    jobs: Jobs = 8
    """Files that are worked on at the same time; fewer where ulimit -n is low."""
    max_connections: Connections | None = None
    """Connections in total; by default as many as files. Spare ones fetch parts of large files; auto finds out."""
    verify: Annotated[bool, Parameter(negative="--no-verify")] = True
    """Compute the SHA-256 of every file; --no-verify computes only digests that somebody announced."""
    durable: Annotated[bool, Parameter(negative="--no-durable")] = True
    """Bring each file to the disk before it counts as done; --no-durable leaves that to the system."""
    force: bool = False
    """Replace other files of the same name, at the very end."""
    no_clobber: bool = False
    """Leave files of the same name alone, unread."""
    fail_fast: bool = False
    """Stop everything at the first failure."""

    @property
    def existing(self) -> Literal["verify", "overwrite", "keep"]:
        """What to do where a file has the name already."""
        if self.force and self.no_clobber:
            raise ConfigurationError("--force and --no-clobber contradict each other", "give one of them")
        return "overwrite" if self.force else "keep" if self.no_clobber else "verify"

    @property
    def options(self) -> Options:
        """The further keywords of a download call."""
        return Options(
            max_connections=self.max_connections,
            verify=self.verify,
            durable=self.durable,
            existing=self.existing,
            fail_fast=self.fail_fast,
        )


_TAKES_VALUE = frozenset({"--base-url", "--api", "--ca-file", "--api-key-file", "--allow-host"})
_TAKES_NONE = frozenset({"--allow-http", "--json", "--quiet"})


def options_last(tokens: Sequence[str]) -> list[str]:
    """Move global options that stand before the command behind it, where the command reads them."""
    at = 0
    while at < len(tokens):
        word = tokens[at]
        name, equals, _ = word.partition("=")
        if word in _TAKES_NONE or (equals and name in _TAKES_VALUE):
            at += 1
        elif word in _TAKES_VALUE and at + 1 < len(tokens):
            at += 2
        else:
            break
    moved, rest = list(tokens[:at]), list(tokens[at:])
    end = rest.index("--") if "--" in rest else len(rest)
    return [*rest[:end], *moved, *rest[end:]]
