"""Where key and address of the service come from, in order of precedence."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs

from ..errors import ConfigurationError
from .addresses import check_address
from .redaction import Secret

DEFAULT_BASE_URL = "https://pytrio.com"
CLASSIC_BASE_URL = "https://pytrio.cn"  # where the service was when it spoke the classic dialect alone
_NO_PROFILE = frozenset({"", "default", "(default)"})


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


def exposure(what: str, mode: int, *, is_folder: bool = False) -> str | None:
    """Return what other users may do with a file that holds a key, or with its folder; None if nothing that matters.

    Args:
        what: How it is called.
        mode: Its rights, as `stat` gives them. Of a folder only those to write matter: who may only list it cannot
            read what is in it.
        is_folder: Whether it is one.
    """
    deeds = {"read": not is_folder and mode & 0o044, "write": mode & 0o022}
    if not any(deeds.values()):
        return None
    said = " and ".join(deed for deed, may in deeds.items() if may)
    return f"other users can {said} {what}; chmod {700 if is_folder else 600} makes it private"


def profile_of(environment: Mapping[str, str], state: Mapping[str, str]) -> str:
    """Return the name of the profile whose configuration counts; empty for the one that has no name.

    Args:
        environment: ``PYTRIO_ENV`` is looked at first.
        state: The texts of ``~/.pytrio/env.toml``, whose ``active_env`` counts then.

    Raises:
        ConfigurationError: If it cannot be a name.

    Source: wire/pytrio, section 2.1.
    """
    name = (environment.get("PYTRIO_ENV", "") or state.get("active_env", "")).strip()
    if name in _NO_PROFILE:
        return ""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", name, re.ASCII):
        advice = "PYTRIO_ENV, or active_env in ~/.pytrio/env.toml, names one: letters, digits, _ and -"
        raise ConfigurationError("that cannot be the name of a profile", advice)
    return name


def resolve(
    *,
    api_key: str | Secret | None,
    base_url: str | None,
    environment: Mapping[str, str],
    config: Mapping[str, str],
    allow_http: bool = False,
    is_classic: bool = False,
) -> Settings:
    """Choose key and address: argument, ``TRIO_NORMAN_*``, ``PYTRIO_*``, then the configuration file.

    Unless the service `is_classic`, its old address in the configuration file means the new one, as it does for the
    service's own client.

    Raises:
        ConfigurationError: If there is no key, an empty one, or one that cannot stand in a header.
        AddressError: As `service_root`.
    """
    key = _first(api_key, environment, config, "API_KEY", "api_key")
    default = CLASSIC_BASE_URL if is_classic else DEFAULT_BASE_URL
    filed = config.get("base_url", "")
    if not is_classic and filed.strip().rstrip("/").removesuffix("/api").rstrip("/") == CLASSIC_BASE_URL:
        config = {**config, "base_url": DEFAULT_BASE_URL}
    url = _first(base_url, environment, config, "BASE_URL", "base_url") or default
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


_HOW_TO_GIVE_A_KEY = (
    "pass api_key=..., or set TRIO_NORMAN_API_KEY or PYTRIO_API_KEY, or log in with the service's own client"
)


def checked_key(key: str | Secret | None, *, advice: str = _HOW_TO_GIVE_A_KEY) -> Secret:
    """Return the key as a `Secret`, or raise a `ConfigurationError` that says how to give one."""
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


def norman_root(url: str, *, allow_http: bool) -> str:
    """Return what every path of the Norman API is put behind, without a trailing slash.

    Raises:
        ConfigurationError: If it is no absolute http(s) URL.
        AddressError: If it is plain http to another machine, or has user info.

    Source: wire/norman, section 1.
    """
    check_address(url, allow_http=allow_http, advice="give it as https://host[:port]/v0")
    parts = urlsplit(url.strip())
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


LAUNCH_ORIGIN = "https://api.scale.com"
_LAUNCH_PATH = "/v1/launch"


def launch_root(endpoint: str | None, *, use_path: bool, allow_http: bool) -> str:
    """Return what every path of the Launch API is put behind, without a trailing slash.

    Args:
        endpoint: Address of the service; None for the hosted one.
        use_path: Whether the path of the hosted service is put behind an address of one's own, too.
        allow_http: Whether plain http to other machines is allowed.

    Raises:
        ConfigurationError: If it is no absolute http(s) URL.
        AddressError: If it is plain http to another machine, or has user info.

    Source: wire/launch, section 1.
    """
    if endpoint is None:
        return LAUNCH_ORIGIN + _LAUNCH_PATH
    check_address(endpoint, allow_http=allow_http, advice="give it as https://host[:port][/path]")
    parts = urlsplit(endpoint.strip())
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{_LAUNCH_PATH if use_path else ''}"


def resolve_launch(
    *, api_key: str | Secret | None, endpoint: str | None, environment: Mapping[str, str]
) -> tuple[Secret, str | None]:
    """Choose key and address of the Launch service; the address is None for the hosted one.

    A key that is meant for another service never goes to the hosted one: ``TRIO_NORMAN_API_KEY`` counts only where an
    address is given as well, by argument, ``TRIO_NORMAN_LAUNCH_BASE_URL`` or ``TRIO_NORMAN_BASE_URL``.

    Raises:
        ConfigurationError: If there is no key, an empty one, or one that cannot stand in a header.
    """
    own_url = endpoint or environment.get("TRIO_NORMAN_LAUNCH_BASE_URL") or None
    own_key = api_key or environment.get("TRIO_NORMAN_LAUNCH_API_KEY")
    if own_key:
        return checked_launch_key(own_key), own_url
    url = own_url or environment.get("TRIO_NORMAN_BASE_URL")
    key = environment.get("TRIO_NORMAN_API_KEY") if url else None
    return checked_launch_key(key), url


def checked_launch_key(key: str | Secret | None) -> Secret:
    """Return the key as a `Secret`, or raise a `ConfigurationError` that says how to give one.

    Source: wire/launch, section 2: with Basic authentication the key ends at its first colon.
    """
    advice = "pass api_key=..., or set TRIO_NORMAN_LAUNCH_API_KEY, or TRIO_NORMAN_API_KEY and TRIO_NORMAN_BASE_URL"
    if not key:
        raise ConfigurationError("there is no API key", advice)
    checked = checked_key(key)
    if ":" in checked.reveal():
        raise ConfigurationError("the API key has a colon", "such a key cannot be sent; copy it again")
    return checked
