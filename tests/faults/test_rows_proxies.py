"""Proxies, which come only through a user's own transport: rows C-10 and C-11."""

from __future__ import annotations

import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio

from tests.faults.peers import open_peer, receive_head, saying
from tests.faults.rows import MiB, Row
from trio_norman import ConnectionSettings, StallLimit, errors

TARGET = "https://storage.test/f"


@asynccontextmanager
async def through(row: Row, root: str) -> AsyncIterator[ConnectionSettings]:
    """Go through a proxy at `root`, with a user and a password that must show nowhere."""
    password = row.secret("password")
    row.canaries.add("the proxy's login", base64.b64encode(f"user:{password}".encode()).decode())
    async with httpx.AsyncHTTPTransport(proxy=httpx.Proxy(root, auth=("user", password))) as transport:
        yield ConnectionSettings(transport=transport)


async def test_C_10_the_proxy_is_down(row: Row) -> None:
    """ProxyError when the attempts are used up, not ConnectError: the target is another place. D0."""
    with socket.socket() as bound:  # but not listening
        bound.bind(("127.0.0.1", 0))
        async with through(row, f"http://127.0.0.1:{bound.getsockname()[1]}") as connection:
            attempt = await row.download_url(TARGET, connection=connection)
    error = row.expect_error(attempt, errors.ProxyError, disk="D0", requests=5)
    assert error.attempts == 5


@pytest.mark.parametrize(
    ("status", "times"), [("502 Bad Gateway", 5), ("503 Down", 5), ("504 Too Late", 5), ("407 Login", 1)]
)
@pytest.mark.rows("C-11")
async def test_C_10_the_proxy_refuses(row: Row, status: str, times: int) -> None:
    """ProxyError, at once if it wants a login, else when the attempts are used up. D0."""
    async with open_peer(saying(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())) as proxy:
        async with through(row, proxy.root) as connection:
            attempt = await row.download_url(TARGET, connection=connection)
            error = row.expect_error(attempt, errors.ProxyError, disk="D0", requests=times)
    assert (error.attempts, proxy.connections) == (times, times)
    assert status.split()[0] in error.reason


async def test_C_10_the_proxy_wants_a_login_for_plain_http(row: Row) -> None:
    """ProxyError at once: only a proxy answers 407. D0."""
    async with open_peer(saying(b"HTTP/1.1 407 Login\r\nContent-Length: 0\r\n\r\n")) as proxy:
        async with through(row, proxy.root) as connection:
            attempt = await row.download_url("http://127.0.0.1:9/f", connection=connection)
            row.expect_error(attempt, errors.ProxyError, disk="D0", requests=1)
    assert proxy.connections == 1


async def test_C_11_the_proxy_cannot_reach_the_target(row: Row) -> None:
    """ProxyError when the attempts are used up: it opens the tunnel, and the tunnel ends at once. D0."""

    async def behave(stream: trio.SocketStream, number: int) -> None:
        await receive_head(stream)
        await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async with open_peer(behave) as proxy:
        async with through(row, proxy.root) as connection:
            attempt = await row.download_url(TARGET, connection=connection)
            error = row.expect_error(attempt, errors.ProxyError, disk="D0")
    assert error.attempts == proxy.connections == 5


async def test_C_10_a_proxy_that_works(row: Row) -> None:
    """Success; the proxy is told the password, and the target is not. D2."""
    logins: list[bytes] = []

    async def behave(stream: trio.SocketStream, number: int) -> None:
        head = await receive_head(stream)
        first, *lines = head.split(b"\r\n")
        root, _, path = first.removeprefix(b"GET http://").partition(b"/")
        logins.extend(line for line in lines if line.lower().startswith(b"proxy-authorization:"))
        kept = [line for line in lines if not line.lower().startswith(b"proxy-")]
        host, _, port = root.partition(b":")
        async with await trio.open_tcp_stream(host.decode(), int(port)) as upstream:
            await upstream.send_all(b"\r\n".join([b"GET /" + path, b"Connection: close", *kept]))
            async for piece in upstream:
                await stream.send_all(piece)

    async with open_peer(behave) as proxy:
        async with through(row, proxy.root) as connection:
            both: Any = {"max_connections": 2, "stall": StallLimit()}  # one connection is the proxy's
            attempt = await row.download("", 3 * MiB, connection=connection, **both)
            row.expect(attempt, disk="D2", requests=1 + 1)
    assert len(logins) == proxy.connections == 1
    assert not any("authorization" in name for request in attempt.requests for name in request.headers)
