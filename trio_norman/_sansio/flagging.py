"""What the flags of entities say: wait on, done, or failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

FINISHED, FAILED = 3, 4
_KNOWN = range(5)  # not begun, queued, running, finished, failed
FIRST_WAIT, LONGEST_WAIT, GROWTH = 0.2, 5.0, 1.3  # seconds, seconds, and the factor from one wait to the next


@attrs.frozen
class Flag:
    """One step of one entity."""

    entity_id: str
    name: str
    value: int

    @property
    def shown(self) -> str:
        """How people are told of it."""
        strange = "" if self.value in _KNOWN else f", which is {self.value}"
        return f"{self.name} of {self.entity_id}{strange}"


@attrs.define
class FlagWatch:
    """The flags of some entities until all of them are finished.

    Every expected entity must have shown at least one flag: a service that has none yet has not begun. Values that
    nobody knows, like names, are kept waiting for; a step that has been seen must be there, and finished, at the end.

    Source: wire/norman, sections 3, 6 and 8 (19 to 22).
    """

    expected: tuple[str, ...]
    _seen: Mapping[str, Sequence[Flag]] = attrs.field(init=False, factory=dict)
    _wait: float = attrs.field(init=False, default=FIRST_WAIT)

    def observe(self, flags: Iterable[Flag]) -> None:
        """Take in the present flags."""
        seen: dict[str, list[Flag]] = {entity: [] for entity in self.expected}
        for flag in flags:
            if flag.entity_id in seen:
                seen[flag.entity_id].append(flag)
        self._seen = seen

    @property
    def failed(self) -> Flag | None:
        """A step that has failed, or None."""
        return next((flag for flag in self._all if flag.value == FAILED), None)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """What is still waited for, for people: ``Model_Function_Run of 11``, or ``any flag of 12``.

        A value that nobody knows is told along: ``Model_Function_Run of 11, which is 7``.
        """
        missing = [f"any flag of {entity}" for entity in self.expected if not self._seen.get(entity)]
        return (*missing, *(flag.shown for flag in self._all if flag.value != FINISHED))

    @property
    def is_done(self) -> bool:
        """Whether everything is finished."""
        return not self.unfinished

    def next_wait(self) -> float:
        """Return the seconds until the next look: short at first, then longer and longer."""
        wait = self._wait
        self._wait = min(LONGEST_WAIT, wait * GROWTH)
        return wait

    @property
    def _all(self) -> list[Flag]:
        return [flag for flags in self._seen.values() for flag in flags]
