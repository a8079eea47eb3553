"""Credentials are bound to one origin, and what fetches from elsewhere has none."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Literal

import httpx
import pytest

import trio_norman
from tests.cli.commandline import Shell
from tests.destinations import results_of
from tests.security.certificates import ca_file_in, server_context
from trio_norman import ConnectionSettings, Secret, ServiceClient, download_many
from trio_norman._sansio.ranges import ByteRange
from trio_norman._wire._fetching import Fetcher, open_fetcher
from trio_norman._wire._keys import KeyForOneOrigin
from trio_norman._wire._uploading import put_bytes
from trio_norman.emulator import Emulator, LoggedRequest, open_emulator
from trio_norman.errors import AddressError, RedirectError
from trio_norman.norman._socket import open_push_connection
from trio_norman.transfer import Source

ALLOWED = {"host", "user-agent", "accept", "accept-encoding", "range", "if-range", "if-match"}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with open_emulator(runs=1, checkpoints=2, size_bytes=5000) as opened:
        yield opened


def names_in(request: LoggedRequest) -> list[str]:
    return sorted(name.lower() for name, _ in request.header_list)


async def answered(fetcher: Fetcher, url: str, span: ByteRange | None = None, if_range: str | None = None) -> None:
    async with fetcher.fetch(Secret(url), span, if_range) as answer:
        assert answer.status in {200, 206}


# ---- another origin


@pytest.mark.rows("D-03")
async def test_SEC_01_another_origin_sees_literally_these_headers(emulator: Emulator) -> None:
    """Host, Accept, Accept-Encoding, User-Agent, and Range with If-Range where a part is asked for."""
    url = emulator.blob_url(1000, redirect=1, rto="other")
    async with open_fetcher() as fetcher:
        await answered(fetcher, url)
        await answered(fetcher, url, ByteRange(10, 20), '"x"')
    plain, ranged = emulator.requests.of("other")
    assert plain.header_list[0][0].lower() == "host"
    assert names_in(plain) == ["accept", "accept-encoding", "host", "user-agent"]
    assert names_in(ranged) == ["accept", "accept-encoding", "host", "if-range", "range", "user-agent"]
    assert plain.headers["accept-encoding"] == "identity"
    assert re.fullmatch(r"trio-norman/[\d.a-z]+", plain.headers["user-agent"])


@pytest.mark.rows("D-03")
@pytest.mark.parametrize("moved", ["to another port", "to another name"])
async def test_SEC_01_no_header_of_the_callers_leaves_the_origin(moved: str, emulator: Emulator) -> None:
    """A, B, A, B: from B on literally Host, User-Agent, Accept, Accept-Encoding, and Range with its like if given."""
    given = {
        "X-Auth": "1",
        "X-Other-Secret": "2",
        "Referer": "http://a/?b",
        "Cookie": "c=3",
        "Authorization": "Basic x",
    }
    async with open_emulator(runs=0) as stranger:
        away = stranger.base_url if moved == "to another port" else emulator.base_url.replace("127.0.0.1", "localhost")
        server = stranger if moved == "to another port" else emulator
        emulator.misbehave("/api/away", status=307, headers={"Location": f"{away}/api/back"})
        server.misbehave("/api/back", status=307, headers={"Location": f"{emulator.base_url}/api/again"})
        emulator.misbehave("/api/again", status=307, headers={"Location": f"{away}/api/end"})
        async with ServiceClient(emulator.api_key, emulator.base_url).create_rest_client() as rest:
            rest.http_client.headers["X-Of-The-Client"] = "4"
            for more in ({}, {"Range": "bytes=0-1", "If-Range": '"x"', "If-Match": '"x"'}):
                await rest.http_client.get("/api/away", headers={**given, **more}, follow_redirects=True)
            await rest.http_client.post("/api/away", content=b"body", headers=given, follow_redirects=True)
            await rest.http_client.get(f"{away}/api/end", headers=given)
        asked = [request for request in (*emulator.requests, *stranger.requests) if request.path.startswith("/api/")]
        first = [request for request in asked if request.path == "/api/away"]
        later = {path: [each for each in asked if each.path == path] for path in _HOPS}
    assert {name.lower() for name in given} | {"x-of-the-client", "x-api-key"} <= set(names_in(first[0]))
    assert {path: len(requests) for path, requests in later.items()} == _HOPS
    plain = ["accept", "accept-encoding", "host", "user-agent"]
    for requests in later.values():
        assert names_in(requests[0]) == plain
        assert names_in(requests[1]) == sorted([*plain, "if-match", "if-range", "range"])
        assert names_in(requests[2]) == sorted([*plain, "content-length"])
    assert names_in(later["/api/end"][3]) == plain


_HOPS = {"/api/back": 3, "/api/again": 3, "/api/end": 4}


@pytest.mark.parametrize(
    "elsewhere", ["https://h.example:444", "https://g.example", "http://h.example", "http://h.example:443"]
)
async def test_SEC_01_scheme_host_and_port_make_an_origin(elsewhere: str) -> None:
    """There and back: neither key nor header; `https://h.example:443` is no other origin."""
    seen: list[tuple[str, list[str]]] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url.path), sorted(request.headers.keys())))
        following = {"/a": "https://H.example:443/b", "/b": f"{elsewhere}/c", "/c": "https://h.example/d"}
        location = following.get(request.url.path)
        return httpx.Response(302 if location else 200, headers={"Location": location} if location else {})

    door = KeyForOneOrigin(httpx.MockTransport(answer), "X-API-Key", Secret("key"), "https://h.example")
    async with httpx.AsyncClient(transport=door, follow_redirects=True) as client:
        await client.get("https://h.example/a", headers={"X-Mine": "1"})
    elsewhere_sent = ["accept", "accept-encoding", "host", "user-agent"]
    at_home = sorted([*elsewhere_sent, "connection", "x-api-key", "x-mine"])
    assert seen == [("/a", at_home), ("/b", at_home), ("/c", elsewhere_sent), ("/d", elsewhere_sent)]


@pytest.mark.parametrize("api", ["classic", "v1"])
async def test_SEC_01_a_whole_batch_sends_its_key_to_the_api_alone(
    api: Literal["classic", "v1"], emulator: Emulator, tmp_path: Path
) -> None:
    """Success; the key is in requests to the API and in no other, in whichever header."""
    emulator.inject(redirect=2, rto="other")
    async with ServiceClient(emulator.api_key, emulator.base_url, api=api).create_rest_client() as rest:
        async with rest.download_checkpoints(rest.iter_user_checkpoints(), tmp_path) as downloads:
            assert all(result.error is None for result in await results_of(downloads))
    calls = [request.headers for request in emulator.requests.of("api")]
    assert {sent["x-api-key"] for sent in calls} == {emulator.api_key}
    assert {sent.get("authorization") for sent in calls} == {f"Bearer {emulator.api_key}" if api == "v1" else None}
    strangers = emulator.requests.of("storage", "other")
    assert len(strangers) == 6
    assert all(set(names_in(request)) <= ALLOWED for request in strangers)
    assert all(emulator.api_key not in f"{request.header_list}{request.path}{request.query}" for request in strangers)


# ---- a client that has nothing to give away


def reachable_texts(thing: object, seen: dict[int, object]) -> list[str]:
    """Give every text that an object holds, however deep, in attributes, slots and containers."""
    if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType):
        return []
    seen[id(thing)] = thing  # held, so that no other object gets its id
    if isinstance(thing, str | bytes):
        return [thing if isinstance(thing, str) else thing.decode("latin-1")]
    inner: list[object] = []
    if isinstance(thing, dict):
        inner += [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        inner += thing
    elif isinstance(thing, MethodType):
        inner.append(thing.__self__)
    inner += vars(thing).values() if hasattr(thing, "__dict__") else []
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    inner += [getattr(thing, name, None) for name in slots if name != "__weakref__"]
    return [text for each in inner for text in reachable_texts(each, seen)]


async def test_SEC_02_what_fetches_bodies_holds_no_credential(emulator: Emulator) -> None:
    """No object that the client for bodies reaches holds the key."""
    async with ServiceClient(emulator.api_key, emulator.base_url).create_rest_client() as rest:
        state = rest._open_state()
        of_the_api = reachable_texts(state.asking.json, {})
        assert any(emulator.api_key in text for text in of_the_api)  # the search would find it
        assert not [text for text in reachable_texts(state.fetcher, {}) if emulator.api_key in text]


@pytest.mark.parametrize(
    "opener",
    [
        open_fetcher,
        Fetcher,
        download_many,
        trio_norman.TrioTransport,
        ConnectionSettings,
        put_bytes,
        open_push_connection,
    ],
)
def test_SEC_02_nothing_below_the_api_takes_a_credential(opener: object) -> None:
    """No parameter could take one."""
    assert callable(opener)
    parameters = inspect.signature(opener).parameters
    assert not [name for name in parameters if re.search("key|token|secret|auth|password|cookie|headers", name)]


# ---- https stays https


@pytest.mark.rows("C-18", "D-04")
async def test_SEC_03_no_redirect_leads_from_https_to_http(tmp_path: Path) -> None:
    """RedirectError; the plain server is not asked, whatever stands between. D0."""
    settings = ConnectionSettings(ca_file=ca_file_in(tmp_path), allow_http=True)
    async with open_emulator(tls=server_context("127.0.0.1")) as emulator, open_emulator() as plain:
        async with open_fetcher(settings) as fetcher:
            for url in (
                emulator.blob_url(1000, redirect=1, rto="http"),
                emulator.blob_url(1000, redirect=1, loc=plain.blob_url(1000)),
                plain.blob_url(1000, redirect=1, loc=emulator.blob_url(1000, redirect=1, loc=plain.blob_url(1000))),
            ):
                with pytest.raises(RedirectError, match="from https to http"):
                    await answered(fetcher, url)
        assert len(plain.requests) == 1


@pytest.mark.rows("C-18")
@pytest.mark.parametrize("url", ["http://api.example.org", "http://10.0.0.1:8000", "http://localhost.example.org"])
def test_SEC_03_plain_http_to_another_machine_needs_a_word(url: str) -> None:
    """AddressError unless allow_http says so."""
    with pytest.raises(AddressError, match="plain http outside this machine"):
        ServiceClient("key", url)
    ServiceClient("key", url, connection=ConnectionSettings(allow_http=True))


# ---- what lies around


async def test_SEC_04_netrc_cookies_and_proxies_of_the_environment_are_not_used(
    emulator: Emulator, tmp_path: Path
) -> None:
    """Success past dead proxies, without Cookie or Referer, and with no Authorization but the service's own key."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login ada password hunter22\ndefault login bob password hunter23\n")
    netrc.chmod(0o600)
    dead = emulator.base_url.rpartition(":")[0] + ":1"
    proxies = {f"{scheme}_proxy": dead for scheme in ("http", "https", "all", "HTTP", "HTTPS", "ALL")}
    environment = {**proxies, **{name.upper(): dead for name in proxies}, "NETRC": str(netrc), "no_proxy": ""}
    emulator.inject(hdr="Set-Cookie: session=1; Path=/")
    (tmp_path / "list.tsv").write_text(f"{emulator.blob_url(1000)}\tf\n")
    shell = Shell(tmp_path, emulator)
    for words in (["checkpoints", "download", "--all", "--to", "out"], ["fetch", "list.tsv", "--to", "out"]):
        ended = await shell.run(*words, env=environment)
        assert ended.code == 0, ended.err
    assert len(emulator.requests.of("storage")) == 3
    for request in emulator.requests:
        assert {"proxy-authorization", "cookie", "referer"}.isdisjoint(request.headers)
        own_key = f"Bearer {emulator.api_key}" if request.server == "api" else None
        assert request.headers.get("authorization") == own_key


async def test_SEC_04_no_cookie_is_kept_by_the_engine(emulator: Emulator, tmp_path: Path) -> None:
    """No request has a cookie, not even after a redirect that set one."""
    url = emulator.blob_url(1000, hdr="Set-Cookie: session=1; Path=/", redirect=1)
    sources = [Source.from_url(url, f"f{number}") for number in range(3)]
    async with download_many(sources, tmp_path, 1) as downloads:
        assert all(result.error is None for result in await results_of(downloads))
    assert len(emulator.requests) == 6
    assert all("cookie" not in request.headers for request in emulator.requests)
