"""Identifiers that look random, follow from a seed, and can be turned back into the numbers they stand for."""

from __future__ import annotations

import random

import attrs

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@attrs.frozen
class IdentifierSpace:
    """A one-to-one map between numbers and identifiers of `width` characters ``[0-9a-z]``.

    No table is kept, so a million identifiers cost nothing until they are asked for.
    """

    seed: int
    noun: str
    width: int
    _factor: int = attrs.field(init=False, repr=False)
    _shift: int = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        luck = random.Random(f"{self.noun} {self.seed}")
        # One more than a multiple of 6 shares no factor with a power of 36, hence has an inverse.
        object.__setattr__(self, "_factor", luck.randrange(self.count // 12, self.count // 7) * 6 + 1)
        object.__setattr__(self, "_shift", luck.randrange(self.count))

    @property
    def count(self) -> int:
        """How many identifiers there are."""
        return int(36**self.width)

    def identifier(self, number: int) -> str:
        """Give the identifier of a number from 0 to `count` - 1."""
        rest = (number * self._factor + self._shift) % self.count
        characters = []
        for _ in range(self.width):
            rest, digit = divmod(rest, 36)
            characters.append(_DIGITS[digit])
        return "".join(reversed(characters))

    def number(self, identifier: str) -> int | None:
        """Give back an identifier's number; nothing for a text that is no identifier."""
        if len(identifier) != self.width or any(character not in _DIGITS for character in identifier):
            return None
        inverse = pow(self._factor, -1, self.count)
        number: int = (int(identifier, 36) - self._shift) * inverse % self.count
        return number
