"""Which addresses may be contacted: what a URL may look like, and where a name may lead.

An address that the user chose (the configured service, a URL of the user's own) is contacted wherever it is. Whatever
a service hands out (a signed URL, a redirect, a host to push to) must not lead to places that only we can reach: this
machine, its network, a cloud's metadata. It is judged by the address that its name resolves to, and the connection goes
to that very address.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import partial
from urllib.parse import urlsplit

import attrs

from ..errors import AddressError, ConfigurationError
from .address_kinds import kind_of, literal_of
from .limits import DEFAULT_LIMITS

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_PORT = re.compile(r"(:[0-9]*)?")
_ODD_HOST = "the host is written in a way that not everybody reads alike"
#: Forms of IPv4 addresses that only some parsers take for addresses: 127.1, 0x7f.1, 2130706433, 0177.0.0.1, 127.0.0.1.
_ENDS_IN_A_NUMBER = re.compile(r"(.*\.)?(\d+|0[xX][0-9a-fA-F]*)\.?")


def check_address(
    url: str, *, allow_http: bool, advice: str = "", longest: int = DEFAULT_LIMITS.url_characters
) -> None:
    """Refuse a URL that must not be contacted, whoever it comes from.

    Raises:
        ConfigurationError: If it is no absolute http(s) URL of at most `longest` characters, or has control characters.
        AddressError: If it is plain http to another machine (unless `allow_http`), has user info, or a host that
            parsers read differently.
    """
    if len(url) > longest:
        raise ConfigurationError(f"a URL is longer than {longest} characters", advice)
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError("a URL does not parse", advice) from None
    if parts.scheme not in {"http", "https"} or not host or not url.isprintable():
        raise ConfigurationError("a URL is not an absolute http or https URL", advice)
    if parts.username is not None or parts.password is not None:
        raise AddressError("GET", url, "a URL with a user name or password is not contacted")
    shown = f"[{host}]" if ":" in host else host
    if not _is_plain(host) or not _PORT.fullmatch(parts.netloc.lower().removeprefix(shown)):
        raise AddressError("GET", url, _ODD_HOST)
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        raise AddressError("GET", url, "plain http outside this machine is refused; use https, or allow http by name")


def _is_plain(host: str) -> bool:
    """Whether a host is a name, or an address in its usual form."""
    if _ENDS_IN_A_NUMBER.fullmatch(host):
        return literal_of(host) is not None
    if host.isascii():
        return _HOST.fullmatch(host) is not None and (":" not in host or literal_of(host) is not None)
    # Names of other scripts are well; digits and dots that only look different from 127.0.0.1 are not.
    letters = all(character.isalnum() or character in ".-_" or _is_mark(character) for character in host)
    return letters and unicodedata.normalize("NFKC", host) == host


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in {"Mn", "Mc"}


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine by its very name (nothing is resolved)."""
    literal = literal_of(host)
    return (host == "localhost" or host.endswith(".localhost")) if literal is None else literal.is_loopback


#: Kinds that a service may be of, and then share with what it hands out.
_NEARBY = frozenset({"loopback", "link-local", "private", "shared"})


@attrs.frozen
class AllowedHosts:
    """The hosts that a user allows by name: ``storage.example.org``, or ``*.example.org`` for all below it."""

    names: frozenset[str] = frozenset()
    below: tuple[str, ...] = ()  # each begins with a dot

    @classmethod
    def of(cls, hosts: Iterable[str]) -> AllowedHosts:
        """Read what a user wrote.

        Raises:
            ConfigurationError: If something is neither a host name, an address nor ``*.`` and a host name.
        """
        if isinstance(hosts, str):
            raise ConfigurationError("allowed hosts are a list", "give ['storage.example.org']")
        names, below = set[str](), list[str]()
        for host in hosts:
            name = normal_host(host.removeprefix("*."))
            if not name or not _is_plain(name) or (host.startswith("*.") and literal_of(name) is not None):
                raise ConfigurationError("an allowed host is no host", "give storage.example.org or *.example.org")
            if host.startswith("*."):
                below.append(f".{name}")
            else:
                names.add(name)
        return cls(frozenset(names), tuple(below))

    def __bool__(self) -> bool:
        return bool(self.names or self.below)

    def __contains__(self, host: str) -> bool:
        name = normal_host(host)
        return name in self.names or name.endswith(self.below)


def normal_host(host: str) -> str:
    """Return a host as it is compared: in lower case, without brackets and the dot of a fully qualified name."""
    return host.strip("[]").lower().removesuffix(".")


@attrs.define
class Vicinity:
    """Where the service is that the user chose, and with it how far what it hands out may lead.

    Args:
        home: Its host.
        allowed: If there are any, what it hands out leads to them or to `home` itself, and nowhere else. One that is
            allowed by its full name may be anywhere; the others must be on the public internet, or near the service.
        kinds: Kinds of addresses at which the service was reached; see `note`.
    """

    home: str = attrs.field(converter=normal_host)
    allowed: AllowedHosts = attrs.field(factory=AllowedHosts)
    kinds: set[str] = attrs.field(factory=set)
    _noted: str = attrs.field(init=False, default="")

    @classmethod
    def of(cls, url: str, allowed: AllowedHosts) -> Vicinity:
        """Begin with what the URL of a service itself tells."""
        vicinity = cls(urlsplit(url).hostname or "", allowed)
        vicinity.note("127.0.0.1" if is_loopback(vicinity.home) else vicinity.home)
        return vicinity

    def note(self, address: str) -> None:
        """Remember an address at which the service was reached, as the socket tells it."""
        if address != self._noted:  # nearly every answer comes from where the one before came from
            self._noted = address
            self.kinds |= _NEARBY & {kind_of(address)}

    def judge(self, method: str, url: str, *, allow_http: bool, longest: int) -> Callable[[str], str]:
        """Refuse a URL that the service handed out, by how it looks; return what judges the addresses it leads to.

        Raises:
            AddressError: If it must not be contacted, wherever its name leads.
        """
        try:
            check_address(url, allow_http=allow_http, longest=longest)
        except ConfigurationError as error:
            raise AddressError(method, url, error.problem) from None
        host = urlsplit(url.strip()).hostname or ""
        problem = self.refusal_of_host(host)
        if problem:
            raise AddressError(method, url, problem)
        return partial(self.refusal, host)

    def refusal(self, host: str, address: str) -> str:
        """Say why a resolved address of `host` must not be contacted; empty if it may be."""
        kind = kind_of(address)
        if not kind or kind in self.kinds or normal_host(host) in self.allowed.names:
            return ""
        return f"{address} is a {kind} address; allow the host by its name if it is meant"

    def refusal_of_host(self, host: str) -> str:
        """Say why `host` must not even be looked up; empty if it may be."""
        if not _is_plain(normal_host(host)):
            return _ODD_HOST
        if self.allowed and normal_host(host) != self.home and host not in self.allowed:
            return "the host is not among those that were allowed"
        if is_loopback(normal_host(host)):
            return self.refusal(host, "127.0.0.1")
        return "" if literal_of(normal_host(host)) is None else self.refusal(host, normal_host(host))
