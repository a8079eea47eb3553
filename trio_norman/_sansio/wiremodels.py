"""Answers of a service as frozen objects: strict about types, lenient about unknown things.

A service derives its own `Model`, names the fields that are called otherwise on the wire, and has one converter.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum, StrEnum
from functools import partial
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs import AttributeValidationNote
from cattrs.cols import is_mapping, is_sequence, list_structure_factory, mapping_structure_factory
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from ..errors import MalformedResponseError
from .redaction import Secret
from .times import Timestamp

M = TypeVar("M")

#: For each class, its fields that have another name on the wire.
WireNames = Mapping[type, Mapping[str, str]]

#: Marks, in its metadata, a field that is written only where it says something.
LATER = "trio_norman.later"


def read_model(
    converter: cattrs.Converter, kind: type[M], document: Any, *, method: str, url: str, request_id: str | None
) -> M:
    """Read one decoded answer.

    Raises:
        MalformedResponseError: If it has another shape; each problem reads ``what @ path``.
    """
    try:
        return converter.structure(document, kind)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        raise MalformedResponseError(method, url, problems_of(error), request_id) from None


def problems_of(error: Exception) -> tuple[str, ...]:
    """Return what a converter has found wrong; each problem reads ``what @ path``."""
    return tuple(cattrs.transform_error(error, format_exception=_problem))


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


def read_text_time(value: Any, _: Any) -> Timestamp:
    """Read a time that is written as text; raises `TypeError` or `ValueError` for anything else."""
    if type(value) is not str:
        raise TypeError(f"expected a time as text, got {type(value).__name__}")
    return Timestamp.parse(value)


def _secret(value: Any, _: Any) -> Secret:
    if type(value) is not str or not value:
        raise TypeError(f"expected a text, got {'an empty one' if value == '' else type(value).__name__}")
    return Secret(value)


def _word(words: type[StrEnum | IntEnum], *, or_none: bool) -> Callable[[Any, Any], Any]:
    wanted = _plain(words)

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not wanted and not (value is None and or_none):
            raise TypeError(f"expected {wanted.__name__}, got {type(value).__name__}")
        return next((word for word in words if word == value), value)

    return structure


def _plain(words: type[StrEnum | IntEnum]) -> type:
    return int if issubclass(words, IntEnum) else str


def _reader(kind: type[Any], converter: cattrs.Converter, names: Mapping[str, str]) -> Callable[[Any, Any], Any]:
    overrides: dict[str, Any] = {field: override(rename=name) for field, name in names.items()}
    read = make_dict_structure_fn(kind, converter, extra=override(omit=True), **overrides)
    known = {names.get(field.name, field.name) for field in attrs.fields(kind)} - {"extra"}
    required = {names.get(field.name, field.name) for field in attrs.fields(kind) if field.default is attrs.NOTHING}

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, got {type(value).__name__}")
        unknown = {key: item for key, item in value.items() if key not in known}
        # null says no more than silence does, except where something is required
        told = {key: item for key, item in value.items() if item is not None or key in required}
        try:
            return attrs.evolve(read(told, kind), extra=unknown)
        except cattrs.ClassValidationError as error:
            _use_wire_names(error, names)
            raise

    return structure


def _use_wire_names(error: cattrs.ClassValidationError, names: Mapping[str, str]) -> None:
    """Let the places that an error notes be called what the service calls them."""
    for each in error.exceptions:
        notes = getattr(each, "__notes__", [])
        for at, note in enumerate(notes):
            if isinstance(note, AttributeValidationNote) and note.name in names:
                notes[at] = AttributeValidationNote(str(note), names[note.name], note.type)


def _writer(kind: type[Any], converter: cattrs.Converter, names: Mapping[str, str]) -> Callable[[Any], dict[str, Any]]:
    overrides: dict[str, Any] = {
        field.name: override(rename=names.get(field.name), omit_if_default=LATER in field.metadata)
        for field in attrs.fields(kind)
    }
    overrides["extra"] = override(omit=True)
    write = make_dict_unstructure_fn(kind, converter, **overrides)

    def unstructure(model: Any) -> dict[str, Any]:
        written = write(model)
        return {**written, **{name: value for name, value in model.extra.items() if name not in written}}

    return unstructure


def _sequence(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Sequence[Any]]:
    read = list_structure_factory(kind, converter)

    def structure(value: Any, _: Any) -> Sequence[Any]:
        if not isinstance(value, list):
            raise TypeError(f"expected a list, got {type(value).__name__}")
        return tuple(read(value, kind))

    return structure


def _mapping(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Mapping[str, Any]]:
    read = mapping_structure_factory(kind, converter)

    def structure(value: Any, _: Any) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, got {type(value).__name__}")
        return dict(read(value, kind))

    return structure


def make_converter(
    model: type,
    names: WireNames,
    words: Sequence[type[StrEnum | IntEnum]] = (),
    *,
    reveals: bool = False,
    read_time: Callable[[Any, Any], Timestamp] = read_text_time,
) -> cattrs.Converter:
    """Make the converter of one service.

    Args:
        model: Base of its objects: an attrs class with a field `extra`, which takes the fields that nobody knows.
        names: Fields whose name on the wire differs.
        words: Enumerations; where a field is ``Enumeration | str``, or that or None, an unknown word stays text; with
            ``int`` in place of ``str`` for enumerations of numbers.
        reveals: Whether secrets are written as they are, for requests; otherwise as ``<redacted>``.
        read_time: Reads a time, given its value and the wanted class; it is written as it was written.
    """
    converter = cattrs.Converter(detailed_validation=True)
    for kind in (str, int, float, bool):
        converter.register_structure_hook(kind, _strict(kind))
    converter.register_structure_hook(Timestamp, read_time)
    converter.register_structure_hook(Secret, _secret)
    converter.register_unstructure_hook(Timestamp, lambda stamp: stamp.raw)
    converter.register_unstructure_hook(Secret, (lambda secret: secret.reveal()) if reveals else str)
    for each in words:
        for either, or_none in ((each | _plain(each), False), (each | _plain(each) | None, True)):
            converter.register_structure_hook_func(partial(operator.eq, either), _word(each, or_none=or_none))
        converter.register_unstructure_hook(each, lambda word: word.value)

    def is_model(kind: Any) -> bool:
        return isinstance(kind, type) and issubclass(kind, model)

    converter.register_structure_hook_factory(is_model, lambda kind: _reader(kind, converter, names.get(kind, {})))
    converter.register_unstructure_hook_factory(is_model, lambda kind: _writer(kind, converter, names.get(kind, {})))
    converter.register_structure_hook_factory(is_sequence, _sequence)
    converter.register_structure_hook_factory(is_mapping, _mapping)
    return converter
