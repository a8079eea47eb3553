"""Waiting until the service has done what it was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from .._sansio.flagging import Flag, FlagWatch
from ..errors import ConfigurationError, JobFailedError, JobTimeoutError, TrioNormanError
from . import _calls as api
from ._constraints import QueryConstraints
from ._session import Session

_ASKING_WHY = 5.0  # seconds that looking for a notification about a failure may take


def check_limit(max_seconds: float) -> None:
    """Refuse a limit that is none, before anything is made that would be waited for.

    Raises:
        ConfigurationError: If it is 0 or less, or no number.
    """
    if not max_seconds > 0:
        raise ConfigurationError(f"'max_seconds' is {max_seconds}", "give more than 0 seconds")


async def wait_until_finished(session: Session, entities: Sequence[str], *, seconds: float) -> None:
    """Wait until every flag of some entities is finished, and each entity has one.

    Args:
        entities: Their ids.
        seconds: Longest wait.

    Raises:
        JobFailedError: If a step failed; with what a notification says of it.
        JobTimeoutError: If there are steps that are not finished in time; the service goes on with them.
        TrioNormanError: What asking raises.

    Cancellation: nothing is lost; the service goes on.
    """
    watch = FlagWatch(tuple(entities))
    with trio.move_on_after(seconds):
        while True:
            watch.observe(await flags_of(session, entities))
            failed = watch.failed
            if failed is not None:
                raise await _told(session, failed)
            if watch.is_done:
                return
            await trio.sleep(watch.next_wait())
    raise JobTimeoutError(seconds, watch.unfinished)


async def flags_of(session: Session, entities: Sequence[str]) -> list[Flag]:
    """Return the present flags of some entities."""
    found = await session.ask(api.get_flags(QueryConstraints.includes("Status_Flags", "Entity_ID", entities)))
    return [Flag(entity, flag.flag_name, flag.flag_value) for entity, flags in found.items() for flag in flags]


async def _told(session: Session, flag: Flag) -> JobFailedError:
    error = JobFailedError(flag.entity_id, flag.name)
    with trio.move_on_after(_ASKING_WHY):
        try:
            constraints = QueryConstraints.equals("Notifications", "Entity_ID", flag.entity_id)
            for said in await session.ask(api.get_notifications(constraints)):
                if said.entity_id == flag.entity_id:
                    error = JobFailedError(flag.entity_id, flag.name, said.title, said.message)
        except TrioNormanError as unexplained:
            error.add_note(f"no notification explains it: {unexplained}")
    return error
