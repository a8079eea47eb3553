"""The emulated Norman service with models that take some seconds: ``_emulating_norman.py SECONDS``.

It prints one JSON object that says where it is, and serves until its standard input ends.
"""

import json
import sys

import trio

from trio_norman.emulator import open_emulator


async def main() -> None:
    async with open_emulator(runs=0) as emulator:
        emulator.norman.invocations.seconds = float(sys.argv[1])
        print(json.dumps({"url": emulator.norman_base_url, "key": emulator.norman_api_key}), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    trio.run(main)
