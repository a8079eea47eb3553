"""Between the service's JSON and our objects."""

from __future__ import annotations

from typing import Any, TypeVar

from .._sansio.times import Timestamp
from .._sansio.wiremodels import WireNames, make_converter, read_model, read_text_time
from .._wire._errors import InnerFramesForgotten
from ._models import CheckpointType, Model

T = TypeVar("T")


class Spelling:
    """How one dialect writes our objects: which fields have other names on the wire."""

    def __init__(self, names: WireNames, *, is_time_a_number: bool = False) -> None:
        read_time = _time if is_time_a_number else read_text_time
        self._converter = make_converter(Model, names, [CheckpointType], read_time=read_time)

    def read(self, kind: type[T], document: Any, *, method: str, url: str, request_id: str | None) -> T:
        """Read one decoded answer.

        Raises:
            MalformedResponseError: If it has another shape; each problem reads ``what @ path``.
        """
        with InnerFramesForgotten():  # they hold the answer, and what is secret in it
            return read_model(self._converter, kind, document, method=method, url=url, request_id=request_id)

    def write(self, model: Model) -> dict[str, Any]:
        """Write an object the way the service writes it."""
        result: dict[str, Any] = self._converter.unstructure(model)
        return result


def _time(value: Any, kind: Any) -> Timestamp:
    return Timestamp.from_unix(value) if type(value) in {int, float} else read_text_time(value, kind)
