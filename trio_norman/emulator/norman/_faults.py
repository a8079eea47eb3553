"""How pushes and flags can be told to go wrong. The API's own faults are `Emulator.misbehave`'s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.define(eq=False, kw_only=True)
class _Rule:
    skip: int = 0  # so many matching cases go well first
    times: int | None = None  # so many go badly then; nothing: all
    hits: int = attrs.field(default=0, init=False)  # matching cases so far

    def strikes(self) -> bool:
        """Count one matching case, and tell whether it is to go badly."""
        self.hits += 1
        late = self.times is not None and self.hits > self.skip + self.times
        return self.hits > self.skip and not late


@attrs.define(eq=False, kw_only=True)
class PushFault(_Rule):
    """What happens to pushes that are paired from now on. Offsets count bytes of the body, without the header.

    Attributes:
        reset: RST after so many bytes.
        trunc: Close in order after so many bytes, and read no more.
        halfclose: Send a FIN after so many bytes, and read on.
        stall: Read nothing more after so many bytes.
        rate: Bytes per second that are read.
        delay: Seconds before the first byte is read.
        chatter: Bytes that are written to the client, which no good service does.
        refuse: Answer ``complete`` as if the checksum were wrong.
        pairing: Fields that are put into the pairing's answer as they are, wrong ones for example.
    """

    reset: int | None = None
    trunc: int | None = None
    halfclose: int | None = None
    stall: int | None = None
    rate: int | None = None
    delay: float = 0.0
    chatter: bytes = b""
    refuse: bool = False
    pairing: Mapping[str, Any] = attrs.field(factory=dict)

    def next_cut(self, done: int) -> tuple[int, str] | None:
        """Give the offset and the name of the cut that strikes next, `done` bytes after the start."""
        cuts = [
            (at, name) for name in ("reset", "trunc", "halfclose", "stall") if (at := getattr(self, name)) is not None
        ]
        return min((cut for cut in cuts if cut[0] >= done), default=None)


@attrs.define(eq=False, kw_only=True)
class FlagFault(_Rule):
    """How flags are shown from now on; each reply that would show a matching flag counts.

    Attributes:
        flag_name: Only flags of this name; all, without it.
        entity_id: Only flags of this entity; all, without it.
        value: Show this value: 2 never finishes, 4 fails, 7 is unknown.
        shown_as: Show this name, an unknown one for example.
        hidden: Do not show the flag at all.
    """

    flag_name: str | None = None
    entity_id: str | None = None
    value: int | None = None
    shown_as: str | None = None
    hidden: bool = False

    def matches(self, flag: Mapping[str, Any]) -> bool:
        """Tell whether a flag is concerned."""
        return self.flag_name in (None, flag["flag_name"]) and self.entity_id in (None, flag["entity_id"])

    def applied(self, flag: dict[str, Any]) -> dict[str, Any] | None:
        """Give the flag as it is shown; nothing if it is hidden."""
        if self.hidden:
            return None
        value = flag["flag_value"] if self.value is None else self.value
        return flag | {"flag_name": self.shown_as or flag["flag_name"], "flag_value": value}
