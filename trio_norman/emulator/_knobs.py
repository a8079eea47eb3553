"""The faults that a storage URL can ask for in its query.

Sizes take the suffixes ``k``, ``m``, ``g``, ``t`` (1024 each), times are seconds, a flag is on unless ``0``.
A fault *at k* strikes after `k` bytes of this answer's body, with ``abs=1`` at offset `k` of the object.
Knobs combine. A signature does not cover them, so they may be appended to a signed URL.

=================  ====================================================================================================
which requests
``times=n``        faults strike the first n requests for this path with these knobs only
``until=s``        ... only until s seconds have gone by since the first request, for any path, with this very value
``p=0.3``          ... and each of them with this probability, by luck that follows from the seed and ``pseed=``
the cut
``reset=k``        RST at k (a close, on a stream that knows no RST)
``trunc=k``        close at k; over TLS with ``ragged=1`` without its closing alert
``stall=k``        silence from k on, or ``drip=B/s``
``rate=B/s``       bytes per second of one answer
``drop=fin|rst``   close or reset after the whole answer, although keep-alive was promised
``close=1``        no length: the body ends with the connection
``http10=1``       the same, from an HTTP/1.0 server
the head
``hdelay=s``       wait before the head
``hdrip=s``        send the head byte by byte, with pauses
``hdrsize=n``      one header of n bytes
``hdrs=n``         n more headers
``hdr=Name:value`` one more header line, sent raw, control characters included; may be repeated
``interim=n``      n interim answers (103) first
``cl=text``        this Content-Length
``dupcl=1``        two Content-Lengths that differ
``tecl=1``         Content-Length beside Transfer-Encoding (use it with ``chunked=1``)
``raw=text``       send these bytes in place of any answer, and close
``nohead=1``       close instead of an answer; with ``reset=0`` as well: RST
the status
``status=n``       answer with this status; ``ra=`` (Retry-After: text, ``date+2``, ``date-5``; may be repeated),
                   ``sbody=`` (a size, or the text itself), ``sct=`` (its content type)
``headstatus=n``   the same, for HEAD only
``fail200=1``      200 with an error document
``redirect=n``     n hops; ``rcode=`` status, ``rto=other|same|lan|meta`` where to (``other``: the second origin, and
                   back), ``loc=`` this very Location, ``rbomb=size`` a body; ``loop=1`` for ever
the signature
``expire=s``       refuse s seconds after the first request with this URL; ``expire_cut=1`` also cut what is being sent
``sig=x``          take the signature for wrong
ranges
``norange=1``      ignore Range; ``noar=1``: ``Accept-Ranges: none``
``shift=n``        send other bytes (n further on, or back) and say so; ``crshift=n`` only say so
``nocr=1``         206 without Content-Range; ``cr=text`` this one; ``total=n`` this total in it
``rangeshort=n``   206 with n bytes of the range only; ``rangelong=n`` with n bytes more than asked for
``force206=1``     206 although no range was asked for
``r416=1|nocr``    416 to every range; ``nocr``: without Content-Range
``multipart=1``    multipart/byteranges for one range
``noifrange=1``    ignore If-Range; ``ifrange200=1`` never grant it
the body
``shortcl=k``      announce and send the first k bytes only
``overcl=n``       n bytes more than announced, then close
``corrupt=k``      invert the byte at offset k of the object
``zero=k``         zeros from offset k of the object on
``chunked=1``      chunked; ``chunkext=n`` an extension of n bytes on each chunk; ``trailers=n`` so many trailer lines
``badchunk=k``     chunked, broken at k; ``badkind=size|digits|crlf`` how
``gzip=1``         gzip, whole object; ``range``: the range's bytes gzipped; ``lie``: says gzip and is not
``bomb=n``         a gzip body that unpacks to n zeros
the object
``etag=weak``      ``none``, ``rand``, or another text
``lm=s``           last modified s seconds before each answer; ``none``: not told
``flip=n``         another version of the object after n requests, ``each``: at each; ``flipc=0``: the ETag only
``size=n``         the object has this size
``nodigest=1``     no digests; ``digest=1``: digests for objects above 1 GiB too; ``sum=bad``: wrong ones
=================  ====================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

import attrs

# What the values are; a value of another kind is refused at once, like a misspelt name.
_SIZES = """
times reset trunc stall drip rate hdrsize hdrs interim status headstatus redirect rcode rbomb shift crshift rangeshort
rangelong shortcl overcl corrupt zero chunkext trailers badchunk bomb size
"""
_NUMBERS = "p until hdelay hdrip expire"
_TEXTS = """
pseed drop close http10 abs ragged hdr cl dupcl tecl nohead ra sbody sct fail200 rto loc loop expire_cut sig norange
noar nocr cr total force206 raw r416 multipart noifrange ifrange200 chunked badkind gzip etag lm flip flipc nodigest
digest sum
"""
_CHOICES = {
    "drop": "fin rst",
    "rto": "other same http lan meta",
    "r416": "1 nocr",
    "badkind": "size digits crlf",
    "gzip": "1 range lie",
    "sum": "bad",
}
# These describe the object, the link or the URL's life, so `times` and `p` do not switch them.
_STANDING = "etag lm flip flipc size nodigest digest expire expire_cut abs"
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parsed_size(text: str) -> int:
    """Read ``64k`` and its like; raises `ValueError`."""
    unit = _UNITS.get(text[-1:].lower())
    if unit is None:
        return int(text)
    count = float(text[:-1])
    if not math.isfinite(count):
        raise ValueError(f"no size: {text!r}")
    return int(count * unit)


def check_knob(name: str, value: str) -> None:
    """Raise `ValueError` for a knob that does not exist, or not with this value: it would pass for a good server."""
    if name in _SIZES.split():
        parsed_size(value)
    elif name in _NUMBERS.split():
        float(value)
    elif name not in _TEXTS.split():
        raise ValueError(f"there is no fault knob {name!r}")
    elif name in _CHOICES and value not in _CHOICES[name].split():
        raise ValueError(f"{name} is one of: {_CHOICES[name]}")
    elif name == "flip" and value != "each":
        int(value)
    elif name == "lm" and value != "none":
        float(value)


def knob_query(knobs: Mapping[str, object]) -> str:
    """Write knobs as a query; a true flag is written as 1, a list as repeated fields. Raises `ValueError`."""
    fields = []
    for name, value in knobs.items():
        for each in value if isinstance(value, (list, tuple)) else (value,):
            text = str(int(each) if isinstance(each, bool) else each)
            check_knob(name, text)
            fields.append(f"{name}={quote(text, safe='', encoding='latin-1')}")
    return "&".join(fields)


@attrs.frozen
class Knobs:
    """The fault knobs of one request. Values are text in latin-1, so that any byte can be asked for."""

    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def standing(self) -> Knobs:
        """Only the knobs that hold for every request."""
        return Knobs(tuple(pair for pair in self.pairs if pair[0] in _STANDING.split()))

    def text(self, name: str) -> str | None:
        """Give a knob's last value; nothing where it is not set."""
        for each, value in reversed(self.pairs):
            if each == name:
                return value
        return None

    def texts(self, name: str) -> list[str]:
        """Give all values of a knob."""
        return [value for each, value in self.pairs if each == name]

    def size(self, name: str) -> int | None:
        """Give a knob's value as a number of bytes, or of whatever it counts."""
        text = self.text(name)
        return None if text is None else parsed_size(text)

    def number(self, name: str) -> float | None:
        """Give a knob's value as seconds, or a probability."""
        text = self.text(name)
        return None if text is None else float(text)

    def flag(self, name: str) -> bool:
        """Tell whether a knob is set to anything but ``0``."""
        return self.text(name) not in (None, "", "0")


def split_query(query: str) -> tuple[dict[str, str], Knobs]:
    """Divide a query into the signature's fields and the knobs.

    Raises:
        ValueError: For a name that is neither, and for a knob's impossible value.
    """
    signature: dict[str, str] = {}
    pairs = []
    for field in query.split("&") if query else ():
        name, _, value = field.partition("=")
        text = unquote_to_bytes(value.replace("+", " ")).decode("latin-1")
        if name.startswith("q-"):
            signature[name] = text
        else:
            check_knob(name, text)
            pairs.append((name, text))
    return signature, Knobs(tuple(pairs))
