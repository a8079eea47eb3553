"""``whoami``, and the lists and single things that are only looked at: weights, runs, sessions, samplers."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from typing import Any

from ..rest import TrainingRun
from ._exits import Exit
from ._options import OUTPUT, OutputFlags, Positive
from ._output import json_text, open_output, write_out
from ._service_options import SERVICE, ServiceFlags
from ._views import Column, fields, heading, row

PAGE = 100  # items that are asked for at once

_WEIGHTS = (
    Column("CUID", lambda weight: weight.cuid, 12),
    Column("STATUS", lambda weight: weight.status, 10),
    Column("CREATED", lambda weight: weight.created_at, 20),
    Column("PATH", lambda weight: weight.path),
)
_RUNS = (
    Column("RUN", lambda run: run.training_run_id, 14),
    Column("LORA RANK", lambda run: run.lora_rank, 9, is_right=True),
    Column("BASE MODEL", lambda run: run.base_model),
)
_SESSIONS = (Column("SESSION", str),)


async def write_list(
    items: AsyncIterable[Any],
    columns: Sequence[Column],
    *,
    limit: int | None,
    as_json: bool,
    to_json: Callable[[Any], object] = lambda item: item.to_dict(),
) -> None:
    """Write a list to stdout while it comes, as rows or as one JSON array; it ends after `limit` items."""
    written = 0
    async with open_output() as write:
        if not as_json:
            await write(heading(columns))
        async for item in items:
            if as_json:
                await write(("[\n" if written == 0 else ",\n") + json_text(to_json(item)))
            else:
                await write(row(columns, item))
            written += 1
            if written == limit:
                break
        if as_json:
            await write("[]\n" if written == 0 else "\n]\n")


async def write_thing(facts: Mapping[str, object], *, as_json: bool) -> None:
    """Write one thing to stdout."""
    await write_out(f"{json_text(facts)}\n" if as_json else fields(facts))


def page_size(limit: int | None) -> int:
    """Return how many items a page should have if `limit` are wanted in all."""
    return PAGE if limit is None else min(PAGE, limit)


async def whoami(*, service: ServiceFlags = SERVICE, output: OutputFlags = OUTPUT) -> int:
    """Show whose key it is, for which workspace and until when, and which dialect the service speaks.

    The classic dialect tells of no workspace and no end.
    """
    async with service.open() as rest:
        dialect, user = rest.dialect, rest.user_info
    told = {"workspace_id": user.workspace_id, "workspace_name": user.workspace_name, "expires_at": user.expires_at}
    facts = {**user.to_dict(), **told, "dialect": dialect}
    if output.json:
        facts["expires_at"] = None if user.expires_at is None else user.expires_at.raw
    del facts["api_key"]
    await write_thing(facts, as_json=output.json)
    return Exit.OK


async def list_weights(
    *, limit: Positive | None = None, service: ServiceFlags = SERVICE, output: OutputFlags = OUTPUT
) -> int:
    """List the account's weights, over all pages.

    Args:
        limit: Stop after so many.
    """
    async with service.open() as rest:
        await write_list(rest.iter_weights(page_size(limit)), _WEIGHTS, limit=limit, as_json=output.json)
    return Exit.OK


async def list_runs(
    *, limit: Positive | None = None, service: ServiceFlags = SERVICE, output: OutputFlags = OUTPUT
) -> int:
    """List the training runs, over all pages.

    Args:
        limit: Stop after so many.
    """
    async with service.open() as rest:
        await write_list(rest.iter_training_runs(page_size(limit)), _RUNS, limit=limit, as_json=output.json)
    return Exit.OK


async def show_run(run: str, /, *, service: ServiceFlags = SERVICE, output: OutputFlags = OUTPUT) -> int:
    """Show one training run.

    Args:
        run: Its id.
    """
    async with service.open() as rest:
        found: TrainingRun = await rest.get_training_run(run)
    await write_thing(found.to_dict(), as_json=output.json)
    return Exit.OK


async def list_sessions(
    *, limit: Positive | None = None, service: ServiceFlags = SERVICE, output: OutputFlags = OUTPUT
) -> int:
    """List the ids of the sessions, over all pages.

    Args:
        limit: Stop after so many.
    """
    async with service.open() as rest:
        found = rest.iter_sessions(min(20, page_size(limit)))  # see iter_sessions on larger pages
        await write_list(found, _SESSIONS, limit=limit, as_json=output.json, to_json=str)
    return Exit.OK


async def show_session(session: str, /, *, service: ServiceFlags = SERVICE, output: OutputFlags = OUTPUT) -> int:
    """Show the runs and samplers of one session.

    Args:
        session: Its id.
    """
    async with service.open() as rest:
        found = await rest.get_session(session)
    await write_thing(found.to_dict(), as_json=output.json)
    return Exit.OK


async def show_sampler(sampler: str, /, *, service: ServiceFlags = SERVICE, output: OutputFlags = OUTPUT) -> int:
    """Show one sampler, and the checkpoint that it serves.

    Args:
        sampler: Its id.
    """
    async with service.open() as rest:
        found = await rest.get_sampler(sampler)
    await write_thing(found.to_dict(), as_json=output.json)
    return Exit.OK
