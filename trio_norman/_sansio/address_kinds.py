"""What an IP address is: of the public internet, of this machine, of a private network, or of another special kind."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_IPV4_INSIDE = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 96),  # IPv4-mapped, RFC 4291, section 2.5.5.2
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 96),  # IPv4-translated, RFC 6052, section 4.2 of RFC 7915
    (ipaddress.IPv6Network("64:ff9b::/96"), 96),  # NAT64, RFC 6052, section 2.1
    (ipaddress.IPv6Network("2002::/16"), 16),  # 6to4, RFC 3056, section 2
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_CARRIER_GRADE_NAT = ipaddress.IPv4Network("100.64.0.0/10")  # RFC 6598
#: What organisations use within themselves. Source: RFC 1918, section 3; RFC 4193, section 3.1.
_PRIVATE: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = (
    ipaddress.IPv4Network("10.0.0.0/8"),
    ipaddress.IPv4Network("172.16.0.0/12"),
    ipaddress.IPv4Network("192.168.0.0/16"),
    ipaddress.IPv6Network("fc00::/7"),
)


def literal_of(host: str) -> Address | None:
    """Return the address that a text is in its usual form; None if it is a name, or anything else."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def kind_of(address: str) -> str:
    """Return what an address is that does not belong to the public internet; empty if it does.

    Args:
        address: An IPv4 or IPv6 address as text; an IPv6 one may have a zone.

    Returns:
        ``loopback``, ``link-local``, ``private``, ``shared`` (the carriers' NAT), ``multicast``, ``unspecified`` or
        ``reserved``; ``unreadable`` for what is no address. An IPv6 address that leads to an IPv4 address (mapped,
        6to4, NAT64) is what that one is.

    Source: RFC 6890 and the registries that it founded; RFC 6598; RFC 8215 (local NAT64 prefixes are reserved).
    """
    literal = literal_of(address)
    if literal is None:
        return "unreadable"
    if isinstance(literal, ipaddress.IPv6Address):
        inner = _ipv4_inside(literal)
        return _kind_of_ipv6(literal) if inner is None else kind_of(str(inner))
    if literal in _CARRIER_GRADE_NAT:
        return "shared"
    return _kind_in_common(literal) or ("" if literal.is_global else "reserved")


def _ipv4_inside(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    for network, at in _IPV4_INSIDE:
        if address in network:
            return ipaddress.IPv4Address(int(address) >> (128 - at - 32) & 0xFFFF_FFFF)
    return None


def _kind_of_ipv6(address: ipaddress.IPv6Address) -> str:
    kind = "private" if address.is_site_local else _kind_in_common(address)
    return kind or ("" if address in _GLOBAL_UNICAST and address.is_global else "reserved")


def _kind_in_common(address: Address) -> str:
    kinds = {
        "loopback": address.is_loopback,
        "unspecified": address.is_unspecified,
        "link-local": address.is_link_local,
        "multicast": address.is_multicast,
        "private": any(address in network for network in _PRIVATE if network.version == address.version),
    }
    return next((kind for kind, applies in kinds.items() if applies), "")


def in_turn(addresses: Iterable[str]) -> list[str]:
    """Return resolved addresses without repetitions, in the order in which they are tried.

    The system's order, but the second one is of the other family. Source: RFC 8305, section 4.
    """
    order = list(dict.fromkeys(addresses))
    other = next((each for each in order if (":" in each) != (":" in order[0])), None)
    if other is not None:
        order.remove(other)
        order.insert(1, other)
    return order
