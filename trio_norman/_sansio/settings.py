"""Where key and address of the service come from, in order of precedence."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs

from ..errors import AddressError, ConfigurationError
from .redaction import Secret

DEFAULT_BASE_URL = "https://pytrio.cn"


@attrs.frozen
class Settings:
    """Key and service root (without ``/api`` and without a trailing slash) for one client."""

    api_key: Secret
    base_url: str


def read_config(text: str) -> dict[str, str]:
    """Return the texts of a ``~/.pytrio/config.toml`` in either known form; empty if it does not parse.

    Source: wire/pytrio, sections 1.2 and 2.1: a file that does not parse counts as not logged in.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError):  # numbers of thousands of digits and deep nesting are no TOMLDecodeError
        return {}
    return {key: value for key, value in table.items() if isinstance(value, str)}


def resolve(
    *,
    api_key: str | Secret | None,
    base_url: str | None,
    environment: Mapping[str, str],
    config: Mapping[str, str],
    allow_http: bool = False,
) -> Settings:
    """Choose key and address: argument, ``TRIO_NORMAN_*``, ``PYTRIO_*``, then the configuration file.

    Raises:
        ConfigurationError: If there is no key, an empty one, or one that cannot stand in a header.
        AddressError: As `service_root`.
    """
    key = _first(api_key, environment, config, "API_KEY", "api_key")
    url = _first(base_url, environment, config, "BASE_URL", "base_url") or DEFAULT_BASE_URL
    return Settings(checked_key(key), service_root(str(url), allow_http=allow_http))


def _first(
    argument: str | Secret | None,
    environment: Mapping[str, str],
    config: Mapping[str, str],
    name: str,
    entry: str,
) -> str | Secret | None:
    if argument is not None:
        return argument
    choices = (environment.get(f"TRIO_NORMAN_{name}"), environment.get(f"PYTRIO_{name}"), config.get(entry))
    return next((choice for choice in choices if choice), None)


def checked_key(key: str | Secret | None) -> Secret:
    """Return the key as a `Secret`, or raise a `ConfigurationError` that says how to give one."""
    advice = "pass api_key=..., or set TRIO_NORMAN_API_KEY or PYTRIO_API_KEY, or log in with the service's own client"
    text = "" if key is None else Secret(key).reveal().strip()
    if not text:
        raise ConfigurationError("there is no API key" if key is None else "the API key is empty", advice)
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError("the API key has characters that no key has", "copy it again, without line breaks")
    return Secret(text)


def service_root(url: str, *, allow_http: bool) -> str:
    """Return a base URL without query, trailing slashes and one trailing ``/api``.

    Raises:
        ConfigurationError: If it is no absolute http(s) URL.
        AddressError: If it is plain http to another machine, or has user info.

    Source: wire/pytrio, section 2.1.
    """
    check_address(url, allow_http=allow_http, advice="give it as https://host[:port][/path]")
    parts = urlsplit(url.strip())
    path = parts.path.rstrip("/").removesuffix("/api").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def check_address(url: str, *, allow_http: bool, advice: str = "") -> None:
    """Refuse a URL that must not be contacted.

    Raises:
        ConfigurationError: If it is no absolute http(s) URL.
        AddressError: If it is plain http to another machine (unless `allow_http`), or has user info.
    """
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError("a URL does not parse", advice) from None
    if parts.scheme not in {"http", "https"} or not host or not url.isprintable():
        raise ConfigurationError("a URL is not an absolute http or https URL", advice)
    if parts.username is not None or parts.password is not None:
        raise AddressError("GET", url, "a URL with a user name or password is not contacted")
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        raise AddressError("GET", url, "plain http outside this machine is refused; use https, or allow http by name")


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine by its very name (nothing is resolved)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
