"""How the tests of the Norman client open what they need, and what they say to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Unpack

from tests.rest.rest_opening import QUICK
from trio_norman import ConnectionSettings, InvocationConfig, Norman, RetryPolicy, StallLimit
from trio_norman.emulator import Emulator, EmulatorOptions, LoggedRequest, open_emulator
from trio_norman.testing import open_memory_emulator

#: A peer may be silent for half a second: for tests on real sockets.
SHORT = StallLimit(seconds=0.5)


@asynccontextmanager
async def open_in_memory(
    retry: RetryPolicy | None = None, **options: Unpack[EmulatorOptions]
) -> AsyncIterator[tuple[Emulator, Norman]]:
    """Open an emulator without sockets and a client of it, for tests under the autojump clock."""
    async with open_memory_emulator(**options) as (emulator, transport):
        connection = ConnectionSettings(transport=transport)
        key, url = emulator.norman_api_key, emulator.norman_base_url
        async with Norman(key, url, connection=connection, retry=retry) as norman:
            yield emulator, norman


@asynccontextmanager
async def open_on_sockets(
    retry: RetryPolicy = QUICK, stall: StallLimit = SHORT, **more: Any
) -> AsyncIterator[tuple[Emulator, Norman]]:
    """Open an emulator on real sockets and a client of it that gives up soon."""
    async with open_emulator(runs=0) as emulator:
        async with Norman(
            emulator.norman_api_key, emulator.norman_base_url, retry=retry, stall=stall, **more
        ) as norman:
            yield emulator, norman


def asked(emulator: Emulator, path: str = "") -> list[LoggedRequest]:
    """Give the requests to the API whose path holds `path`."""
    return [request for request in emulator.requests.of("norman") if path in request.path]


def body_of(request: LoggedRequest) -> Any:
    """Give what a request said."""
    return json.loads(request.body) if request.body else None


async def answer(norman: Norman, config: InvocationConfig | Mapping[str, Any], **more: Any) -> bytes:
    """Invoke a model and return the bytes of its only output."""
    (output,) = (await norman.invoke(config, **more)).values()
    assert isinstance(output, bytearray)
    return bytes(output)


def echo(data: object, **more: object) -> dict[str, Any]:
    """Say that the model which answers with its input is to be given some data."""
    return {"model_name": "echo", "inputs": [{"display_title": "Input", "data": data, **more}]}


def signature(title: str, **more: object) -> dict[str, Any]:
    """Describe one input or output of a model."""
    parameters = [{"parameter_name": "value", "data_encoding": "utf8"}]
    facts = {"display_title": title, "data_domain": "prose", "data_encoding": "utf8", "receive_format": "File"}
    return {**facts, "parameters": parameters, **more}


def model(assets: Mapping[str, object], inputs: Sequence[Mapping[str, Any]] = (), **more: object) -> dict[str, Any]:
    """Describe a model with some assets."""
    return {
        "name": "shouter",
        "version_label": "v1",
        "model_class": "text",
        "short_description": "Shouts.",
        "long_description": "Answers as it was spoken to.",
        "assets": [{"asset_name": name, "data": data} for name, data in assets.items()],
        "inputs": list(inputs) or [signature("Words")],
        "outputs": [signature("Answer")],
        **more,
    }
