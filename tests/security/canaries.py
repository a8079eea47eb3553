"""Whether a secret, or any piece of it, stands in what somebody could read."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path

import pytest

import trio_norman
from tests.faults.secrecy import Canaries, everything_about
from trio_norman.emulator import Emulator

_OURS = str(Path(trio_norman.__file__).parent)


def signatures_of(emulator: Emulator) -> set[str]:
    """Give the signature of every URL that the storage was asked for."""
    fields = (field for request in emulator.requests.of("storage", "other") for field in request.query.split("&"))
    return {field.partition("=")[2] for field in fields if field.startswith("q-signature=")}


def found_in(text: str, secrets: Iterable[str]) -> list[str]:
    """Say which secrets a text holds, whole or in pieces, plain or encoded."""
    canaries = Canaries()
    for number, secret in enumerate(secrets):
        canaries.add(f"secret {number}", secret)
    return canaries.found_in((f"line {number}: {line[:60]}", line) for number, line in enumerate(text.splitlines()))


def all_that_shows(error: BaseException, *, frames_of: str = _OURS) -> str:
    """Give what a program may print of an error, with every local variable of every frame of the package's own."""
    shown = [everything_about(error, with_arguments=True)]
    pending: list[BaseException | None] = [error]
    while pending:
        link = pending.pop()
        if link is not None:
            summary = traceback.TracebackException.from_exception(link, capture_locals=True)
            shown += [f"{each.name} {each.locals}" for each in summary.stack if each.filename.startswith(frames_of)]
            pending += [link.__cause__, link.__context__ if link.__cause__ is None else None]
    return "\n".join(shown)


def assert_it_would_be_found(secret: str) -> None:
    """Show that the search finds what it looks for; a search that cannot fail proves nothing."""

    def leaky(given: str) -> None:
        hidden = given.upper()
        raise ValueError(len(hidden))

    with pytest.raises(ValueError, match=r"\d") as caught:
        leaky(secret)
    assert found_in(all_that_shows(caught.value, frames_of=__file__), [secret])
    assert not found_in(all_that_shows(caught.value), [secret])
