"""Predictions as blocking clients make them: ``-m benchmarks._asking_by_threads BASE_URL API_KEY COUNT``.

One thread a wait, a poll every two seconds, a look-up before each prediction and a new connection for each call: so
does the service's own client. It prints what ``_asking`` prints.

A call costs 1.0 ms of CPU here. The newest official client that the package index has (scale-launch 0.3.3, which uses
requests too, and does without the look-up) took 3.0 ms for a POST and two polls on the same machine: as much.
"""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests  # type: ignore[import-untyped, import-not-found, unused-ignore]

from ._durations import IN_FLIGHT, seconds, told

_POLL_SECONDS = 2.0


class Service:
    def __init__(self, base_url: str, api_key: str) -> None:
        self.base_url, self.auth = base_url, (api_key, "")
        self.polls = 0
        self.lock = threading.Lock()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, f"{self.base_url}{path}", json=body, auth=self.auth, timeout=120)
        answer.raise_for_status()
        return answer.json()

    def predict(self, takes: float) -> float:
        """Do one prediction, look-up included, and return the delay of its answer."""
        found = self.call("GET", "/v1/model-endpoints?name=bench-async")["model_endpoints"][0]["id"]
        made = self.call("POST", f"/v1/async-tasks?model_endpoint_id={found}", {"args": takes, "return_pickled": False})
        while True:
            answer = self.call("GET", f"/v1/async-tasks/{made['task_id']}")
            with self.lock:
                self.polls += 1
            if answer["status"] in ("SUCCESS", "FAILURE"):
                return time.monotonic() - float(json.loads(answer["result"]["result"]))
            time.sleep(_POLL_SECONDS)


def main() -> None:
    base_url, api_key, count = sys.argv[1:]
    service = Service(base_url, api_key)
    began = time.process_time()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        delays = list(pool.map(service.predict, seconds(int(count))))
    print(json.dumps(told(delays, service.polls / len(delays), began)))


if __name__ == "__main__":
    main()
