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
    norman_port: Port = 0,
    push_port: Port = 0,
    runs: Count = 2,
    checkpoints: Count = 12,
    size: Size = 64 * 2**20,
    seed: int = 0,
    actor: bool = False,
) -> int:
    """Serve an emulator of the services on 127.0.0.1, until Ctrl-C or SIGTERM.

    The first line on stdout is one JSON object: base_url, storage_url and api_key of the training service;
    launch_base_url of the inference endpoints, which have the same key; norman_base_url and norman_api_key of the
    Norman service; and version. The endpoints echo-sync, echo-async and echo-stream answer with their arguments.
    Contents of checkpoints are made while they are read: no size needs a disk.

    Args:
        port: Port of the API; 0 is any.
        storage_port: Port of the storage; 0 is any.
        norman_port: Port of the Norman API; 0 is any.
        push_port: Port that takes the Norman service's pushes; 0 is any.
        runs: How many training runs there are.
        checkpoints: How many checkpoints each run has.
        size: Length of each archive.
        seed: All ids and contents follow from it.
        actor: Each run's last checkpoint has not reached the storage yet: in the dialect v1 it is to be had from an
            actor, a server with a certificate of its own.
    """
    from ..emulator import open_emulator  # belongs to an extra, and takes its time

    silence_server()
    try:
        async with open_emulator(
            runs=runs,
            checkpoints=checkpoints,
            size_bytes=size,
            seed=seed,
            port=port,
            storage_port=storage_port,
            norman_port=norman_port,
            push_port=push_port,
            actor=actor,
        ) as emulator:
            for run in emulator.training_runs if actor and checkpoints else ():
                emulator.place(emulator.state.checkpoints_of(run.training_run_id)[-1].checkpoint_id, "LOCAL")
            facts = {
                "base_url": emulator.base_url,
                "storage_url": emulator.storage_url,
                "launch_base_url": emulator.launch_base_url,
                "api_key": emulator.api_key,
                "norman_base_url": emulator.norman_base_url,
                "norman_api_key": emulator.norman_api_key,
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
