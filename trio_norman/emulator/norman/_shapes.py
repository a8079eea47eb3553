"""The objects of the protocol: which fields they have, of which kind, and what stands in for one that is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

import attrs

from .._clock import iso_date
from ._refusals import invalid

Wire: TypeAlias = dict[str, Any]  # an object as it is sent
_Kind: TypeAlias = Callable[[Any, str], Any]  # value, and where it stands -> value; raises `RefusedError`

_REQUIRED = object()
_NOW = object()
_EMPTY_LIST = object()
_EMPTY_MAP = object()


@attrs.frozen
class _Field:
    kind: _Kind
    default: Any = _REQUIRED
    is_nullable: bool = False


def read(shape: str, raw: object, now: float, at: str = "") -> Wire:
    """Check an object against its shape; give it with all its fields, and no others. Raises `RefusedError`."""
    at = at or shape
    if not isinstance(raw, dict):
        raise invalid(f"{at} must be an object")
    return {name: _read_field(field, raw.get(name, _REQUIRED), now, f"{at}.{name}") for name, field in _of(shape)}


def read_list(shape: str, raw: object, now: float) -> list[Wire]:
    """Check a list of objects; raises `RefusedError`."""
    if not isinstance(raw, list):
        raise invalid(f"a list of {shape} is expected")
    return [read(shape, each, now, f"{shape}[{position}]") for position, each in enumerate(raw)]


def cut_to(shape: str, whole: Mapping[str, Any]) -> Wire:
    """Give those fields of an object that a smaller shape has."""
    return {name: whole[name] for name, _ in _of(shape)}


def _of(shape: str) -> list[tuple[str, _Field]]:
    return list(_SHAPES[shape].items())


def _read_field(field: _Field, value: Any, now: float, at: str) -> Any:
    if value is _REQUIRED:
        return _default(field.default, now, at)
    if value is None:
        if field.is_nullable:
            return None
        raise invalid(f"{at} must not be null")
    if isinstance(field.kind, _ListOf):
        return field.kind.read(value, now, at)
    return field.kind(value, at)


def _default(default: Any, now: float, at: str) -> Any:
    if default is _REQUIRED:
        raise invalid(f"{at} is missing")
    if default is _NOW:
        return iso_date(now)
    if default is _EMPTY_LIST:
        return []
    return {} if default is _EMPTY_MAP else default


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise invalid(f"{at} must be a string")
    return value


def _number(value: Any, at: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise invalid(f"{at} must be a whole number, not negative")
    return value


def _truth(value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(f"{at} must be true or false")
    return value


def _time(value: Any, at: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return iso_date(value)
    try:
        datetime.fromisoformat(_text(value, at))
    except ValueError:
        raise invalid(f"{at} must be a date and a time") from None
    return str(value)


def _texts(value: Any, at: str) -> list[str]:
    if not isinstance(value, list):
        raise invalid(f"{at} must be a list")
    return [_text(each, at) for each in value]


def _pairs(value: Any, at: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise invalid(f"{at} must be an object")
    return {name: _text(each, f"{at}.{name}") for name, each in value.items()}


def _one_of(words: str) -> _Kind:
    def kind(value: Any, at: str) -> str:
        if value not in words.split():
            raise invalid(f"{at} must be one of: {words}")
        return str(value)

    return kind


@attrs.frozen
class _ListOf:
    shape: str

    def __call__(self, value: Any, at: str) -> Any:
        return self.read(value, 0.0, at)

    def read(self, value: Any, now: float, at: str) -> list[Wire]:
        if not isinstance(value, list):
            raise invalid(f"{at} must be a list")
        return [read(self.shape, each, now, f"{at}[{position}]") for position, each in enumerate(value)]


_ID = _Field(_text, "0")
_STR = _Field(_text)
_STR_OR_NULL = _Field(_text, None, is_nullable=True)
_SINCE = _Field(_time, _NOW)
_MODALITY = _Field(_one_of("Audio File Float Image Integer Text Video"))
_MAP = _Field(_pairs, _EMPTY_MAP)


def _list(shape: str) -> _Field:
    return _Field(_ListOf(shape), _EMPTY_LIST)


_PREVIEW = {
    "id": _ID,
    "account_id": _STR,
    "model_base_id": _ID,
    "version_label": _STR,
    "active": _Field(_truth, True),
    "build_status": _Field(_one_of("InProgress Completed Failed"), None, is_nullable=True),
    "creation_time": _SINCE,
    "short_description": _STR,
    "assets": _list("ModelAsset"),
    "tags": _list("AggregateTag"),
}
_PAIRING = {"account_id": _STR, "model_id": _STR, "file_size_in_bytes": _Field(_number)}
_LINKS = {"account_id": _STR, "model_id": _STR, "links": _Field(_texts)}
_DEVICE = {"device_id": _STR_OR_NULL}
_SECOND = {"account_id": _STR, "second_token": _STR_OR_NULL}

_SHAPES: dict[str, dict[str, _Field]] = {
    "Account": {"id": _ID, "creation_time": _SINCE, "name": _STR},
    "AccountChange": {"name": _STR_OR_NULL},
    "ModelPreview": _PREVIEW,
    "Model": _PREVIEW
    | {
        "name": _STR,
        "model_class": _STR,
        "url": _STR_OR_NULL,
        "request_type": _Field(_one_of("Get Post Put")),
        "model_type": _Field(_one_of("Api Pytorch_jit Transformer_hf")),
        "hosting_location": _Field(_one_of("External Internal")),
        "output_format": _Field(_one_of("Binary Json Text")),
        "long_description": _STR,
        "inputs": _list("ModelSignature"),
        "outputs": _list("ModelSignature"),
        "http_headers": _MAP,
        "user_added_tags": _list("ModelTag"),
    },
    "ModelAsset": {"id": _ID, "account_id": _STR, "model_id": _ID, "asset_name": _STR},
    "ModelTag": {"id": _ID, "account_id": _ID, "model_id": _ID, "name": _STR},
    "AggregateTag": {"model_id": _STR, "name": _STR, "tag_count": _Field(_number)},
    "ModelSignature": {
        "id": _ID,
        "model_id": _ID,
        "signature_type": _Field(_one_of("Input Output")),
        "data_modality": _MODALITY,
        "data_domain": _STR,
        "data_encoding": _STR,
        "receive_format": _Field(_one_of("File Link Primitive")),
        "http_location": _Field(_one_of("Body Path Query")),
        "hidden": _Field(_truth),
        "display_title": _STR,
        "default_value": _STR_OR_NULL,
        "parameters": _list("ModelParam"),
        "transforms": _list("SignatureTransform"),
        "signature_args": _MAP,
    },
    "ModelParam": {
        "id": _ID,
        "model_id": _ID,
        "signature_id": _ID,
        "data_modality": _MODALITY,
        "data_encoding": _STR,
        "parameter_name": _STR,
    },
    "SignatureTransform": {"id": _ID, "signature_id": _ID, "transform_name": _STR, "transform_args": _MAP},
    "Invocation": {
        "id": _ID,
        "account_id": _STR,
        "model_id": _STR,
        "creation_time": _SINCE,
        "inputs": _list("InvocationSignature"),
        "outputs": _list("InvocationSignature"),
    },
    "InvocationSignature": {
        "id": _ID,
        "account_id": _STR,
        "model_id": _STR,
        "signature_id": _STR,
        "invocation_id": _ID,
        "display_title": _Field(_text, ""),
    },
    "SocketAssetPairingRequest": _PAIRING | {"asset_id": _STR},
    "SocketInputPairingRequest": _PAIRING | {"invocation_id": _STR, "input_id": _STR},
    "ChecksumRequest": {"pairing_id": _STR, "checksum": _STR},
    "AssetDownloadRequest": _LINKS | {"asset_id": _STR, "asset_name": _STR},
    "InputDownloadRequest": _LINKS | {"signature_id": _STR, "invocation_id": _STR, "input_id": _STR},
    "OutputDownloadRequest": _LINKS | {"signature_id": _STR, "invocation_id": _STR, "output_id": _STR},
    "SignupKey": _DEVICE | {"name": _STR},
    "SignupPassword": _DEVICE | {"name": _STR, "password": _STR},
    "SignupEmail": _DEVICE | {"name": _STR, "email": _STR},
    "LoginKey": {"api_key": _STR},
    "LoginPasswordId": {"account_id": _STR, "password": _STR},
    "LoginPasswordName": {"name": _STR, "password": _STR},
    "LoginPasswordEmail": {"email": _STR, "password": _STR},
    "Email": {"email": _STR},
    "EmailCode": {"email": _STR, "code": _STR},
    "Second": _SECOND,
    "SecondPassword": _SECOND | {"password": _STR},
    "SecondEmail": _SECOND | {"email": _STR},
}
