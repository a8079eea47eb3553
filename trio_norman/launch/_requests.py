"""`EndpointRequest`: what an endpoint is asked, checked before anything is sent."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

import attrs

from .._sansio.redaction import Secret
from ..errors import ConfigurationError

#: Headers that are ours to send: a second one of them would be obeyed in place of ours.
RESERVED_HEADERS = frozenset(
    {"authorization", "host", "content-type", "content-length", "transfer-encoding", "accept", "accept-encoding",
     "connection", "cookie", "proxy-authorization", "te", "trailer", "upgrade", "expect"}
)  # fmt: skip
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_TEXTS = ("url", "request_id", "callback_url", "destination_path", "callback_auth_username", "callback_auth_cert")
_PARTS = {"basic": ("username", "password"), "mtls": ("cert", "key")}


def _name_or_new(given: str | None) -> str:
    return str(uuid.uuid4()) if given is None else given


def _dict_of(given: Mapping[str, str] | None) -> dict[str, str]:
    return dict(given or {})


def _secret_or_none(text: str | Secret | None) -> Secret | None:
    if text is not None and not isinstance(text, str | Secret):
        raise ConfigurationError("callback_auth_password and callback_auth_key are texts", "give one, or leave it out")
    return None if text is None else Secret(text)


@attrs.frozen
class EndpointRequest:
    """One question to an endpoint.

    Args:
        url: File whose bytes are the model's input. Exactly one of `url` and `args` is given.
        args: The model's arguments: anything that is JSON, usually an object. Tuples become arrays.
        callback_url: Where the service delivers the answer of an asynchronous task, besides keeping it.
        callback_auth_kind: ``"basic"``, with `callback_auth_username` and `callback_auth_password`, or ``"mtls"``,
            with `callback_auth_cert` and `callback_auth_key`.
        callback_auth_username: See there.
        callback_auth_password: See there.
        callback_auth_cert: See there.
        callback_auth_key: See there.
        return_pickled: Have the answer stored as a pickle, of which `result_url` tells the place.
        request_id: Your own name for the request, never sent. A random one by default: unique in a batch.
        extra_headers: Further headers of the request; none of those that the client sends itself.
        destination_path: Path in the model's container in place of the usual one (sync and streaming only).
        timeout_seconds: How long the service goes on retrying, above 0 (sync and streaming only; 10 by default). It
            does not cut a prediction that runs.
        num_retries: How often it tries again, at least 0 (sync and streaming only; 8 by default).

    Raises:
        ConfigurationError: If the parts do not fit each other, or `args` is not JSON. It is a `ValueError` too.

    Source: wire/launch, sections 5 and 6.
    """

    url: str | None = None
    args: Any = attrs.field(default=None, hash=False)
    callback_url: str | None = None
    callback_auth_kind: str | None = None
    callback_auth_username: str | None = None
    callback_auth_password: Secret | None = attrs.field(default=None, converter=_secret_or_none)
    callback_auth_cert: str | None = None
    callback_auth_key: Secret | None = attrs.field(default=None, converter=_secret_or_none)
    return_pickled: bool = False
    request_id: str = attrs.field(default=None, converter=_name_or_new)
    extra_headers: Mapping[str, str] = attrs.field(default=None, converter=_dict_of, repr=False, hash=False)
    destination_path: str | None = None
    timeout_seconds: float | None = None
    num_retries: int | None = None

    def __attrs_post_init__(self) -> None:
        for name in _TEXTS:
            if (text := getattr(self, name)) is not None and not (isinstance(text, str) and text):
                raise ConfigurationError(f"{name} is a text that is not empty", "or leave it out")
        if (self.url is None) == (self.args is None):
            raise ConfigurationError("a request has exactly one of url and args", "give the one, leave out the other")
        if type(self.return_pickled) is not bool:
            raise ConfigurationError("return_pickled is neither True nor False", "leave it out for False")
        encoded(self.args, what="args")
        self._check_callback()
        check_headers(self.extra_headers)
        seconds = self.timeout_seconds
        if seconds is not None and (type(seconds) not in (int, float) or not 0 < seconds < float("inf")):
            raise ConfigurationError("timeout_seconds is no number above 0", "give the seconds, or leave it out")
        if self.num_retries is not None and (type(self.num_retries) is not int or self.num_retries < 0):
            raise ConfigurationError("num_retries is not a whole number from 0 on", "leave it out for the usual one")

    def _check_callback(self) -> None:
        given = {
            part: value
            for names in _PARTS.values()
            for part in names
            if (value := self._callback_part(part)) is not None
        }
        kind = self.callback_auth_kind
        if kind is None and given:
            raise ConfigurationError("callback_auth_* is given without callback_auth_kind", "give 'basic' or 'mtls'")
        if kind is None:
            return
        if kind not in _PARTS:
            raise ConfigurationError("callback_auth_kind is not known", "give 'basic' or 'mtls'")
        if set(given) != set(_PARTS[kind]) or not all(given.values()):
            wanted = " and ".join(f"callback_auth_{part}" for part in _PARTS[kind])
            raise ConfigurationError(f"callback_auth_kind {kind!r} goes with {wanted}", "give both, and no others")

    def _callback_part(self, name: str) -> str | None:
        value = getattr(self, f"callback_auth_{name}")
        return value.reveal() if isinstance(value, Secret) else value

    @property
    def callback_auth(self) -> dict[str, str] | None:
        """The object that is sent for it, with its secrets in clear; None without a kind."""
        if self.callback_auth_kind is None:
            return None
        parts = {part: self._callback_part(part) or "" for part in _PARTS[self.callback_auth_kind]}
        return {"kind": self.callback_auth_kind, **parts}

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What is sent and must not be repeated."""
        return tuple(each for each in (self.callback_auth_password, self.callback_auth_key) if each is not None)

    def payload(self, *, is_async: bool) -> dict[str, Any]:
        """Return the JSON object that is sent.

        Raises:
            ConfigurationError: If it has parts that this way of asking would silently ignore.

        Source: wire/launch, section 5: which fields each of the three routes obeys.
        """
        if is_async:
            ignored = {name: getattr(self, name) for name in ("destination_path", "timeout_seconds", "num_retries")}
            named = {"callback_url": self.callback_url, "callback_auth": self.callback_auth}
        else:
            ignored = {"callback_url": self.callback_url, "callback_auth_kind": self.callback_auth_kind}
            named = {name: getattr(self, name) for name in ("destination_path", "timeout_seconds", "num_retries")}
        refused = [name for name, value in ignored.items() if value is not None]
        if refused:
            kind = "an asynchronous" if is_async else "a synchronous or streaming"
            raise ConfigurationError(f"{kind} endpoint does not obey {' and '.join(refused)}", "leave it out")
        every = {"url": self.url, "args": self.args, **named}
        return {
            **{name: value for name, value in every.items() if value is not None},
            "return_pickled": self.return_pickled,
        }


def encoded(value: Any, *, what: str) -> bytes:
    """Return JSON in UTF-8.

    Raises:
        ConfigurationError: If `value` cannot be JSON: bytes, NaN, infinities, other objects, or loops.
    """
    try:
        return _ENCODER.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        problem = "nested too deep" if isinstance(error, RecursionError) else type(error).__name__
    raise ConfigurationError(f"{what} cannot be written as JSON ({problem})", "give what JSON has: no bytes, no NaN")


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse headers that are not the caller's to send, and what would break out of a header line.

    Raises:
        ConfigurationError: Naming the header, never its value.
    """
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise ConfigurationError("extra_headers has a name that is none", "a name has letters, digits and hyphens")
        if name.lower() in RESERVED_HEADERS:
            raise ConfigurationError(f"extra_headers sets {name}, which the client sends itself", "leave it out")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ConfigurationError(
                f"extra_headers has a value for {name} that no header can have", "plain ASCII only"
            )
