"""Which modality an encoding has, and the bytes of a primitive value.

Source: wire/norman, section 7.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..errors import ConfigurationError

_SIGNATURE = {
    "Audio": "aac ac3 flac mp3 opus vorbis wav",
    "Image": "jpg jpeg png webp",
    "Text": "txt utf8 utf16",
    "Video": "avi matroska mov mp4 ogg webm",
}
_PARAMETER = {
    "Audio": "aac ac3 flac mp3 opus vorbis wav",
    "Image": "jpg jpeg png webp",
    "Text": "ass mp4_text srt utf8 utf16 vtt",
    "Video": "av1 h264 h265 vp8 vp9",
}


def _by_encoding(table: Mapping[str, str]) -> dict[str, str]:
    return {encoding: modality for modality, encodings in table.items() for encoding in encodings.split()}


SIGNATURE_ENCODINGS, PARAMETER_ENCODINGS = _by_encoding(_SIGNATURE), _by_encoding(_PARAMETER)


def modality_of(encoding: str, encodings: Mapping[str, str], *, of: str) -> str:
    """Return the modality of an encoding; case and surrounding spaces make no difference.

    Args:
        encoding: As the user wrote it.
        encodings: `SIGNATURE_ENCODINGS` or `PARAMETER_ENCODINGS`.
        of: What has the encoding, for the error.

    Raises:
        ConfigurationError: If it is not one of them.
    """
    modality = encodings.get(encoding.strip().lower())
    if modality is None:
        raise ConfigurationError(f"unknown encoding {encoding!r} of {of}", f"known are {' '.join(encodings)}")
    return modality


def primitive_bytes(value: object, *, of: str) -> bytes:
    """Return the bytes in which a primitive value is sent.

    Texts are UTF-8, numbers decimal text, dicts and lists JSON in plain ASCII, bytes what they are.

    Raises:
        ConfigurationError: If there is nothing in it, it is no JSON value, or it is no primitive at all.
    """
    match value:
        case bytes() | bytearray() | memoryview():
            data = bytes(value)
        case str():
            data = _utf8(value, of)
        case bool() | dict() | list() | tuple() | None:
            data = _json(value, of)
        case int() | float():
            data = str(value).encode()
        case _:
            advice = "give bytes, a text, a number, a dict or a list"
            raise ConfigurationError(f"a {type(value).__name__} is no primitive value for {of}", advice)
    if not data:
        raise ConfigurationError(f"the value of {of} is empty", "give at least one byte")
    return data


def _utf8(value: str, of: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"the text of {of} has half characters (lone surrogates)") from None


def _json(value: object, of: str) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"the value of {of} is no JSON: {error}") from None
