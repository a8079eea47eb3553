"""Just enough of the Norman service to be pushed to at full speed: ``_push_service.py RATE [OUTPUT]``.

What is pushed is thrown away unread by the kernel itself (``MSG_TRUNC``), as fast as it comes or at RATE bytes a second
for each connection. Every output has OUTPUT bytes. It prints its base URL and serves until its standard input ends.
"""

import base64
import json
import os
import re
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACCOUNT = {"id": "1", "creation_time": "2026-01-01T00:00:00Z", "name": "bench"}
_PIECE = 256 * 1024
_ZEROS = bytes(_PIECE)


def entry(id_: int, title: str) -> dict[str, str]:
    facts = {"account_id": "1", "model_id": "2", "signature_id": str(id_ + 100), "invocation_id": "3"}
    return {"id": str(id_), **facts, "display_title": title}


def invocation(inputs: int) -> dict[str, Any]:
    return {
        "id": "3",
        "account_id": "1",
        "model_id": "2",
        "creation_time": "2026-01-01T00:00:00Z",
        "inputs": [entry(index + 10, f"Input {index}") for index in range(inputs)],
        "outputs": [entry(90, "Output")],
    }


def finished(entities: list[str]) -> dict[str, Any]:
    facts = {"id": "5", "account_id": "1", "flag_name": "Model_Function_Run", "flag_value": 3}
    return {entity: [{**facts, "entity_id": entity}] for entity in entities}


class Service(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
    push_port = output_bytes = 0

    def log_message(self, *_: object) -> None: ...

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = json.dumps(self._answer(json.loads(body) if body else None)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        left = self.output_bytes
        self.send_response(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        while left:
            left -= self.wfile.write(_ZEROS[:left])

    def _answer(self, said: Any) -> Any:
        path = self.path.removeprefix("/v0/")
        if path == "authenticate/login/key":
            return {"account": ACCOUNT, "access_token": "t"}
        if path == "persist/models/get":
            return {}
        if path == "persist/invocations/by-name":
            return [invocation(int(name)) for name in said]  # a model is called as many inputs as it has
        if path == "persist/flags/get":
            return finished(said["filter"]["children"][0]["value"])
        if re.match("file-push/socket/pair", path):
            keys = {"encryption_key": 32, "nonce": 12, "authentication_header": 16}
            secrets = {name: base64.b64encode(os.urandom(length)).decode() for name, length in keys.items()}
            return {"pairing_id": "7", "host": "127.0.0.1", "port": self.push_port, **secrets}
        return None


def swallow(connection: socket.socket, rate: float) -> None:
    began, taken = time.monotonic(), 0
    with connection:
        while count := len(connection.recv(_PIECE, socket.MSG_TRUNC)):
            taken += count
            if rate:
                time.sleep(max(0.0, began + taken / rate - time.monotonic()))


def take(listener: socket.socket, rate: float) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=swallow, args=(connection, rate), daemon=True).start()


def main() -> None:
    rate, Service.output_bytes = float(sys.argv[1]), int((sys.argv[2:] or ["0"])[0])
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    if rate:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    Service.push_port = listener.getsockname()[1]
    threading.Thread(target=take, args=(listener, rate), daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}/v0", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
