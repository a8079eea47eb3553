"""The emulator with endpoints to be measured: ``_endpoints.py``.

It prints one JSON object that says where it is, and serves until its standard input ends. ``bench-async`` takes the
seconds that it is given, and answers with the moment at which it was done, on a clock that all processes share.
"""

import json
import resource
import sys
import time
from collections.abc import AsyncIterator

import trio

from trio_norman.emulator import open_emulator


async def events(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await trio.sleep(0.01)
        yield number


async def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    async with open_emulator(runs=0) as emulator:
        emulator.requests.keep = 1000

        def polls(_: object) -> float:
            tasks = emulator.launch.tasks.values()
            return sum(task.polls for task in tasks) / max(1, len(tasks))

        emulator.register_endpoint("bench-async", "async", lambda _: time.monotonic(), delay=lambda seconds: seconds)
        emulator.register_endpoint("bench-stream", "streaming", events)
        emulator.register_endpoint("bench-polls", "sync", polls)
        print(json.dumps({"base_url": emulator.launch_base_url, "api_key": emulator.api_key}), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    trio.run(main)
