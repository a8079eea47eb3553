"""The Norman protocol by hand: plain httpx, plain ChaCha20, and nothing of ours."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import attrs
import httpx
import trio
import xxhash
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from trio_norman.emulator import Emulator

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]


def encrypted(pairing: dict[str, Any], body: bytes) -> bytes:
    key, nonce, header = (
        base64.b64decode(pairing[name]) for name in ("encryption_key", "nonce", "authentication_header")
    )
    return Cipher(ChaCha20(key, bytes(4) + nonce), mode=None).encryptor().update(header + body)


def checksum(body: bytes) -> str:
    return xxhash.xxh3_64_hexdigest(body)


def includes(column: str, values: Iterable[str], table: str = "Status_Flags") -> dict[str, Any]:
    node = {"table": table, "column": column, "operator": "IN", "value": list(values)}
    return {"filter": {"children": [node], "join_condition": "OR"}, "sort": None, "page": None}


def signature(kind: str, title: str, **changes: Any) -> dict[str, Any]:
    parameter = {"data_modality": "Text", "data_encoding": "utf8", "parameter_name": "x"}
    made = parameter | {
        "signature_type": kind,
        "data_domain": "any",
        "receive_format": "File",
        "http_location": "Body",
        "hidden": False,
        "display_title": title,
        "default_value": None,
        "parameters": [parameter],
    }
    return made | changes


def model(account_id: str, name: str, **changes: Any) -> dict[str, Any]:
    made = {
        "id": "0",
        "account_id": account_id,
        "version_label": "v1.0",
        "short_description": "short",
        "long_description": "long",
        "name": name,
        "model_class": "text",
        "url": "",
        "request_type": "Post",
        "model_type": "Pytorch_jit",
        "hosting_location": "Internal",
        "output_format": "Json",
        "inputs": [signature("Input", "In")],
        "outputs": [signature("Output", "Out")],
        "assets": [{"id": "0", "account_id": account_id, "model_id": "0", "asset_name": "File"}],
        "user_added_tags": [{"name": "demo"}],
    }
    return made | changes


@attrs.define(eq=False)
class Plain:
    """A client by hand."""

    http: httpx.AsyncClient
    connect: Connect
    account_id: str = ""

    async def log_in(self, key: str) -> dict[str, Any]:
        answer = await self.call("POST", "authenticate/login/key", {"api_key": key})
        self.account_id = answer["account"]["id"]
        self.http.headers["Authorization"] = f"Bearer {answer['access_token']}"
        return dict(answer)

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return (
            await self.http.request(method, path, json=body)
            if body is not None
            else await self.http.request(method, path, headers={"content-type": "application/json"})
        )

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.ask(method, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def pair(self, entry: dict[str, Any], size: int) -> dict[str, Any]:
        shared = {name: entry[name] for name in ("account_id", "model_id")} | {"file_size_in_bytes": size}
        if "asset_name" in entry:
            return dict(await self.call("POST", "file-push/socket/pair/asset", shared | {"asset_id": entry["id"]}))
        more = {"invocation_id": entry["invocation_id"], "input_id": entry["id"]}
        return dict(await self.call("POST", "file-push/socket/pair/input", shared | more))

    async def send(self, pairing: dict[str, Any], pieces: Sequence[bytes]) -> None:
        async with await self.connect(pairing["host"], pairing["port"]) as stream:
            for piece in pieces:
                await stream.send_all(piece)

    async def complete(self, pairing: dict[str, Any], digest: str) -> httpx.Response:
        body = {"pairing_id": pairing["pairing_id"], "checksum": digest}
        return await self.ask("POST", "file-push/socket/complete", body)

    async def push(self, entry: dict[str, Any], body: bytes) -> None:
        pairing = await self.pair(entry, len(body))
        await self.send(pairing, [encrypted(pairing, body)])
        answer = await self.complete(pairing, checksum(body))
        assert answer.json() is None, answer.text

    async def flags(self, *entity_ids: str) -> dict[str, list[int]]:
        shown = await self.call("POST", "persist/flags/get", includes("Entity_ID", entity_ids))
        return {entity: [flag["flag_value"] for flag in flags] for entity, flags in shown.items()}

    async def invocation(self, name: str) -> dict[str, Any]:
        return dict((await self.call("POST", "persist/invocations/by-name", {name: 1}))[0])

    async def retrieve(self, invocation: dict[str, Any], **headers: str) -> httpx.Response:
        return await self.http.get(output_path(invocation), headers=headers)

    async def wait_finished(self, *entity_ids: str) -> None:
        while any(value != 3 for values in (await self.flags(*entity_ids)).values() for value in values):  # noqa: ASYNC110 (flags are polled)
            await trio.sleep(0.01)


def output_path(invocation: dict[str, Any], position: int = 0) -> str:
    parts = [invocation["account_id"], invocation["model_id"], invocation["id"], invocation["outputs"][position]["id"]]
    return "retrieve/output/" + "/".join(parts)


def plain_client(emulator: Emulator, connect: Connect, transport: httpx.AsyncBaseTransport | None = None) -> Plain:
    return Plain(httpx.AsyncClient(transport=transport, base_url=emulator.norman_base_url, timeout=20), connect)
