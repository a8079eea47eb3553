"""Whatever a service hands out must not lead us to places that only we can reach, and nothing else gets the key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx
import pytest
import trio
import trio.testing

from tests.destinations import QUICK, results_of, sources_of
from tests.security.resolving import internet, resolving
from trio_norman import ConnectionSettings, Secret, ServiceClient, download_many
from trio_norman._sansio.addresses import AllowedHosts, Vicinity
from trio_norman._wire import _sockets
from trio_norman._wire._fetching import Fetcher, open_fetcher
from trio_norman.emulator import Emulator, open_emulator
from trio_norman.emulator._certificates import make_certificate
from trio_norman.errors import (
    AddressError,
    ConfigurationError,
    ConnectError,
    MalformedResponseError,
    ProtocolError,
    RedirectError,
    TransportError,
    TrioNormanError,
)

ELSEWHERE = Vicinity("api.example.org")  # a service somewhere on the public internet
PLAIN = ConnectionSettings(allow_http=True)
PEM = make_certificate("127.0.0.1").pem


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with open_emulator(runs=1, checkpoints=2, size_bytes=5000) as opened:
        yield opened


def port_of(root: str) -> int:
    port = httpx.URL(root).port
    assert port is not None
    return port


async def refused(fetcher: Fetcher, url: str) -> TrioNormanError:
    """Fetch what must be refused; give the error."""
    with pytest.raises(TrioNormanError) as caught:
        async with fetcher.fetch(Secret(url)):
            pytest.fail("there must be no answer")
    return caught.value


async def fetched(fetcher: Fetcher, url: str) -> int:
    async with fetcher.fetch(Secret(url)) as answer:
        return len(b"".join([chunk async for chunk in answer.chunks()]))


# ---- what the name leads to


async def test_SEC_05_a_service_elsewhere_does_not_lead_us_to_this_machine(emulator: Emulator) -> None:
    """AddressError before any connection; a literal address is not even looked up."""
    resolver = resolving(store_example_org=[["127.0.0.1"]], six_example_org=[["::ffff:127.0.0.1"]])
    path = emulator.blob_url(1000).removeprefix("http://127.0.0.1")
    async with open_fetcher(PLAIN, home=ELSEWHERE) as fetcher:
        for host in ("store.example.org", "six.example.org", "127.0.0.1", "localhost"):
            error = await refused(fetcher, f"http://{host}{path}")
            assert isinstance(error, AddressError)
            assert "is a loopback address" in error.reason
            assert "q-signature" not in str(error)
    assert resolver.asked == ["store.example.org", "six.example.org"]  # and what is an address was not looked up
    assert emulator.connections.total == 0


PUBLIC, ALSO_PUBLIC = "93.184.216.34", "8.8.8.8"


@pytest.mark.rows("D-07")
@pytest.mark.parametrize("by_redirect", [False, True], ids=["a link", "a redirect"])
async def test_SEC_05_the_connection_goes_to_the_address_that_was_judged(by_redirect: bool, emulator: Emulator) -> None:
    """DNS rebinding: a name is public when it is judged, and this machine right afterwards; AddressError the next time.

    It is looked up once for each connection, and what was judged is what is contacted.
    """
    resolver = resolving(rebinding_example_org=[[PUBLIC], ["127.0.0.1"]], first_example_org=[[ALSO_PUBLIC]])
    link = emulator.blob_url(1000, signed=False, drop="fin").replace("127.0.0.1", "rebinding.example.org")
    before: list[str] = []
    if by_redirect:
        link = emulator.blob_url(1000, redirect=1, loc=link, drop="fin").replace("127.0.0.1", "first.example.org")
        before = [ALSO_PUBLIC]
    with internet() as contacted:
        async with open_fetcher(PLAIN, home=ELSEWHERE) as fetcher:
            assert await fetched(fetcher, link) == 1000
            assert contacted == [*before, PUBLIC]
            await trio.testing.wait_all_tasks_blocked(0.05)  # till the kept connections are known to be closed
            assert resolver.asked.count("rebinding.example.org") == 1
            error = await refused(fetcher, link)
        assert isinstance(error, AddressError)
        assert "127.0.0.1 is a loopback address" in error.reason
        assert contacted == [*before, PUBLIC, *before]
        assert resolver.asked.count("rebinding.example.org") == 2


async def test_SEC_05_a_name_that_rebinds_between_two_requests_is_judged_again(emulator: Emulator) -> None:
    """A kept connection is judged by where it leads, and a new one by a look-up of its own."""
    resolver = resolving(store_example_org=[["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1"]])
    url = emulator.blob_url(1000, signed=False, drop="fin").replace("127.0.0.1", "store.example.org")
    home = Vicinity("api.example.org", kinds={"loopback"})
    async with open_fetcher(PLAIN, home=home) as fetcher:
        assert await fetched(fetcher, url) == 1000
        assert isinstance(await refused(fetcher, url), AddressError)
        assert await fetched(fetcher, url) == 1000
    assert len(resolver.asked) == 3


async def test_SEC_05_a_connection_of_the_users_own_is_not_lent_to_a_service(emulator: Emulator) -> None:
    """The pool knows origins only: what the user may reach, somebody's redirect to the same place may not."""
    resolving(evil_example_org=[["127.0.0.1"]])
    async with open_emulator() as stranger:
        own = emulator.blob_url(1000)
        away = stranger.blob_url(1000, redirect=1, loc=own).replace("127.0.0.1", "evil.example.org")
        async with open_fetcher(PLAIN) as fetcher, open_fetcher(PLAIN, home=ELSEWHERE) as judging:
            judging._asker.transport = fetcher._asker.transport
            assert await fetched(fetcher, own) == 1000
            assert isinstance(await refused(judging, own), AddressError)
            assert await fetched(fetcher, away) == 1000  # the user's own URL leads to this machine, so may its redirect
    assert [request.path for request in emulator.requests.of("storage")] == [httpx.URL(own).path] * 2


@pytest.mark.parametrize(
    "answer",
    [["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "169.254.169.254"], ["fe80::1", "127.0.0.1"], ["0.0.0.0", "127.0.0.1"]],
)
async def test_SEC_05_of_several_addresses_only_those_that_are_allowed_are_tried(
    answer: Sequence[str], emulator: Emulator
) -> None:
    """Success by the allowed address; the other one is never contacted."""
    resolving(store_example_org=[answer])
    url = emulator.blob_url(1000).replace("127.0.0.1", "store.example.org")
    home = Vicinity("api.example.org", kinds={"loopback"})
    async with open_fetcher(ConnectionSettings(allow_http=True, connect_seconds=2), home=home) as fetcher:
        assert await fetched(fetcher, url) == 1000
    assert emulator.connections.total == 1


async def test_SEC_05_the_next_address_is_tried_when_one_is_dead_or_slow(emulator: Emulator) -> None:
    """Happy eyeballs over the addresses that were judged: refused at once, and an address that never answers."""
    with trio.socket.socket() as full:  # its queue is full: a third connection hangs
        await full.bind(("127.0.0.3", port_of(emulator.storage_url)))
        full.listen(0)
        fillers = [trio.socket.socket() for _ in range(3)]
        with trio.move_on_after(0.05):
            for filler in fillers:
                await filler.connect(full.getsockname())
        resolving(dead_example_org=[["127.0.0.2", "127.0.0.1"]], slow_example_org=[["127.0.0.3", "127.0.0.1"]])
        for name in (b"dead.example.org", b"slow.example.org"):
            sock = await _sockets.connect(name, port_of(emulator.storage_url), lambda _: "")
            assert sock.getpeername()[0] == "127.0.0.1"
            _sockets.close(sock)
        for filler in fillers:
            filler.close()


async def test_SEC_05_addresses_that_all_refuse_are_told(emulator: Emulator) -> None:
    """ConnectError with what each address met with."""
    resolving(dead_example_org=[["127.0.0.2", "127.0.0.3"]])
    home = Vicinity("api.example.org", kinds={"loopback"})
    async with open_fetcher(PLAIN, home=home) as fetcher:
        error = await refused(fetcher, f"http://dead.example.org:{port_of(emulator.storage_url)}/")
    assert isinstance(error, ConnectError)
    assert "Connection refused" in error.reason


# ---- near the service


@asynccontextmanager
async def leading_to(emulator: Emulator, url: str, pem: str | None = None) -> AsyncIterator[Emulator]:
    """Let the service hand out this URL for every archive, in whichever dialect; with a certificate, an actor's."""
    ends = "2099-01-01T00:00:00Z"
    told: dict[str, str | None] = {"url": url, "expires": ends, "expires_at": ends, "tls_cert_pem": pem}
    told |= {"source": "object_storage" if pem is None else "actor", "checkpoint_status": "LOCAL"}
    emulator.misbehave("/api/.*(archive|download-url)", status=200, body=json.dumps(told))
    yield emulator


@pytest.mark.parametrize(("api", "pem"), [("classic", None), ("v1", None), ("v1", PEM)], ids=["classic", "v1", "actor"])
@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/f?q-signature=SIGNED",
        "https://lan.example.org/f?q-signature=SIGNED",
        "https://meta.example.org/latest/meta-data/?q-signature=SIGNED",
        "https://[::ffff:169.254.169.254]/?q-signature=SIGNED",
        "https://[64:ff9b::a9fe:a9fe]/?q-signature=SIGNED",
        "https://2130706433/?q-signature=SIGNED",
        "https://0x7f.1/?q-signature=SIGNED",
        "https://user:SIGNED@store.example.org/",
        "http://store.example.org/?q-signature=SIGNED",
        "ftp://127.0.0.1/?q-signature=SIGNED",
        "file:///etc/passwd?q-signature=SIGNED",
        "https://a.example.org/" + "x" * 8192 + "?q-signature=SIGNED",
        "https://a.example.org/\u202e?q-signature=SIGNED",
    ],
    ids=lambda url: url[:30],
)
async def test_SEC_05_a_signed_url_that_leads_to_a_bad_place_is_that_items_error(
    url: str, api: Literal["classic", "v1"], pem: str | None, emulator: Emulator, tmp_path: Path
) -> None:
    """AddressError as the result of that item, without its signature, pinned or not. D0."""
    resolving(lan_example_org=[["192.168.77.77"]], meta_example_org=[["169.254.169.254"]], a_example_org=[["8.8.8.8"]])
    client = ServiceClient(emulator.api_key, emulator.base_url, api=api, retry=QUICK)
    async with leading_to(emulator, url, pem), client.create_rest_client() as rest:
        page = await rest.list_user_checkpoints()
        async with rest.download_checkpoints(page.checkpoints[:1], tmp_path / "dest", retry=QUICK) as downloads:
            (result,) = await results_of(downloads)
    is_against_the_rules = api == "v1" and (not url.startswith("http") or (pem is not None and url.startswith("http:")))
    assert isinstance(result.error, MalformedResponseError if is_against_the_rules else AddressError)
    assert "SIGNED" not in str(result.error) + repr(result.error)
    assert list((tmp_path / "dest").iterdir()) == []
    assert not emulator.requests.of("storage", "other")


async def test_SEC_05_a_service_on_this_machine_hands_out_urls_of_this_machine(
    emulator: Emulator, tmp_path: Path
) -> None:
    """Whether it was named by its address or by any name: where it is, the socket tells."""
    resolving(api_example_org=[["127.0.0.1"]], store_example_org=[["127.0.0.1"]])
    url = f"http://store.example.org:{port_of(emulator.storage_url)}/blobs/0/1000/blob"
    base_url = emulator.base_url.replace("127.0.0.1", "api.example.org")
    client = ServiceClient(emulator.api_key, base_url, retry=QUICK, connection=PLAIN)
    async with leading_to(emulator, url), client.create_rest_client() as rest:
        page = await rest.list_user_checkpoints()
        async with rest.download_checkpoints(page.checkpoints[:1], tmp_path, retry=QUICK) as downloads:
            (result,) = await results_of(downloads)
    assert result.error is not None  # of another length than was announced, and yet it was asked for
    assert not isinstance(result.error, AddressError)
    assert {request.headers["host"].partition(":")[0] for request in emulator.requests.of("storage")} == {
        "store.example.org"
    }


# ---- redirects


@pytest.mark.rows("D-07")
@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("file:///etc/passwd", RedirectError),
        ("ftp://127.0.0.1/", RedirectError),
        ("//10.0.0.1/", AddressError),
        ("http://u:p@127.0.0.1/", AddressError),
        ("http://127.0.0.1/\rX", ProtocolError),  # no header at all
        ("\0", ProtocolError),
        ("", RedirectError),
        ("http://[", RedirectError),
        ("http://127.1/", AddressError),
        ("http://0x7f.1/", AddressError),
        ("http://2130706433/", AddressError),
        ("http://169.254.169.254/latest/meta-data/", AddressError),
        ("http://[::ffff:169.254.169.254]/", AddressError),
        ("https://[::ffff:169.254.169.254]/", AddressError),
        ("https://169.254.169.254/", AddressError),
        ("https://10.0.0.1/", AddressError),
        ("https://lan.example.org/", AddressError),
        ("https://100.64.0.1/", AddressError),
        ("https://0.0.0.0/", AddressError),
        ("https://[::]/", AddressError),
        ("https://224.0.0.1/", AddressError),
        ("https://\uff11\uff12\uff17.0.0.1/", RedirectError),
        ("http://b\u00fccher.example.org/", RedirectError),
    ],
)
async def test_SEC_05_a_redirect_to_a_bad_place_is_not_followed(
    location: str, kind: type[TransportError], emulator: Emulator
) -> None:
    """AddressError for a place, RedirectError for what is none, before any connection to it. D0."""
    resolver = resolving(lan_example_org=[["192.168.77.77"]])
    try:
        url = emulator.blob_url(1000, redirect=1, loc=location)
    except UnicodeEncodeError:
        url = emulator.blob_url(1000, redirect=1, loc=location.encode().decode("latin-1"))
    async with open_fetcher(PLAIN) as fetcher:
        error = await refused(fetcher, url)
    assert type(error) is kind
    assert isinstance(error, TransportError)
    assert "meta-data" not in error.reason
    assert len(emulator.requests) == emulator.connections.total == 1
    assert set(resolver.asked) <= {"lan.example.org"}


@pytest.mark.parametrize("where", ["lan", "meta"])
async def test_SEC_05_redirects_of_the_storage_are_judged_by_the_service(where: str, emulator: Emulator) -> None:
    """AddressError for its network and a metadata address; the second storage on this machine is well."""
    async with open_fetcher(PLAIN, home=Vicinity.of(emulator.base_url, AllowedHosts())) as fetcher:
        assert isinstance(await refused(fetcher, emulator.blob_url(1000, redirect=1, rto=where)), AddressError)
        assert await fetched(fetcher, emulator.blob_url(1000, redirect=1, rto="other")) == 1000


# ---- hosts that the user allows


async def test_SEC_05_a_host_that_the_user_allows_by_name_may_be_anywhere(emulator: Emulator) -> None:
    """Success for the host named in full, AddressError for every other one."""
    resolving(store_example_org=[["127.0.0.1"]], other_example_org=[["127.0.0.1"]])
    url = emulator.blob_url(1000, signed=False).replace("127.0.0.1", "store.example.org")
    settings = ConnectionSettings(allow_http=True, allow_hosts=["store.example.org", "*.example.org"])
    async with open_fetcher(settings, home=Vicinity("api.example.org", settings.allow_hosts)) as fetcher:
        assert await fetched(fetcher, url) == 1000
        assert isinstance(await refused(fetcher, url.replace("store", "other")), AddressError)
        error = await refused(fetcher, url.replace("store.example.org", "store.example.com"))
        assert "not among those that were allowed" in str(error)


async def test_SEC_05_allowed_hosts_hold_for_redirects_of_the_users_own_urls(
    emulator: Emulator, tmp_path: Path
) -> None:
    """Followed to the own host and to allowed ones, else AddressError."""
    urls = [emulator.blob_url(1000, redirect=1, rto="other"), emulator.blob_url(2000)]
    for hosts, outcomes in ((["store.example.org"], [None, None]), ([], [None, None])):
        settings = ConnectionSettings(allow_hosts=hosts)
        async with download_many(sources_of(*urls), tmp_path / str(len(hosts)), connection=settings) as downloads:
            results = await results_of(downloads)
        assert [result.error for result in results] == outcomes  # the second origin is the same host
    resolving(away_example_org=[["127.0.0.1"]])
    away = emulator.other_storage_url.replace("127.0.0.1", "away.example.org")
    url = emulator.blob_url(1000, redirect=1, loc=f"{away}/blobs/0/1000/blob")
    for allowed, is_followed in ((["store.example.org"], False), (["*.example.org"], True), ([], True)):
        async with open_fetcher(ConnectionSettings(allow_http=True, allow_hosts=allowed)) as fetcher:
            if is_followed:
                assert await fetched(fetcher, url) == 1000
            else:
                assert isinstance(await refused(fetcher, url), AddressError)


def test_SEC_05_what_is_no_host_cannot_be_allowed() -> None:
    """ConfigurationError."""
    with pytest.raises(ConfigurationError, match="an allowed host is no host"):
        ConnectionSettings(allow_hosts=["http://store.example.org/"])
