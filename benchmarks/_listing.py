"""List all checkpoints and skip them, for they are here: ``_listing.py BASE_URL API_KEY DIRECTORY``.

It prints how many were skipped, and how many were not.
"""

import sys

import trio

from trio_norman import Outcome, ServiceClient


async def main() -> None:
    base_url, api_key, directory = sys.argv[1:]
    skipped = others = 0
    async with ServiceClient(api_key, base_url).create_rest_client() as rest:
        listed = rest.iter_user_checkpoints(limit=200)
        async with rest.download_checkpoints(listed, directory, existing="keep") as results:
            async for result in results:
                skipped += result.outcome is Outcome.SKIPPED
                others += result.outcome is not Outcome.SKIPPED
    print(skipped, others)


if __name__ == "__main__":
    trio.run(main)
