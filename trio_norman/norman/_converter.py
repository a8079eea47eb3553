"""The one converter between the service's JSON and our objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from .._sansio.times import Timestamp
from .._sansio.wiremodels import make_converter, read_model
from .._wire._errors import InnerFramesForgotten
from ._models import NormanObject
from ._words import WORDS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_wire(kind: Any, document: Any, *, method: str, url: str, request_id: str | None) -> Any:
    """Read one decoded answer: an object, a sequence or mapping of objects, a number or a text.

    Raises:
        MalformedResponseError: If it has another shape; each problem reads ``what @ path``.
    """
    with InnerFramesForgotten():  # they hold the answer, and what is secret in it
        return read_model(_CONVERTER, kind, document, method=method, url=url, request_id=request_id)


def to_wire(value: Any) -> Any:
    """Write objects, and lists and mappings of them, as the service wants them; secrets as they are.

    A time that is not known is left out, for the service to fill in: it takes no null there.
    """
    return _timely(_REVEALING.unstructure(value))


def shown(value: NormanObject) -> dict[str, Any]:
    """Write an object as the service does, but secrets as ``<redacted>``."""
    written: dict[str, Any] = _CONVERTER.unstructure(value)
    return written


def _timely(written: Any) -> Any:
    if isinstance(written, dict):
        return {name: _timely(each) for name, each in written.items() if not (each is None and name.endswith("_time"))}
    return [_timely(each) for each in written] if isinstance(written, list | tuple) else written


def _time(value: Any, _: Any) -> Timestamp:
    if type(value) is str:
        return Timestamp.parse(value)
    if type(value) not in {int, float}:
        raise TypeError(f"expected a time as text or as seconds, got {type(value).__name__}")
    try:
        return Timestamp.at(_EPOCH + timedelta(seconds=value))
    except OverflowError:
        raise ValueError("a time outside the years 1 to 9999") from None


_CONVERTER, _REVEALING = (
    make_converter(NormanObject, {}, WORDS, reveals=reveals, read_time=_time) for reveals in (False, True)
)
