"""Connections that do not come about, and TLS."""

from __future__ import annotations

import socket
import ssl
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trio
import trustme

from tests.wire.test_transport_peer import OK, Line, answering, books, fetch, open_sockets, serving
from trio_norman._wire import _sockets, _tls
from trio_norman._wire._transport import TrioTransport

CA = trustme.CA()
SECRET = "0123456789" * 2
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


def server_context(*names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    CA.issue_cert(*names).configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    CA.configure_trust(context)
    return context


@pytest.fixture(autouse=True)
def sockets_are_balanced() -> Iterator[None]:
    before = open_sockets()
    yield
    assert open_sockets() == before


class Names(trio.abc.HostnameResolver):
    """A resolver that knows the addresses it is given, fails for the others, and hangs for ``slow``."""

    def __init__(self, **known: list[str]) -> None:
        self.known = known

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def]
        name = host.decode() if isinstance(host, bytes) else host
        if name == "slow":
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        if name not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.known[name]]

    async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
        raise NotImplementedError


async def failure(transport: TrioTransport, url: str) -> httpx.TransportError:
    async with transport:
        with pytest.raises(httpx.TransportError) as caught:
            await fetch(transport, f"{url}?{SECRET}")
        assert books(transport) == (0, 0, 0)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return caught.value


async def test_a_closed_port() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        error = await failure(TrioTransport(), f"http://127.0.0.1:{unheard.getsockname()[1]}/")
    assert isinstance(error, httpx.ConnectError)
    assert isinstance(error.__cause__, OSError)
    assert not isinstance(error.__cause__, socket.gaierror)
    assert "Connection refused" in str(error)


async def test_a_name_that_does_not_exist() -> None:
    trio.socket.set_custom_hostname_resolver(Names())
    error = await failure(TrioTransport(), "http://x.invalid/")
    assert isinstance(error, httpx.ConnectError)
    assert isinstance(error.__cause__, socket.gaierror)
    assert str(error) == "the name of x.invalid:80 does not resolve: Name or service not known"


async def test_a_resolver_that_hangs() -> None:
    trio.socket.set_custom_hostname_resolver(Names())
    error = await failure(TrioTransport(connect_limit=0.01), "https://slow/")
    assert isinstance(error, httpx.ConnectTimeout)
    assert str(error) == "no connection to slow:443 within 0.01 s"


async def test_the_second_address_is_tried_when_the_first_is_dead() -> None:
    trio.socket.set_custom_hostname_resolver(Names(twice=["127.0.0.2", "127.0.0.1"]))
    async with serving(answering(OK)) as peer, TrioTransport() as transport:
        assert (await fetch(transport, f"http://twice:{peer.port}/")).content == b"hello"


@pytest.mark.parametrize("given", [{"connect_limit": 0.01}, {"tls_limit": 0.01}, {"connect_limit": 5.0}])
async def test_a_handshake_that_stalls(given: dict[str, float]) -> None:
    async def script(line: Line) -> None:
        await line.until_head()

    async with serving(script) as peer:
        transport = TrioTransport(**{"tls_limit": 0.01, **given}, ssl_context=trusting())  # type: ignore[arg-type]
        error = await failure(transport, f"https://127.0.0.1:{peer.port}/")
        assert isinstance(error, httpx.ConnectTimeout)
        assert "no TLS handshake" in str(error)


async def test_the_requests_own_connect_timeout() -> None:
    async def script(line: Line) -> None:
        await line.until_head()

    async with serving(script) as peer, TrioTransport(ssl_context=trusting()) as transport:
        with pytest.raises(httpx.ConnectTimeout):
            await fetch(transport, f"https://127.0.0.1:{peer.port}/", extensions={"timeout": {"connect": 0.01}})


async def test_tls_with_a_private_authority() -> None:
    body = b"x" * 1_000_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    async with serving(answering(OK, answer), server_context("127.0.0.1")) as peer:
        async with TrioTransport(ssl_context=trusting()) as transport:
            assert (await fetch(transport, peer.url())).content == b"hello"
            assert (await fetch(transport, peer.url(), "PUT", content=body)).content == body
            assert peer.accepted == 1
        await peer.all_gone()


async def test_the_name_is_sent_and_verified() -> None:
    asked: list[str | None] = []

    def note(_: object, name: str | None, __: object) -> None:
        asked.append(name)

    tls = server_context("example.test")
    tls.sni_callback = note
    trio.socket.set_custom_hostname_resolver(Names(**{"example.test": ["127.0.0.1"], "example.test.": ["127.0.0.1"]}))
    async with serving(answering(OK), tls) as peer, TrioTransport(ssl_context=trusting()) as transport:
        for name in ("example.test", "example.test."):
            response = await transport.handle_async_request(httpx.Request("GET", f"https://{name}:{peer.port}/"))
            await response.aread()
    assert asked == ["example.test", "example.test"]


async def test_only_http_1_1_is_negotiated() -> None:
    chosen: list[str | None] = []

    async def script(line: Line) -> None:
        await line.request()
        assert isinstance(line.stream, trio.SSLStream)
        chosen.append(line.stream.selected_alpn_protocol())
        await line.send(OK)

    async with serving(script, server_context("127.0.0.1")) as peer:
        async with TrioTransport(ssl_context=trusting()) as transport:
            await fetch(transport, peer.url())
    assert chosen == ["http/1.1"]


@pytest.mark.parametrize("name", ["127.0.0.1", "other.test"])
async def test_a_certificate_that_does_not_convince(name: str) -> None:
    context = _tls.default_context() if name == "127.0.0.1" else trusting()
    async with serving(answering(OK), server_context(name)) as peer:
        error = await failure(TrioTransport(ssl_context=context), peer.url())
        await peer.all_gone()
    assert isinstance(error, httpx.ConnectError)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    assert "no TLS connection to 127.0.0.1" in str(error)


async def test_a_name_that_no_certificate_can_bear() -> None:
    trio.socket.set_custom_hostname_resolver(Names(**{".test": ["127.0.0.1"]}))
    async with serving(answering(OK), server_context("127.0.0.1")) as peer:
        error = await failure(TrioTransport(ssl_context=trusting()), f"https://.test:{peer.port}/")
        await peer.all_gone()
    assert isinstance(error, httpx.ConnectError)


async def test_a_connection_that_was_reset_before_the_handshake() -> None:
    async def script(line: Line) -> None:
        await line.reset()

    async with serving(script) as peer:
        sock = await _sockets.connect(b"127.0.0.1", peer.port)
        await peer.all_gone()
        with pytest.raises(OSError, match=r"onnect"):
            await _tls.Tls(trusting()).wrap(sock, b"127.0.0.1")
        assert sock.fileno() == -1
        _sockets.close(sock)


async def test_an_outdated_tls_version() -> None:
    tls = server_context("127.0.0.1")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(answering(OK), tls) as peer:
        error = await failure(TrioTransport(ssl_context=trusting()), peer.url())
    assert isinstance(error.__cause__, ssl.SSLError)


async def test_plain_http_on_a_tls_port_and_the_other_way_round() -> None:
    async def script(line: Line) -> None:
        await line.send(OK)

    async with serving(script) as peer:
        error = await failure(TrioTransport(ssl_context=trusting()), f"https://127.0.0.1:{peer.port}/")
        assert isinstance(error, httpx.ConnectError)
    async with serving(answering(OK), server_context("127.0.0.1")) as peer:
        error = await failure(TrioTransport(), f"http://127.0.0.1:{peer.port}/")
        assert isinstance(error, httpx.RemoteProtocolError)


@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize("size", [5, 100_000])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_body_until_close_needs_the_closing_alert(
    is_announced: bool, size: int, version: ssl.TLSVersion
) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(UNTIL_CLOSE + b"x" * size)
        assert isinstance(line.stream, trio.SSLStream)
        if is_announced:
            await line.stream.aclose()
        else:
            await line.stream.transport_stream.aclose()

    tls = server_context("127.0.0.1")
    tls.minimum_version = tls.maximum_version = version
    async with serving(script, tls) as peer, TrioTransport(ssl_context=trusting()) as transport:
        if is_announced:
            assert (await fetch(transport, peer.url())).content == b"x" * size
        else:
            with pytest.raises(httpx.ReadError, match="the peer cut the TLS connection"):
                await fetch(transport, peer.url())
        assert books(transport) == (0, 0, 0)


@pytest.mark.parametrize("is_reset", [True, False])
async def test_a_cut_tls_body_gives_what_came_and_then_an_error(is_reset: bool) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 40_000)
        assert isinstance(line.stream, trio.SSLStream)
        raw = Line(line.stream.transport_stream, 0)
        await (raw.reset() if is_reset else raw.stream.aclose())

    async with serving(script, server_context("127.0.0.1")) as peer:
        async with TrioTransport(ssl_context=trusting()) as transport:
            response = await transport.handle_async_request(httpx.Request("GET", peer.url()))
            assert isinstance(response.stream, httpx.AsyncByteStream)
            await peer.all_gone()
            pieces = aiter(response.stream)
            came = 0
            while came < 40_000:
                came += len(await anext(pieces))
            with pytest.raises(httpx.ReadError):
                await anext(pieces)
            assert came == 40_000


async def test_an_idle_tls_connection_that_died_is_replaced_unseen() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(OK)
        if line.number == 2:
            await answering(OK)(line)

    async with serving(script, server_context("127.0.0.1")) as peer:
        async with TrioTransport(ssl_context=trusting()) as transport:
            for _ in range(4):
                assert (await fetch(transport, peer.url())).content == b"hello"
    assert peer.accepted in {2, 3}


async def test_an_early_answer_ends_an_upload_over_tls() -> None:
    async def script(line: Line) -> None:
        await line.until_head()
        await line.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await trio.sleep_forever()

    async with serving(script, server_context("127.0.0.1")) as peer:
        async with TrioTransport(ssl_context=trusting()) as transport:
            response = await fetch(transport, peer.url(), "POST", content=b"x" * 20_000_000)
            assert (response.status_code, response.content) == (413, b"big")
            assert books(transport) == (0, 0, 0)


async def test_the_default_context_is_built_once_and_late(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[ssl.SSLContext] = []

    def build() -> ssl.SSLContext:
        time.sleep(0.01)  # a file system's; meanwhile the other connections come this far
        built.append(trusting())
        return built[0]

    monkeypatch.setattr(_tls, "default_context", build)
    async with serving(answering(OK)) as plain, serving(answering(OK), server_context("127.0.0.1")) as peer:
        async with TrioTransport() as transport:
            await fetch(transport, plain.url())
            assert not built
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(fetch, transport, peer.url())
    assert len(built) == 1


def test_the_default_context_is_strict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = _tls.default_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.keylog_filename is None


def test_without_authorities_of_the_system_certifis_are_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert _tls.default_context().cert_store_stats()["x509_ca"] > 50
