"""The one converter between the service's JSON and our objects: strict about types, lenient about unknown things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.cols import is_sequence, list_structure_factory
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from .._sansio.redaction import Secret
from .._sansio.times import Timestamp
from ..errors import MalformedResponseError
from ._models import CheckpointType, Model, UserInfo, Weight

M = TypeVar("M", bound=Model)

# Fields whose name on the wire differs. Source: wire/pytrio, sections 1.3 and 1.4.
_WIRE_NAMES: dict[type[Model], dict[str, str]] = {
    UserInfo: {"user_id": "cuid", "created_at": "createdAt"},
    Weight: {
        "user_id": "userId",
        "task_id": "taskId",
        "run_id": "runId",
        "runner_id": "runnerId",
        "created_at": "createdAt",
        "updated_at": "updatedAt",
    },
}


def from_wire(kind: type[M], document: Any, *, method: str, url: str, request_id: str | None) -> M:
    """Read one decoded answer.

    Raises:
        MalformedResponseError: If it has another shape; each problem reads ``what @ path``.
    """
    try:
        return _CONVERTER.structure(document, kind)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        problems = tuple(cattrs.transform_error(error, format_exception=_problem))
        raise MalformedResponseError(method, url, problems, request_id) from None


def to_wire(model: Model) -> dict[str, Any]:
    """Write an object the way the service writes it."""
    result: dict[str, Any] = _CONVERTER.unstructure(model)
    return result


def _problem(error: BaseException, kind: type | None) -> str:
    match error:
        case KeyError():
            return "a required field is missing"
        case TypeError() | ValueError():
            return str(error)
        case _:
            return f"not a {getattr(kind, '__name__', 'known value')}"


def _strict(kind: type) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not kind:  # a bool is no int here, and "5" is no number
            raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
        return value

    return structure


def _timestamp(value: Any, _: Any) -> Timestamp:
    if type(value) is not str:
        raise TypeError(f"expected a time as text, got {type(value).__name__}")
    return Timestamp.parse(value)


def _secret(value: Any, _: Any) -> Secret:
    if type(value) is not str or not value:
        raise TypeError(f"expected a text, got {'an empty one' if value == '' else type(value).__name__}")
    return Secret(value)


def _word(value: Any, _: Any) -> CheckpointType | str | None:
    if value is None:
        return None
    if type(value) is not str:
        raise TypeError(f"expected str, got {type(value).__name__}")
    return next((kind for kind in CheckpointType if kind == value), value)


def _reader(kind: type[M], converter: cattrs.Converter) -> Callable[[Any, Any], M]:
    names = _WIRE_NAMES.get(kind, {})
    overrides: dict[str, Any] = {field: override(rename=name) for field, name in names.items()}
    read = make_dict_structure_fn(kind, converter, extra=override(omit=True), **overrides)
    known = {names.get(field.name, field.name) for field in attrs.fields(kind)} - {"extra"}
    required = {names.get(field.name, field.name) for field in attrs.fields(kind) if field.default is attrs.NOTHING}

    def structure(value: Any, _: Any) -> M:
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, got {type(value).__name__}")
        unknown = {key: item for key, item in value.items() if key not in known}
        # null says no more than silence does, except where something is required
        told = {key: item for key, item in value.items() if item is not None or key in required}
        return attrs.evolve(read(told, kind), extra=unknown)

    return structure


def _writer(kind: type[Model], converter: cattrs.Converter) -> Callable[[Model], dict[str, Any]]:
    names = _WIRE_NAMES.get(kind, {})
    overrides: dict[str, Any] = {field: override(rename=name) for field, name in names.items()}
    write = make_dict_unstructure_fn(kind, converter, extra=override(omit=True), **overrides)

    def unstructure(model: Model) -> dict[str, Any]:
        return {**write(model), **model.extra}

    return unstructure


def _sequence(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Sequence[Any]]:
    read = list_structure_factory(kind, converter)

    def structure(value: Any, _: Any) -> Sequence[Any]:
        if not isinstance(value, list):
            raise TypeError(f"expected a list, got {type(value).__name__}")
        return tuple(read(value, kind))

    return structure


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)
    for kind in (str, int, float, bool):
        converter.register_structure_hook(kind, _strict(kind))
    converter.register_structure_hook(Timestamp, _timestamp)
    converter.register_structure_hook(Secret, _secret)
    converter.register_structure_hook_func(lambda kind: kind == (CheckpointType | str | None), _word)
    converter.register_unstructure_hook(Timestamp, lambda stamp: stamp.raw)
    converter.register_unstructure_hook(Secret, str)
    converter.register_unstructure_hook(CheckpointType, lambda word: word.value)
    converter.register_structure_hook_factory(_is_model, _reader)
    converter.register_unstructure_hook_factory(_is_model, _writer)
    converter.register_structure_hook_factory(is_sequence, _sequence)
    return converter


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Model)


_CONVERTER = _make_converter()
