"""One measurement of pushes: ``_pushing.py cipher SIZE | push URL FILE | parallel URL FILE UPLOADS | save URL FILE |
invoke URL KEY COUNT``. It prints seconds.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from trio_norman import Norman, StallLimit

_BLOCK = 2**20
_PARALLEL = 16


def cipher(size: int) -> float:
    """Encrypt in one buffer that stays in the processor's cache: the most that the library gives."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    stream = Cipher(algorithms.ChaCha20(bytes(range(32)), bytes(16)), mode=None).encryptor()
    plain, room = bytes(_BLOCK), bytearray(_BLOCK)
    began = time.perf_counter()
    for _ in range(size // _BLOCK):
        stream.update_into(plain, room)
    return time.perf_counter() - began


def config_of(inputs: Mapping[str, object], model: str = "") -> dict[str, Any]:
    given = [{"display_title": title, "data": data} for title, data in inputs.items()]
    return {"model_name": model or str(len(given)), "inputs": given}


async def push(url: str, inputs: Mapping[str, object], uploads: int) -> float:
    async with Norman("key", url, max_uploads=uploads, stall=StallLimit(seconds=60)) as norman:
        await norman.get_account()
        began = time.perf_counter()
        async with norman.open_invocation(config_of(inputs)):
            return time.perf_counter() - began
    raise AssertionError("returned above")


async def save(url: str, file: str) -> float:
    async with Norman("key", url) as norman:
        began = time.perf_counter()
        output = norman.retrieve.get_invocation_output(None, "1", "2", "3", "90")
        await output.save(file, verify=False, durable=False)
        return time.perf_counter() - began
    raise AssertionError("returned above")


async def invoke(url: str, key: str, count: int) -> list[float]:
    seconds = []
    async with Norman(key, url) as norman:
        await norman.get_account()
        for _ in range(count):
            began = time.perf_counter()
            await norman.invoke(config_of({"Input": b"x" * 1000}, "echo"))
            seconds.append(time.perf_counter() - began)
    return seconds


def main() -> None:
    match sys.argv[1:]:
        case ["cipher", size]:
            print(cipher(int(size)))
        case ["push", url, file]:
            print(trio.run(push, url, {"Input 0": Path(file)}, 1))
        case ["parallel", url, file, uploads]:
            inputs = {f"Input {index}": Path(file) for index in range(_PARALLEL)}
            print(trio.run(push, url, inputs, int(uploads)))
        case ["save", url, file]:
            print(trio.run(save, url, file))
        case ["invoke", url, key, count]:
            print(*trio.run(invoke, url, key, int(count)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
