"""What the Launch API finds wrong with a request: the key, and the fields, told as its validator tells them."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from typing import Any

import attrs

_NO_OBJECT = "Input should be a valid dictionary or object to extract fields from"
_PARTS = {"basic": ("username", "password"), "mtls": ("cert", "key")}


@attrs.frozen
class Unauthorised:
    """Why a request is not let in."""

    detail: str
    scheme: str


def refused_key(authorization: str | None, api_key: str) -> Unauthorised | None:
    """Check a request's credentials; nothing means that it is let in."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(value, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return Unauthorised("Not authenticated", "Basic")
    elif scheme.lower() == "bearer":
        key = value
    else:
        return Unauthorised("No authentication was passed in", "Bearer")
    if hmac.compare_digest(key.encode(), api_key.encode()):
        return None
    return Unauthorised("Could not authenticate user", scheme.capitalize())


def read_object(body: bytes, content_type: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read a JSON object; give it, and what is wrong with it."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return {}, [
            problem("model_attributes_type", ["body"], "Input should be a valid dictionary", body.decode("latin-1"))
        ]
    try:
        document = json.loads(body)
    except ValueError as error:
        at = getattr(error, "pos", 0)
        context = {"error": getattr(error, "msg", "not text")}
        return {}, [{**problem("json_invalid", ["body", at], "JSON decode error", {}), "ctx": context}]
    if not isinstance(document, dict):
        return {}, [problem("model_attributes_type", ["body"], _NO_OBJECT, document)]
    return document, []


def problem(kind: str, loc: list[str | int], text: str, given: Any) -> dict[str, Any]:
    """Give one entry of a 422's `detail`; it repeats what was given, secrets included, as the service does."""
    return {"type": kind, "loc": loc, "msg": text, "input": given}


def missing(loc: list[str | int], given: Any = None) -> dict[str, Any]:
    """Give the entry for a field that is not there."""
    return problem("missing", loc, "Field required", given)


def task_problems(endpoint_id: str | None, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Find what is wrong with the body of a task, or with its query."""
    found = [] if endpoint_id is not None else [missing(["query", "model_endpoint_id"])]
    for name, kinds, text in (
        ("url", (str,), "Input should be a valid string"),
        ("callback_url", (str,), "Input should be a valid string"),
        ("destination_path", (str,), "Input should be a valid string"),
        ("return_pickled", (bool,), "Input should be a valid boolean"),
        ("timeout_seconds", (int, float), "Input should be a valid number"),
        ("num_retries", (int,), "Input should be a valid integer"),
    ):
        value = body.get(name)
        if value is not None and not isinstance(value, kinds):
            found.append(problem(f"{kinds[0].__name__}_type", ["body", name], text, value))
    seconds = body.get("timeout_seconds")
    if isinstance(seconds, int | float) and seconds <= 0:
        found.append(problem("greater_than", ["body", "timeout_seconds"], "Input should be greater than 0", seconds))
    return found + auth_problems(body.get("callback_auth"))


def auth_problems(auth: Any) -> list[dict[str, Any]]:
    """Find what is wrong with a request's `callback_auth`."""
    place: list[str | int] = ["body", "callback_auth"]
    if auth is None:
        return []
    if not isinstance(auth, dict) or auth.get("kind") not in _PARTS:
        return [problem("union_tag_invalid", place, "Input tag found does not match any of the expected tags", auth)]
    kind = auth["kind"]
    return [missing([*place, kind, part], auth) for part in _PARTS[kind] if not isinstance(auth.get(part), str)]
