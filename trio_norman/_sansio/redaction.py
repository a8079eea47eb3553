"""What may be shown of secrets, URLs and a peer's text."""

from __future__ import annotations

import base64
import html
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Set
from typing import Any, NoReturn, final
from urllib.parse import quote, urlsplit

from .targets import plain_parts

REDACTED = "<redacted>"
SHOWN_URL_LENGTH = 2000  # characters
_CUT = "…"  # stands where a text was shortened
SHOWN_LENGTH = 200  # characters of a peer's text that an error repeats

#: So many characters of a secret in a row are no coincidence, and enough to be of use to somebody.
PIECE_LENGTH = 12
_SHORTEST_BEGINNING = 4  # characters of a secret where a text was cut
_SHORTEST_ENCODED = 8  # characters: what encodes less than six bytes may be anything

_URL = re.compile(r"""\bhttps?:(?:\\?/){2}[^\s"'<>]*""", re.IGNORECASE)
_PERCENT = re.compile("%[0-9A-F]{2}")


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

    A secret is known as it is, as JSON, Python, a URL or HTML writes it, in hex and in base64, and so is any piece of
    these that has `PIECE_LENGTH` characters: some services quote a key with its end starred out. Where the text was
    cut, the beginning of a secret may stand at its end: that is left out, too, unless it is shorter than four
    characters, which give nothing away and may be anything.
    """
    return Redaction(secrets).of(text) if text else text


class Redaction:
    """What `without_secrets` does, for many texts: how secrets are written is worked out once.

    Like a `Secret`, it shows nothing of them and is not pickled.
    """

    __slots__ = ("_forms", "_pieces", "_short")

    def __init__(self, secrets: Iterable[Secret | None]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret.reveal())}
        self._forms, self._short = forms, [form for form in forms if len(form) < PIECE_LENGTH]
        self._pieces = {form[at : at + PIECE_LENGTH] for form in forms for at in range(len(form) - PIECE_LENGTH + 1)}

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Redaction is not pickled: the secrets that it knows would end up readable in the pickle")

    def of(self, text: str) -> str:
        """Leave out of a text what must not be repeated."""
        spans = [*_queries_in(text), *_pieces_in(text, self._pieces), *_cut_in(text, self._forms)]
        for form in self._short:
            spans += [(found.start(), found.end()) for found in re.finditer(re.escape(form), text)]
        shown, done = list[str](), 0
        for start, stop in sorted(spans):
            if start > done or not shown:  # else it goes on where the last one ended
                shown += [text[done:start], REDACTED]
            done = max(done, stop)
        return "".join([*shown, text[done:]])


def _queries_in(text: str) -> Iterator[tuple[int, int]]:
    for found in _URL.finditer(text):
        start = text.find("?", found.start(), found.end()) + 1
        if 0 < start < found.end():
            yield start, found.end()


def _pieces_in(text: str, pieces: Set[str]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for at in range(len(text) - PIECE_LENGTH + 1 if pieces else 0):
        if text[at : at + PIECE_LENGTH] in pieces:
            start = spans.pop()[0] if spans and at <= spans[-1][1] else at
            spans.append((start, at + PIECE_LENGTH))
    return spans


def _cut_in(text: str, forms: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Find the beginning of a secret where the text was cut; a longer one than these is found as a piece."""
    if text.endswith(_CUT):
        shown = text.removesuffix(_CUT)
        for form in forms:
            for count in range(_SHORTEST_BEGINNING, min(len(form), PIECE_LENGTH)):
                if shown.endswith(form[:count]):
                    yield len(shown) - count, len(shown)


def _forms(secret: str) -> set[str]:
    """Return how texts write a secret: as it is, in other texts, in texts that stand in texts, and encoded."""
    once = set(_written(secret))
    raw = secret.encode(errors="surrogatepass")
    encoded = {raw.hex(), raw.hex().upper(), *_in_base64(raw)}
    escaped = {form for each in once for form in _written(each)}
    return once | escaped | {form for form in encoded if len(form) >= _SHORTEST_ENCODED}


def _written(text: str) -> Iterator[str]:
    yield text
    for inside in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]):
        yield inside
        yield inside.replace("/", "\\/")
    for escaped in (quote(text, safe="", errors="replace"), quote(text, errors="replace")):
        yield escaped
        yield _PERCENT.sub(lambda found: found[0].lower(), escaped)
    yield html.escape(text)


def _in_base64(raw: bytes) -> Iterator[str]:
    """Spell it in both alphabets, alone, as a user name, and behind anything: groups of three begin at three places."""
    for each in (raw, raw + b":", raw[1:], raw[2:]):
        usual = base64.b64encode(each).decode()
        yield from (usual, usual.rstrip("="), usual.replace("/", "\\/"), base64.urlsafe_b64encode(each).decode())


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
