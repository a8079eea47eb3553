"""What may be shown of secrets, URLs and a peer's text."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, NoReturn, final
from urllib.parse import quote, urlsplit

from .targets import plain_parts

REDACTED = "<redacted>"
SHOWN_URL_LENGTH = 2000  # characters
_CUT = "…"  # stands where a text was shortened
SHOWN_LENGTH = 200  # characters of a peer's text that an error repeats

_QUERY = re.compile(r"""(\bhttps?:(?:\\?/){2}[^\s"'<>?]*)\?[^\s"'<>]*""", re.IGNORECASE)


@final
class Secret:
    """A text that prints as ``<redacted>`` wherever it is printed; `reveal` gives it back.

    It refuses to be pickled or copied into JSON, so that it cannot reach a disk or a log by accident.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str | Secret) -> None:
        self._text: str = text.reveal() if isinstance(text, Secret) else text

    def reveal(self) -> str:
        """Return the secret itself, for the one place that must send it."""
        return self._text

    def __repr__(self) -> str:
        return REDACTED

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return format(REDACTED, spec)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: Any) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: it would end up readable wherever the pickle is kept")


def without_secrets(text: str, secrets: Iterable[Secret | None] = ()) -> str:
    """Leave out what must not be repeated of a peer's text: our secrets, which some quote, and queries of URLs.

    A secret is known as it is and as JSON, a URL or HTML writes it. Where the text was cut, the beginning of a secret
    may stand at its end: that is left out, too, unless it is shorter than four characters, which give nothing away and
    may be anything.
    """
    forms = {form for secret in secrets if secret for form in _forms(secret.reveal())}
    words = sorted(forms, key=len, reverse=True)  # the longest first: it may hold a shorter one
    if words:
        text = re.sub("|".join(map(re.escape, words)), REDACTED, text)
    if text.endswith(_CUT):
        shown = text.removesuffix(_CUT)
        lengths = (count for word in words for count in range(len(word), 3, -1) if shown.endswith(word[:count]))
        there = max(lengths, default=0)
        text = f"{shown[:-there]}{REDACTED}{_CUT}" if there else text
    return _QUERY.sub(rf"\1?{REDACTED}", text)


def _forms(secret: str) -> list[str]:
    inside = [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    slashed = [form.replace("/", "\\/") for form in inside]
    return [secret, *inside, *slashed, quote(secret, safe=""), html.escape(secret)]


def public_url(url: object) -> str:
    """Return scheme, host, port and path of `url`: what an error or a log may show.

    Query, fragment and user info carry signatures and passwords and are dropped. A text that is no
    URL is not shown at all.
    """
    text = str(url)
    plain = plain_parts(text)
    if plain is not None and len(text) < SHOWN_URL_LENGTH:  # nearly always
        return plain[0] + plain[1].partition("?")[0]
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "<not a URL>"
    if not parts.scheme or not host or "]" in host:
        return "<not a URL>"
    shown = printable(host).lower()  # lower once more: what is shown must read the same when it is parsed again
    at = f"[{shown}]" if ":" in host else shown
    return printable(f"{parts.scheme}://{at}{'' if port is None else f':{port}'}{parts.path}", at_most=SHOWN_URL_LENGTH)


def printable(text: str, *, at_most: int = SHOWN_LENGTH) -> str:
    r"""Make a peer's text safe to show: one line, no terminal escapes, no bidi tricks, of bounded length.

    Characters of the Unicode categories C (control, format, surrogate, private, unassigned) and the line and
    paragraph separators become ``\x..``/``\u....`` escapes; what is then longer than `at_most` characters
    is cut. What has been through here once stays as it is, so that an error survives pickling.
    """
    some = text[: at_most + 1]
    if some.isascii() and some.isprintable():  # nearly always
        return some if len(some) <= at_most else f"{some[:at_most]}{_CUT}"
    shown = "".join(_escaped(character) if _is_unsafe(character) else character for character in some)
    return shown if len(shown) <= at_most else f"{shown[:at_most]}{_CUT}"


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character)[0] == "C" or character in "\u2028\u2029"


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
