"""When an object is fetched from its first byte again, and when it need not be."""

from __future__ import annotations

import attrs

from .._sansio.heads import Unsatisfiable, Version
from .._sansio.ranges import Lane, Ledger
from ..errors import TrioNormanError

MOST_RESTARTS = 2  # for other reasons than failures, which have their own budget


@attrs.define(eq=False)
class StartAnewError(Exception):
    """What has come is of no use: begin at the first byte, with one plain request if `single`.

    `is_paid_for` tells that the retry budget has already allowed it; else the number of restarts is limited.
    """

    reason: TrioNormanError
    single: bool
    is_paid_for: bool = False


class AppearedError(Exception):
    """Something got the final name since it was looked for: there may be nothing to do any more."""


def foremost(errors: list[BaseException]) -> BaseException:
    """Of several failed lanes raise what is final; that one of them wants to start anew matters less."""
    return min(errors, key=lambda error: (isinstance(error, StartAnewError), isinstance(error, Exception)))


def is_all_here(beyond: Unsatisfiable, lane: Lane, ledger: Ledger, known: Version, seen: Version) -> bool:
    """Whether nothing follows because a partial of unknown length has proved to be the whole object."""
    changed = Version(beyond.total, beyond.validator).differs_from(seen)
    is_whole = ledger.size is None and beyond.total == lane.position == ledger.frontier
    return is_whole and known.may_be_combined and not changed
