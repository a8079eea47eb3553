"""The one converter between the service's JSON and our objects."""

from __future__ import annotations

from typing import Any, TypeVar

from .._sansio.wiremodels import make_converter, read_model
from .._wire._client import JsonAnswer
from .._wire._errors import InnerFramesForgotten
from ._models import BatchStatus, BatchUpload, EndpointStatus, EndpointType, Model

M = TypeVar("M", bound=Model)

_WIRE_NAMES: dict[type[Model], dict[str, str]] = {BatchUpload: {"url": "signedUrl"}}


def from_wire(kind: type[M], answer: JsonAnswer, *, method: str) -> M:
    """Read one decoded answer.

    Raises:
        MalformedResponseError: If it has another shape; each problem reads ``what @ path``.
    """
    with InnerFramesForgotten():  # they hold the answer, and what is secret in it
        return read_model(
            _CONVERTER, kind, answer.document, method=method, url=answer.url, request_id=answer.request_id
        )


def to_wire(model: Model) -> dict[str, Any]:
    """Write an object the way the service writes it."""
    result: dict[str, Any] = _CONVERTER.unstructure(model)
    return result


_CONVERTER = make_converter(Model, _WIRE_NAMES, [EndpointType, EndpointStatus, BatchStatus])
