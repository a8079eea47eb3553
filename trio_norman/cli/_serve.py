"""``serve``: the emulator, for programs that need a service to talk to."""

from __future__ import annotations

import logging
import sys

import trio

from .._version import __version__
from ..errors import ConfigurationError
from ._options import Count, Port, Size
from ._output import is_terminal, json_text, say, write_out


async def serve(
    *,
    port: Port = 0,
    storage_port: Port = 0,
    runs: Count = 2,
    checkpoints: Count = 12,
    size: Size = 64 * 2**20,
    seed: int = 0,
) -> int:
    """Serve an emulator of the training service and its storage on 127.0.0.1, until Ctrl-C or SIGTERM.

    The first line on stdout is one JSON object with base_url, storage_url, api_key and version. Contents are made while
    they are read: no size needs a disk.

    Args:
        port: Port of the API; 0 is any.
        storage_port: Port of the storage; 0 is any.
        runs: How many training runs there are.
        checkpoints: How many checkpoints each run has.
        size: Length of each archive.
        seed: All ids and contents follow from it.
    """
    from ..emulator import open_emulator  # belongs to an extra, and takes its time

    silence_server()
    try:
        async with open_emulator(
            runs=runs, checkpoints=checkpoints, size_bytes=size, seed=seed, port=port, storage_port=storage_port
        ) as emulator:
            facts = {
                "base_url": emulator.base_url,
                "storage_url": emulator.storage_url,
                "api_key": emulator.api_key,
                "version": __version__,
            }
            await write_out(f"{json_text(facts)}\n")
            if is_terminal(sys.stderr):
                say(f"export TRIO_NORMAN_BASE_URL={emulator.base_url} TRIO_NORMAN_API_KEY={emulator.api_key}")
                say("serving until Ctrl-C")
            await trio.sleep_forever()
    except OSError as error:
        raise ConfigurationError(f"no port to be had: {error.strerror or error}", "choose another --port") from error


def silence_server() -> None:
    """Keep the emulator's log, about clients that go away for example, off the screen."""
    logging.getLogger("trio_norman.emulator").addHandler(logging.NullHandler())
