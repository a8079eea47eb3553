"""One file as ``multipart/form-data``."""

from __future__ import annotations

_ESCAPES = {'"': "%22", "\r": "%0D", "\n": "%0A"}


def file_part(name: str, *, boundary: str, field: str = "file") -> tuple[bytes, bytes]:
    """Return what stands before and after the file's bytes.

    Args:
        name: Its name, which may hold anything: quotes and line ends are escaped, NUL is left out.
        boundary: A text that the bytes do not hold; chance gives it.
        field: Name of the form's field.

    Source: RFC 7578; HTML Living Standard, section 4.10.22.8 (how names are escaped).
    """
    shown = "".join(_ESCAPES.get(each, each) for each in name if each != "\0")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{shown}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode("utf-8", "replace"), f"\r\n--{boundary}--\r\n".encode()
