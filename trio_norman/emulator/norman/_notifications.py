"""Notifications: what the service tells the owner of a model or an invocation."""

from __future__ import annotations

from typing import Any

import attrs

from .._clock import WallClock, iso_date
from ._identifiers import IdentifierMaker
from ._queries import chosen
from ._shapes import Wire


@attrs.define(eq=False)
class Notifications:
    """All notifications, oldest first."""

    clock: WallClock
    identifiers: IdentifierMaker
    _held: list[tuple[float, Wire]] = attrs.field(factory=list, init=False)

    def add(
        self,
        account_id: str,
        entity_id: str,
        severity: str,
        title: str,
        message: str,
        *,
        model: Wire | None = None,
        at: float | None = None,
    ) -> None:
        """Tell an account something about an entity.

        Args:
            account_id: Who is told.
            entity_id: What it is about.
            severity: Error, Info, Success or Warning.
            title: A few words.
            message: A sentence.
            model: The model that it is about, if any.
            at: When, in Unix seconds; now, without it. What is yet to come is not shown before.
        """
        at = self.clock.now() if at is None else at
        self._held.append(
            (
                at,
                {
                    "id": self.identifiers.next(),
                    "account_id": account_id,
                    "entity_id": entity_id,
                    "creation_time": iso_date(at),
                    "model_name": model["name"] if model is not None else None,
                    "title": title,
                    "message": message,
                    "read_status": 0,
                    "severity": severity,
                },
            )
        )

    def chosen(self, account_id: str, constraints: Any) -> list[Wire]:
        """Give those of an account's notifications that constraints ask for; raises `RefusedError`."""
        return chosen(
            [row for at, row in self._held if row["account_id"] == account_id and at <= self.clock.now()], constraints
        )
