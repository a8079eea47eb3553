"""Status flags: what has become of each entity, by the emulator's clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs

from .._clock import WallClock, iso_date
from ._faults import FlagFault
from ._identifiers import IdentifierMaker
from ._queries import chosen
from ._shapes import Wire

_ENQUEUED, _IN_PROGRESS, _FINISHED, _ERROR = 1, 2, 3, 4

MODEL_FLAGS = ("File_Image_Build",)
INPUT_FLAGS = ("Input_EFS_Staging", "Input_S3_Storage", "Input_EFS_Transcoding", "Input_EFS_Tensor")
INVOCATION_FLAGS = ("Model_Function_Run",)
OUTPUT_FLAGS = ("Output_EFS_Staging", "Output_S3_Storage")


def asset_flags(asset_name: str) -> tuple[str, ...]:
    """Give the names of an asset's flags; the protocol knows those of ``File`` and ``Logo`` only."""
    stem = asset_name if asset_name in ("File", "Logo") else "File"
    return (f"{stem}_EFS_Staging", f"{stem}_S3_Storage")


@attrs.define(eq=False)
class Track:
    """The flags of one entity, which are passed one after another between two moments (Unix seconds)."""

    entity_id: str
    account_id: str
    names: Sequence[str]
    flag_ids: Sequence[str]
    created_at: float
    began_at: float = attrs.field(default=math.inf, init=False)
    finished_at: float = attrs.field(default=math.inf, init=False)
    failed_at: float = attrs.field(default=math.inf, init=False)

    @property
    def has_begun(self) -> bool:
        """Whether the way through the flags is known to begin at some moment."""
        return self.began_at < math.inf

    def begin(self, at: float, seconds: float = math.inf) -> None:
        """Begin, with so many seconds for each flag; without them, it ends when `finish` says so."""
        self.began_at, self.finished_at, self.failed_at = at, at + seconds * len(self.names), math.inf

    def finish(self, at: float) -> None:
        """Finish at this moment."""
        self.finished_at = at

    def fail(self, at: float) -> None:
        """Fail at this moment."""
        self.failed_at = at

    def start_over(self) -> None:
        """Be as if nothing had happened."""
        self.began_at = self.finished_at = self.failed_at = math.inf

    def values(self, now: float) -> list[int]:
        """Give the flags' values."""
        count = len(self.names)
        if now >= self.failed_at:
            return [_ERROR] * count
        if now >= self.finished_at:
            return [_FINISHED] * count
        if now < self.began_at:
            return [_ENQUEUED if self.has_begun else 0] * count
        span = self.finished_at - self.began_at
        reached = int((now - self.began_at) * count / span) if span < math.inf else 0
        return [_FINISHED] * reached + [_IN_PROGRESS] + [_ENQUEUED] * (count - reached - 1)

    def has_finished(self, now: float) -> bool:
        """Tell whether all flags are finished."""
        return self.finished_at <= now < self.failed_at

    def rows(self, now: float) -> list[Wire]:
        """Give the flags as they are sent."""
        moments = (self.began_at, self.finished_at, self.failed_at)
        changed_at = max([self.created_at, *(moment for moment in moments if moment <= now)])
        return [
            {
                "id": flag_id,
                "account_id": self.account_id,
                "entity_id": self.entity_id,
                "update_time": iso_date(changed_at),
                "flag_name": name,
                "flag_value": value,
            }
            for flag_id, name, value in zip(self.flag_ids, self.names, self.values(now), strict=True)
        ]


@attrs.define(eq=False)
class Flags:
    """All tracks, and the faults with which they are shown."""

    clock: WallClock
    identifiers: IdentifierMaker
    seconds: float = 0.01  # that one flag takes from its beginning to its end; may be changed at any time
    faults: list[FlagFault] = attrs.field(factory=list, init=False)
    tracks: dict[str, Track] = attrs.field(factory=dict, init=False)  # entity id -> its track

    def create(self, entity_id: str, account_id: str, names: Sequence[str]) -> Track:
        """Give an entity its flags; all are 0."""
        flag_ids = [self.identifiers.next() for _ in names]
        self.tracks[entity_id] = track = Track(entity_id, account_id, names, flag_ids, self.clock.now())
        return track

    def of_account(self, account_id: str, constraints: Any) -> dict[str, list[Wire]]:
        """Give those flags of an account that constraints ask for, by entity; raises `RefusedError`."""
        entities = asked_entities(constraints)
        tracks = (
            self.tracks.values() if entities is None else [self.tracks[each] for each in entities & self.tracks.keys()]
        )
        now = self.clock.now()
        rows = [row for track in tracks if track.account_id == account_id for row in track.rows(now)]
        shown: dict[str, list[Wire]] = {}
        for row in chosen(rows, constraints):
            if (flag := self._with_faults(row)) is not None:
                shown.setdefault(row["entity_id"], []).append(flag)
        return shown

    def _with_faults(self, row: Wire) -> Wire | None:
        for fault in self.faults:
            if fault.matches(row) and fault.strikes():
                return fault.applied(row)
        return row


def asked_entities(constraints: Any) -> set[str] | None:
    """Give the entities of the one filter that everybody sends, a node over ``Entity_ID``; nothing for any other."""
    children = ((constraints or {}).get("filter") or {}).get("children") if isinstance(constraints, dict) else None
    if not isinstance(children, list) or len(children) != 1 or not isinstance(children[0], dict):
        return None
    node = children[0]
    value = node.get("value")
    if str(node.get("column")).lower() != "entity_id" or node.get("operator", "=") not in ("IN", "="):
        return None
    return {str(each) for each in (value if isinstance(value, list) else [value])}
