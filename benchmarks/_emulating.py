"""The emulator with so many checkpoints, all of them downloaded: ``_emulating.py COUNT DIRECTORY``.

It makes an empty file for each checkpoint, prints one JSON object that says where it is, and serves until its standard
input ends.
"""

import json
import sys
from pathlib import Path

import trio

from trio_norman.emulator import open_emulator


async def main() -> None:
    count, directory = int(sys.argv[1]), Path(sys.argv[2])
    async with open_emulator(runs=1, checkpoints=count, size_bytes=1024) as emulator:
        for checkpoint in emulator.checkpoints:
            (directory / f"{checkpoint.name}-{checkpoint.checkpoint_id}.zip").touch()
        print(json.dumps({"base_url": emulator.base_url, "api_key": emulator.api_key}), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    trio.run(main)
