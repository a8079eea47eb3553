"""The checkpoints of one run: made when they are asked for, unless somebody changed them."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from typing import overload

import attrs

from ._records import Checkpoint


@attrs.define(eq=False)
class Shelf(Sequence[Checkpoint]):
    """A run's checkpoints in order, as a sequence of which only the changed members are held."""

    _make: Callable[[int], Checkpoint]
    _made: int  # how many numbers are in use, removed ones included
    _changed: dict[int, Checkpoint] = attrs.field(factory=dict, init=False)
    _removed: list[int] = attrs.field(factory=list, init=False)  # sorted

    def __len__(self) -> int:
        return self._made - len(self._removed)

    @overload
    def __getitem__(self, position: int) -> Checkpoint: ...

    @overload
    def __getitem__(self, position: slice) -> list[Checkpoint]: ...

    def __getitem__(self, position: int | slice) -> Checkpoint | list[Checkpoint]:
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(len(self)))]
        if position < 0:
            position += len(self)
        if not 0 <= position < len(self):
            raise IndexError(position)
        return self._of_number(self._number_at(position))

    def __iter__(self) -> Iterator[Checkpoint]:
        removed = set(self._removed)
        return (self._of_number(number) for number in range(self._made) if number not in removed)

    def find(self, number: int) -> Checkpoint | None:
        """Give the checkpoint of a number; nothing where it was never made or is removed."""
        if not 0 <= number < self._made or self._is_removed(number):
            return None
        return self._of_number(number)

    def find_name(self, name: str) -> Checkpoint | None:
        """Give the checkpoint of that name; nothing where there is none."""
        for checkpoint in self._changed.values():
            if checkpoint.name == name:
                return self.find(checkpoint.number)
        digits = name.removeprefix("step-")
        if not digits.isdecimal() or not digits.isascii():
            return None
        found = self.find(int(digits) // 100 - 1)
        return found if found is not None and found.name == name else None

    def add(self, checkpoint: Callable[[int], Checkpoint]) -> Checkpoint:
        """Append the checkpoint that is made for the next number."""
        added = self._changed[self._made] = checkpoint(self._made)
        self._made += 1
        return added

    def change(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint in the place of the one with its number."""
        self._changed[checkpoint.number] = checkpoint

    def remove(self, number: int) -> None:
        """Take a checkpoint off for good."""
        if not self._is_removed(number):
            bisect.insort(self._removed, number)
            self._changed.pop(number, None)

    def _of_number(self, number: int) -> Checkpoint:
        return self._changed.get(number) or self._make(number)

    def _is_removed(self, number: int) -> bool:
        at = bisect.bisect_left(self._removed, number)
        return at < len(self._removed) and self._removed[at] == number

    def _number_at(self, position: int) -> int:
        number = position
        while (before := bisect.bisect_right(self._removed, number)) + position != number:
            number = position + before
        return number


@attrs.frozen(eq=False)
class JoinedSequence(Sequence[Checkpoint]):
    """Several shelves one after the other, without a copy."""

    _shelves: Sequence[Sequence[Checkpoint]]

    def __len__(self) -> int:
        return sum(len(shelf) for shelf in self._shelves)

    @overload
    def __getitem__(self, position: int) -> Checkpoint: ...

    @overload
    def __getitem__(self, position: slice) -> list[Checkpoint]: ...

    def __getitem__(self, position: int | slice) -> Checkpoint | list[Checkpoint]:
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(len(self)))]
        if position < 0:
            position += len(self)
        for shelf in self._shelves:
            if 0 <= position < len(shelf):
                return shelf[position]
            position -= len(shelf)
        raise IndexError(position)
