"""How the service says no."""

from __future__ import annotations

from collections.abc import Sequence

from .._clock import iso_date

STATUSES = {
    "authentication": 401,
    "authorization": 403,
    "validation": 400,
    "configuration": 400,
    "not_found": 404,
    "rate_limit": 429,
    "server": 500,
    "database": 500,
    "infrastructure": 500,
    "cloud_service": 500,
    "timeout": 504,
}


class RefusedError(Exception):
    """A request is refused: the error's type, one of `STATUSES`, a short message, its cause, and what to try."""

    def __init__(self, error_type: str, message: str, cause: str = "", suggestions: Sequence[str] = ()) -> None:
        super().__init__(error_type, message, cause)
        self.error_type = error_type
        self.message = message
        self.cause = cause
        self.suggestions = list(suggestions)

    @property
    def status(self) -> int:
        """The HTTP status that goes with the type."""
        return STATUSES[self.error_type]

    def shown(self, now: float) -> dict[str, object]:
        """Give the error object as it is sent."""
        return {
            "timestamp": iso_date(now),
            "status_code": self.status,
            "error_type": self.error_type,
            "message": self.message,
            "cause": self.cause or self.message,
            "suggestions": self.suggestions,
        }


def invalid(message: str, cause: str = "") -> RefusedError:
    """Make the refusal of a request that does not make sense."""
    return RefusedError("validation", message, cause, ["correct the request"])


def not_found(noun: str, identifier: str) -> RefusedError:
    """Make the refusal of a request for something that is not there."""
    return RefusedError("not_found", f"no such {noun}", f"{noun} {identifier} does not exist")


def forbidden(message: str) -> RefusedError:
    """Make the refusal of a request that somebody else might have made."""
    return RefusedError("authorization", message, suggestions=["use the account that owns it"])
