"""How much of a peer's answers is taken in: whoever wants to give us more is left."""

from __future__ import annotations

import attrs

_AT_LEAST_ONE = attrs.validators.ge(1)
_NOT_NEGATIVE = attrs.validators.ge(0)


@attrs.frozen(kw_only=True)
class Limits:
    """The most that a peer may send, each at its default far above what a good one does.

    Args:
        head_bytes: Length of one response head.
        head_fields: Header fields of one response head.
        interim_answers: 1xx answers before the final one.
        answer_bytes: Length of one JSON answer.
        answer_depth: Levels of nesting in it.
        error_bytes: Of an error's body so much is read for its explanation.
        redirects: Hops that a download follows.
        pages: Pages of one list.
        url_characters: Length of a URL, redirects included.

    Raises:
        ValueError: If a limit leaves no room for anything.
    """

    head_bytes: int = attrs.field(default=64 * 1024, validator=_AT_LEAST_ONE)
    head_fields: int = attrs.field(default=256, validator=_AT_LEAST_ONE)
    interim_answers: int = attrs.field(default=16, validator=_NOT_NEGATIVE)
    answer_bytes: int = attrs.field(default=16 * 2**20, validator=_AT_LEAST_ONE)
    answer_depth: int = attrs.field(default=64, validator=_AT_LEAST_ONE)
    error_bytes: int = attrs.field(default=64 * 1024, validator=_AT_LEAST_ONE)
    redirects: int = attrs.field(default=5, validator=_NOT_NEGATIVE)
    pages: int = attrs.field(default=10_000, validator=_AT_LEAST_ONE)
    url_characters: int = attrs.field(default=8192, validator=_AT_LEAST_ONE)


DEFAULT_LIMITS = Limits()
