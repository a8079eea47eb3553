"""Strict JSON: what two parsers could read differently is refused."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from .limits import DEFAULT_LIMITS

LONGEST_NUMBER = 400  # characters

_UNTOLD = frozenset({"", "text/plain", "application/octet-stream"})  # what servers say that do not know better


def may_be_json(content_type: str) -> bool:
    """Whether a ``Content-Type`` says JSON, or nothing that contradicts it.

    Source: RFC 8259, section 11; RFC 6839, section 3.1 (``+json``).
    """
    kind = content_type.partition(";")[0].strip().lower()
    return kind in _UNTOLD or kind.endswith(("/json", "+json"))


def decode_json(body: bytes, *, deepest: int = DEFAULT_LIMITS.answer_depth) -> Any:
    """Decode one JSON document in UTF-8.

    Raises:
        ValueError: If it is not JSON, not UTF-8, has duplicate keys, NaN or infinite numbers, numbers of over 400
            characters, or is nested deeper than `deepest` levels. The text says which.

    Source: RFC 8259, sections 4, 6 and 8.1; RFC 7493 (I-JSON).
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise ValueError("a BOM at character 0")
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError(f"nested deeper than {deepest} levels") from None
    if text.count("[") + text.count("{") > deepest and _depth(document) > deepest:
        raise ValueError(f"nested deeper than {deepest} levels")
    return document


def _depth(document: Any) -> int:
    depth, level = 0, [document]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [child for each in level for child in (each.values() if isinstance(each, dict) else each)]
    return depth


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _real(text: str) -> float:
    number = float(text) if len(text) <= LONGEST_NUMBER else math.inf
    if math.isinf(number):
        raise ValueError("a number is out of range")
    return number


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError("a number is out of range")
    return int(text)


# Made once: `json.loads` makes one for each document, where it is told how.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_real, parse_int=_whole
)
