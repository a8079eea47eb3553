"""Where the storage's redirects lead."""

from __future__ import annotations

import attrs

from ._answers import Answer, Headers, plain_answer, zeros_body
from ._knobs import Knobs

_FOREIGN = {"lan": "http://192.168.77.77", "meta": "http://169.254.169.254"}


def redirect_answer(path: str, query: str, knobs: Knobs, *, here: str, other: str) -> Answer | None:
    """Make the redirect that the knobs ask for; nothing where they ask for none.

    Args:
        path: The request's path, still percent-encoded.
        query: The request's query, which goes along with one hop less.
        knobs: The knobs that are in it.
        here: Root of the server that was asked.
        other: Root of the second origin, or of the first where the second was asked.
    """
    hops = knobs.size("redirect") or 0
    if hops <= 0 and not knobs.flag("loop") and knobs.text("loc") is None:
        return None
    fields = [field for field in query.split("&") if not field.startswith(("redirect=", "loc="))]
    if hops > 1:
        fields.append(f"redirect={hops - 1}")
    origins = {"other": other, "same": here, "http": here.replace("https:", "http:"), **_FOREIGN}
    origin = origins[knobs.text("rto") or "same"]
    target = f"{origin}{path}?{'&'.join(fields)}"
    headers: Headers = [("Location", target if (wish := knobs.text("loc")) is None else wish)]
    headers += [("ETag", '"of-the-redirect"'), ("Content-Type", "text/plain")]
    answer = plain_answer(knobs.size("rcode") or 302, headers, b"elsewhere")
    if (size := knobs.size("rbomb")) is not None:
        answer = attrs.evolve(answer, body=zeros_body(size, filler=b"r"))
    return answer
