"""Which addresses may be contacted: the decisions, over all addresses."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import hosts, texts
from trio_norman._sansio.address_kinds import in_turn, kind_of
from trio_norman._sansio.addresses import AllowedHosts, Vicinity, check_address
from trio_norman._sansio.limits import DEFAULT_LIMITS
from trio_norman.errors import AddressError, ConfigurationError

PUBLIC = ["93.184.216.34", "8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e"]
SPECIAL = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "::1": "loopback",
    "0.0.0.0": "unspecified",
    "::": "unspecified",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.77.77": "private",
    "fc00::1": "private",
    "fd12:3456::1": "private",
    "fec0::1": "private",
    "169.254.169.254": "link-local",
    "fe80::1": "link-local",
    "fe80::1%2": "link-local",
    "100.64.0.1": "shared",
    "100.127.255.255": "shared",
    "224.0.0.1": "multicast",
    "ff02::1": "multicast",
    "ff0e::1": "multicast",
    "0.1.2.3": "reserved",
    "192.0.0.1": "reserved",
    "192.0.2.1": "reserved",
    "198.18.0.1": "reserved",
    "198.51.100.1": "reserved",
    "203.0.113.1": "reserved",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "2001:db8::1": "reserved",
    "2001::1": "reserved",  # Teredo
    "100::1": "reserved",
    "4000::1": "reserved",
    "64:ff9b:1::10.0.0.1": "reserved",
    "::127.0.0.1": "reserved",  # IPv4-compatible, long gone
    "127.1": "unreadable",
    "": "unreadable",
    "name": "unreadable",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_public_internet_has_no_kind(address: str) -> None:
    assert kind_of(address) == ""


@pytest.mark.parametrize("address", SPECIAL)
def test_special_addresses_are_known_by_their_kind(address: str) -> None:
    assert kind_of(address) == SPECIAL[address]


@given(st.ip_addresses(v=4))
@example(ipaddress.IPv4Address("169.254.169.254"))
@example(ipaddress.IPv4Address("127.0.0.1"))
def test_an_ipv6_address_that_leads_to_an_ipv4_address_is_what_that_one_is(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for outer in (0xFFFF << 32 | number, 0xFFFF << 48 | number, 0x64_FF9B << 96 | number, 0x2002 << 112 | number << 80):
        assert kind_of(str(ipaddress.IPv6Address(outer))) == kind_of(str(address))


@given(st.ip_addresses())
def test_whatever_python_does_not_call_global_has_a_kind(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if not address.is_global and not getattr(address, "ipv4_mapped", None) and not getattr(address, "sixtofour", None):
        assert kind_of(str(address))
    if not kind_of(str(address)):
        assert not address.is_multicast | address.is_loopback | address.is_link_local | address.is_unspecified


@given(st.text())
def test_the_kind_of_any_text_is_known(text: str) -> None:
    kind_of(text)


# ---- near the service


NEARBY = ["127.0.0.1", "10.0.0.1", "169.254.0.1", "100.64.0.1"]


@pytest.mark.parametrize("home", [*NEARBY, "8.8.8.8"])
@pytest.mark.parametrize("address", [*NEARBY, "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"])
def test_a_service_leads_to_the_public_and_to_its_own_kind_of_address(home: str, address: str) -> None:
    vicinity = Vicinity.of("https://api.example", AllowedHosts())
    assert vicinity.refusal("store.example", address)
    vicinity.note(home)
    assert (vicinity.refusal("store.example", address) == "") == (kind_of(address) == kind_of(home))
    assert vicinity.refusal("store.example", "8.8.8.8") == ""


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.1", "240.0.0.1", "2001:db8::1", "", "nonsense"])
def test_no_service_leads_to_addresses_that_nobody_has(address: str) -> None:
    vicinity = Vicinity.of("http://127.0.0.1:8000", AllowedHosts())
    vicinity.note(address)
    assert vicinity.refusal("store.example", address)
    assert vicinity.kinds == {"loopback"}


@pytest.mark.parametrize(
    ("url", "kinds"),
    [
        ("http://127.0.0.1:1/x", {"loopback"}),
        ("http://localhost", {"loopback"}),
        ("http://a.localhost", {"loopback"}),
        ("https://[::1]:5", {"loopback"}),
        ("https://10.1.2.3", {"private"}),
        ("https://[fd00::1]", {"private"}),
        ("https://api.example", set[str]()),
        ("https://8.8.8.8", set[str]()),
    ],
)
def test_the_url_itself_may_tell_where_a_service_is(url: str, kinds: set[str]) -> None:
    assert Vicinity.of(url, AllowedHosts()).kinds == kinds


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "a.localhost", "LOCALHOST.", "10.0.0.1", "fe80::1"])
def test_a_host_that_is_an_address_is_refused_without_looking_it_up(host: str) -> None:
    assert Vicinity.of("https://api.example", AllowedHosts()).refusal_of_host(host)
    assert Vicinity.of("https://api.example", AllowedHosts.of([host])).refusal_of_host(host) == ""


# ---- allowed hosts


def test_with_allowed_hosts_a_service_leads_to_them_and_to_itself_and_nowhere_else() -> None:
    vicinity = Vicinity.of("https://api.example", AllowedHosts.of(["store.example", "*.Cdn.Example."]))
    for host in ("api.example", "API.example.", "store.example", "STORE.EXAMPLE", "a.cdn.example", "a.b.cdn.example"):
        assert vicinity.refusal_of_host(host) == "", host
    for host in ("cdn.example", "xcdn.example", "astore.example", "store.example.evil", "a.store.example", "8.8.8.8"):
        assert vicinity.refusal_of_host(host), host


def test_only_a_host_that_is_allowed_by_its_full_name_may_be_anywhere() -> None:
    vicinity = Vicinity.of("https://api.example", AllowedHosts.of(["store.example", "*.cdn.example"]))
    assert vicinity.refusal("store.example", "10.0.0.1") == ""
    assert vicinity.refusal("a.cdn.example", "10.0.0.1")
    assert vicinity.refusal("api.example", "10.0.0.1")
    assert vicinity.refusal("a.cdn.example", "8.8.8.8") == ""


@pytest.mark.parametrize("host", ["", "*", "*.", "*.10.0.0.1", "a b", "http://a", "a/b", "a:80", "u@a", "127.1", "a\n"])
def test_what_is_no_host_cannot_be_allowed(host: str) -> None:
    with pytest.raises(ConfigurationError):
        AllowedHosts.of(["good.example", host])


def test_one_text_is_not_a_list_of_hosts() -> None:
    with pytest.raises(ConfigurationError):
        AllowedHosts.of("store.example")


@given(allowed=st.lists(hosts().map(lambda host: host.strip("[]")), max_size=3), host=texts() | hosts())
def test_any_host_is_judged(allowed: list[str], host: str) -> None:
    vicinity = Vicinity.of("https://api.example", AllowedHosts.of(allowed))
    refused = vicinity.refusal_of_host(host)
    assert isinstance(refused, str)
    if allowed and not refused:
        assert host.strip("[]").lower().removesuffix(".") in [*(each.lower() for each in allowed), "api.example"]


# ---- what a URL may look like


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.1.",
        "0",
        "1.2.3.4.5",
        "256.1.1.1",
        "a.1",
        "a.0x1",
        "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
        "127\u30020\u30020\u30021",
        "\u2460\u2461\u2466.0.0.1",
        "a%31",
        "a\\b",
        "[::1]%lo",
        "a b",
        "a_b!",
        "ex\u00adample",
    ],
)
def test_a_host_that_parsers_read_differently_is_refused(host: str) -> None:
    with pytest.raises((AddressError, ConfigurationError)):
        check_address(f"https://{host}/", allow_http=True)


@pytest.mark.parametrize(
    "host",
    [
        "a",
        "a.b-c.example",
        "xn--bcher-kva.example",
        "b\u00fccher.example",
        "\u4f8b\u3048.jp",
        "a_b.example",
        "1a.example",
        "1.example",
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "a.example.",
    ],
)
def test_names_and_addresses_in_their_usual_form_are_well(host: str) -> None:
    check_address(f"https://{host}:8443/path?query", allow_http=False)


def test_a_url_may_be_as_long_as_the_limit_and_not_one_character_more() -> None:
    longest = "https://a.example/".ljust(DEFAULT_LIMITS.url_characters, "x")
    check_address(longest, allow_http=False)
    with pytest.raises(ConfigurationError, match="longer than 8192"):
        check_address(longest + "x", allow_http=False)


# ---- the order of attempts


@given(st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2"])))
def test_every_address_is_tried_once_and_the_second_is_of_the_other_family(addresses: list[str]) -> None:
    order = in_turn(addresses)
    assert sorted(order) == sorted(set(addresses))
    assert order[:1] == addresses[:1]
    if len({":" in each for each in addresses}) == 2:
        assert (":" in order[0]) != (":" in order[1])
