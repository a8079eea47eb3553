"""The client for bodies: TLS with a private authority, redirects by our rules, and nothing secret in what it shows."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
import trustme

from tests.wire.test_transport_peer import answering_once, serving
from trio_norman import ConnectionSettings, RetryPolicy, Secret, Source, download_many, errors
from trio_norman._wire._asking import Asker
from trio_norman._wire._fetching import Fetcher, open_fetcher
from trio_norman._wire._keys import KeyForOneOrigin
from trio_norman.emulator import Emulator, open_emulator


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def serving_tls(authority: trustme.CA, name: str, answer: bytes) -> AsyncIterator[str]:
    """Serve one answer to whoever asks over TLS; give the root of its URLs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)

    async def serve(stream: trio.SocketStream) -> None:
        encrypted = trio.SSLStream(stream, context, server_side=True)
        try:
            await encrypted.receive_some(65536)
            await encrypted.send_all(answer)
            await encrypted.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(encrypted)  # the client did not like the certificate

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(functools.partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"https://localhost:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


BODY = b"0123456789"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n" + BODY


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


async def test_a_private_authority_is_trusted_when_it_is_given(
    authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    async with serving_tls(authority, "localhost", GOOD) as root:
        source = Source.from_url(f"{root}/f", "f")
        settings = ConnectionSettings(ca_file=ca_file)
        async with download_many([source], tmp_path / "dest", connection=settings) as downloads:
            results = [result async for result in downloads]
    assert results[0].error is None
    assert (tmp_path / "dest" / "f").read_bytes() == BODY


@pytest.mark.parametrize("name", ["localhost", "elsewhere.test"], ids=["unknown authority", "another host's name"])
async def test_a_certificate_that_is_not_trusted_is_refused_at_once(
    name: str, authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    settings = ConnectionSettings(ca_file=None if name == "localhost" else ca_file)
    async with serving_tls(authority, name, GOOD) as root:
        source = Source.from_url(f"{root}/f?token=SECRET", "f")
        async with download_many([source], tmp_path / "dest", connection=settings) as downloads:
            (result,) = [result async for result in downloads]
    assert isinstance(result.error, errors.TlsError)
    assert result.attempts == 1
    assert "SECRET" not in repr(result.error) + str(result.error)
    assert not list((tmp_path / "dest").iterdir())


async def test_a_redirect_from_https_to_http_is_not_followed(
    authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    away = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    async with (
        serving_tls(authority, "localhost", away) as root,
        open_fetcher(ConnectionSettings(ca_file=ca_file)) as fetcher,
    ):
        with pytest.raises(errors.RedirectError):
            async with fetcher.fetch(Secret(f"{root}/f")):
                pytest.fail("there is no answer to give")


@pytest.mark.parametrize("what", ["missing", "no certificate"])
async def test_a_ca_file_that_cannot_be_used_is_told_before_anything_is_sent(what: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if what == "no certificate":
        path.write_text("nothing of the kind")
    with pytest.raises((errors.LocalFileError, errors.ConfigurationError)):
        async with open_fetcher(ConnectionSettings(ca_file=path)):
            pytest.fail("the block must not be entered")


@pytest.mark.parametrize(
    "url", ["http://example.com/f", "ftp://127.0.0.1/f", "https://user:secret@example.com/f", "no url"]
)
async def test_an_address_that_must_not_be_contacted_is_refused_first(url: str) -> None:
    async with open_fetcher() as fetcher:
        with pytest.raises((errors.AddressError, errors.ConfigurationError)) as caught:
            async with fetcher.fetch(Secret(url)):
                pytest.fail("there is no answer to give")
    assert "secret" not in str(caught.value)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with open_emulator(runs=1, checkpoints=1, size_bytes=65536) as opened:
        yield opened


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://u:p@127.0.0.1/",
        "http://[",
        "",
        "http://10.0.0.1/",
    ],
)
async def test_a_redirect_to_nowhere_good_is_an_error_before_any_connection(target: str, emulator: Emulator) -> None:
    url = emulator.blob_url(1000, redirect=1, loc=target)
    async with open_fetcher() as fetcher:
        with pytest.raises((errors.RedirectError, errors.AddressError)):
            async with fetcher.fetch(Secret(url)):
                pytest.fail("there is no answer to give")
    assert len(emulator.requests.of("storage", "other")) == 1


async def test_a_stripped_request_stays_stripped_when_it_comes_back(emulator: Emulator) -> None:
    url = emulator.blob_url(1000, redirect=2, rto="other")
    async with open_fetcher() as fetcher, fetcher.fetch(Secret(url)) as answer:
        assert answer.status == 200
    requests = emulator.requests.of("storage", "other")
    assert [request.server for request in requests] == ["storage", "other", "storage"]
    assert all("cookie" not in request.headers for request in requests)


async def test_a_key_does_not_go_home_with_a_chain_that_left() -> None:
    seen = []

    class Chain(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            seen.append((str(request.url), request.headers.get("authorization")))
            following = {"/a": "http://127.0.0.1:10/b", "/b": "http://127.0.0.1:9/c"}.get(request.url.path)
            headers = {} if following is None else {"location": following}
            return httpx.Response(302 if following else 200, headers=headers, content=b"", request=request)

    settings = ConnectionSettings(transport=Chain())
    key = KeyForOneOrigin(Chain(), "Authorization", Secret("key"), "http://127.0.0.1:9")
    async with Fetcher(Asker(key, settings)).fetch(Secret("http://127.0.0.1:9/a")) as answer:
        assert answer.status == 200
    assert seen == [
        ("http://127.0.0.1:9/a", "key"),
        ("http://127.0.0.1:10/b", None),
        ("http://127.0.0.1:9/c", None),
    ]


async def test_cookies_are_never_kept(emulator: Emulator) -> None:
    url = emulator.blob_url(1000, hdr="Set-Cookie: session=1")
    async with open_fetcher() as fetcher:
        for _ in range(2):
            async with fetcher.fetch(Secret(url)) as answer:
                assert [chunk async for chunk in answer.chunks()]
    assert all("cookie" not in request.headers for request in emulator.requests.of("storage"))


async def test_an_error_whose_explanation_is_garbled_is_still_that_error() -> None:
    garbled = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    async with serving(answering_once(garbled)) as peer, open_fetcher() as fetcher:
        with pytest.raises(errors.NotFoundError):
            async with fetcher.fetch(Secret(f"http://127.0.0.1:{peer.port}/f")):
                pytest.fail("there is no answer to give")


async def test_an_error_explains_itself_safely(emulator: Emulator) -> None:
    hostile = '{"code": "gone\\u001b[31m", "message": "' + "x" * 5000 + '"}'
    url = emulator.blob_url(1000, status=404, sbody=hostile, sct="application/json")
    async with open_fetcher() as fetcher:
        with pytest.raises(errors.NotFoundError) as caught:
            async with fetcher.fetch(Secret(url)):
                pytest.fail("there is no answer to give")
    assert "\x1b" not in str(caught.value)
    assert "q-signature" not in str(caught.value)
    assert len(str(caught.value)) < 1000


async def test_a_transport_of_the_users_own_is_used_and_left_open(emulator: Emulator, tmp_path: Path) -> None:
    closed: list[bool] = []

    class Mine(httpx.AsyncHTTPTransport):
        async def aclose(self) -> None:
            closed.append(True)
            await super().aclose()

    mine = Mine()
    settings = ConnectionSettings(transport=mine)
    sources = [Source.from_url(emulator.blob_url(1000), "f")]
    async with download_many(
        sources, tmp_path / "dest", connection=settings, retry=RetryPolicy(attempts=1)
    ) as downloads:
        (result,) = [result async for result in downloads]
    assert result.error is None
    assert closed == []
    await mine.aclose()
