"""Make asynchronous predictions and wait for each: ``-m benchmarks._asking HOW BASE_URL API_KEY COUNT``.

HOW is ``polling``, ``callbacks`` or ``streams``. It prints one JSON object: how long after each task's end its answer
was here, in seconds, the polls a task, and the CPU seconds of all this without the start-up.
"""

import json
import resource
import sys
import time

import trio

from trio_norman import CallbackReceiver, EndpointRequest, EndpointResponse, LaunchClient

from ._durations import IN_FLIGHT, seconds, told

EVENTS = 100


async def ask_many(client: LaunchClient, count: int) -> dict[str, float]:
    delays, began = [], time.process_time()
    endpoint = await client.get_model_endpoint("bench-async")
    async with endpoint.predict_many((EndpointRequest(args=each) for each in seconds(count)), IN_FLIGHT) as answers:
        async for _, outcome in answers:
            now = time.monotonic()
            assert isinstance(outcome, EndpointResponse), outcome
            delays.append(now - outcome.value)
    counter = await client.get_model_endpoint("bench-polls")
    async with counter.predict_many([EndpointRequest(args={})], 1) as answers:
        polls = [outcome.value async for _, outcome in answers if isinstance(outcome, EndpointResponse)]
    return told(delays, polls[0], began)


async def read_streams(client: LaunchClient, count: int) -> dict[str, float]:
    endpoint = await client.get_model_endpoint("bench-stream")
    right = 0
    requests = (EndpointRequest(args=EVENTS) for _ in range(count))
    async with endpoint.predict_many(requests, count) as answers:
        async for _, outcome in answers:
            assert isinstance(outcome, tuple), outcome
            right += [response.value for response in outcome] == list(range(EVENTS))
    return {"count": count, "right": right}


async def main() -> None:
    how, base_url, api_key, count = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    receiver = CallbackReceiver() if how == "callbacks" else None
    async with LaunchClient(api_key, base_url, callback_receiver=receiver) as client:
        figures = await (read_streams if how == "streams" else ask_many)(client, int(count))
    print(json.dumps(figures))


if __name__ == "__main__":
    trio.run(main)
