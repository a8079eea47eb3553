"""``signup``, ``models`` and ``invoke``: the Norman service from a shell."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import trio
from cyclopts import Parameter
from cyclopts.validators import Number

from .. import Norman, OpenInvocation
from .._sansio.redaction import Secret, printable
from ..errors import ConfigurationError, DestinationExistsError, LocalFileError
from ..norman import InputSource
from ..norman._configs import with_paths_from
from ..norman._resolving import is_link
from ..transfer import DownloadResult
from ._board import Board
from ._exits import Exit
from ._norman_options import NORMAN, NormanFlags, Uploading, advised_for_a_shell, read_model_file
from ._nouns import write_list, write_thing
from ._options import OUTPUT, OutputFlags, Positive
from ._output import say
from ._progress import open_display
from ._views import Column

Seconds = Annotated[float, Parameter(validator=Number(gt=0), show_default=True)]
_SHOWN = 64 * 1024  # bytes of an output that are written to stdout

_MODELS = (
    Column("MODEL", lambda model: model.id, 38),
    Column("STATUS", lambda model: model.build_status, 10),
    Column("VERSION", lambda model: model.version_label, 10),
    Column("CREATED", lambda model: model.creation_time, 20),
    Column("NAME", lambda model: model.name),
)


async def signup(
    name: str,
    /,
    *,
    save_key: Path | None = None,
    service: NormanFlags = NORMAN,
    output: OutputFlags = OUTPUT,
) -> int:
    """Make an account at the Norman service. Its key is written once, to stdout or a file, and cannot be had again.

    Args:
        name: Name of the account; names are unique.
        save_key: New file for the key, which only you may read; the key is then not written to stdout.
    """
    if save_key is not None:
        await trio.to_thread.run_sync(_refuse_existing, save_key)
    with advised_for_a_shell():
        made = await Norman.signup(name, service.base_url, connection=service.connection)
    facts: dict[str, object] = {"account_id": made.account.id, "name": made.account.name}
    if save_key is None:
        facts["api_key"] = made.api_key.reveal()
    else:
        await trio.to_thread.run_sync(_write_key, save_key, made.api_key)
        facts["api_key_file"] = str(save_key)
    await write_thing(facts, as_json=output.json)
    return Exit.OK


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise DestinationExistsError(path.name)


def _write_key(path: Path, key: Secret) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:
            file.write(key.reveal() + "\n")
    except OSError as error:
        # The account exists, and the key cannot be had again: better on the screen than nowhere.
        say(f"the key could not be saved, keep it yourself: {key.reveal()}")
        raise LocalFileError(path.name, error.strerror or "") from error


async def upload_model(
    config: Path,
    /,
    *,
    jobs: Positive = 8,
    max_seconds: Seconds = 1800.0,
    service: NormanFlags = NORMAN,
    output: OutputFlags = OUTPUT,
) -> int:
    """Upload a model with its assets, and wait until it is built.

    Args:
        config: TOML or JSON file that describes the model; paths in it are seen from where it lies.
        jobs: Assets that are sent at the same time.
        max_seconds: Longest wait for the build.
    """
    given = await trio.to_thread.run_sync(read_model_file, config)
    board = Board(is_listed=False)
    async with service.open(max_uploads=jobs) as norman, open_display(board, quiet=output.quiet):
        wanted = with_paths_from(config.parent, given)
        model = await norman.upload_model(wanted, max_seconds=max_seconds, on_upload=Uploading(board).note)
    facts = model.to_dict() if output.json else {"model_id": model.id, "name": model.name, **_assets_of(model)}
    await write_thing(facts, as_json=output.json)
    return Exit.OK


def _assets_of(model: Any) -> Mapping[str, str]:
    return {f"asset {asset.asset_name}": asset.id for asset in model.assets}


async def list_models(
    *, limit: Positive | None = None, service: NormanFlags = NORMAN, output: OutputFlags = OUTPUT
) -> int:
    """List the models that the account sees, newest first.

    Args:
        limit: Stop after so many.
    """
    async with service.open() as norman:
        found = await norman.persist.models.get_models()

        async def newest_first() -> AsyncGenerator[Any, None]:
            for model in sorted(found.values(), key=lambda model: (len(model.id), model.id), reverse=True):
                yield model

        await write_list(newest_first(), _MODELS, limit=limit, as_json=output.json)
    return Exit.OK


async def invoke(
    model: str,
    /,
    *,
    input_: Annotated[Sequence[str], Parameter(name="--input", metavar="TITLE=@FILE|TEXT|URL")] = (),
    output_: Annotated[Sequence[str], Parameter(name="--output", metavar="TITLE=PATH")] = (),
    force: bool = False,
    max_seconds: Seconds = 1800.0,
    service: NormanFlags = NORMAN,
    output: OutputFlags = OUTPUT,
) -> int:
    """Run a model with some inputs and save its outputs; those without a path are written to stdout.

    Args:
        model: Its name.
        input_: Data of the input of that title: a file behind an @ (@- is stdin), an http(s) URL that the service
            fetches, or a text. May be repeated.
        output_: Where the output of that title is saved. May be repeated.
        force: Replace files that are there already, at the very end; without it nothing is run.
        max_seconds: Longest wait for the outputs.
    """
    inputs = [_input(word) for word in input_]
    paths = {title: Path(path) for title, path in map(_titled, output_)}
    if not force:
        for path in paths.values():
            await trio.to_thread.run_sync(_refuse_existing, path)
    config = {
        "model_name": model,
        "inputs": inputs,
        "outputs": [{"display_title": title} for title in paths],
    }
    board = Board(is_listed=False)
    async with service.open() as norman:
        async with open_display(board, quiet=output.quiet):
            opening = norman.open_invocation(config, max_seconds=max_seconds, on_upload=Uploading(board).note)
            async with opening as invocation:
                taken = {title: await _taken(invocation, title, paths.get(title)) for title in invocation.outputs}
    facts: dict[str, object] = {"invocation_id": invocation.invocation.id}
    facts |= {"outputs": taken} if output.json else {title: _line(each) for title, each in taken.items()}
    await write_thing(facts, as_json=output.json)
    return Exit.OK


def _titled(word: str) -> tuple[str, str]:
    title, equals, value = word.partition("=")
    if not equals or not title or not value:
        raise ConfigurationError(f"{word!r} is no TITLE=VALUE", "write --input 'Title=text' or --output 'Title=path'")
    return title, value


def _input(word: str) -> Mapping[str, Any]:
    title, value = _titled(word)
    if value == "@-":
        return {"display_title": title, "data": open(0, "rb", closefd=False), "source": InputSource.STREAM}
    if value.startswith("@"):
        return {"display_title": title, "data": Path(value[1:]), "source": InputSource.FILE}
    source = InputSource.LINK if is_link(value) else InputSource.PRIMITIVE
    return {"display_title": title, "data": value, "source": source}


async def _taken(invocation: OpenInvocation, title: str, path: Path | None) -> Mapping[str, object]:
    if path is not None:
        saved: DownloadResult = await invocation.outputs[title].save(path, existing="overwrite")
        return {"path": str(saved.path), "size_bytes": saved.size_bytes, "sha256": saved.sha256}
    data = bytes(await invocation.read(title))
    with suppress(UnicodeDecodeError):
        return {"text": data.decode(), "size_bytes": len(data)}
    return {"base64": base64.b64encode(data).decode(), "size_bytes": len(data)}


def _line(taken: Mapping[str, object]) -> str:
    if "path" in taken:
        return f"{taken['size_bytes']} bytes in {taken['path']}"
    if "text" in taken:
        return printable(str(taken["text"]), at_most=_SHOWN)
    return f"{taken['size_bytes']} bytes that are no text; --output saves them"
