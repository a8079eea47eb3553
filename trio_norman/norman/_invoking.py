"""One invocation, from its configuration until its outputs can be fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import attrs
import trio

from .._lifetimes import lone_error_unwrapped
from ..errors import ConfigurationError, MalformedResponseError, ServiceError
from ..transfer import DownloadResult, Source, download_many
from ..transfer._model import OnEvent, Options
from . import _calls as api
from ._building import check_entries, check_titles, defaults_of, newest
from ._configs import InvocationConfig, read_config
from ._constraints import QueryConstraints
from ._models import Invocation, Model
from ._providing import OnUpload, Provision, lost_answer_noted, orphans_noted, provide_all
from ._resolving import Resolved, default_data, resolve
from ._retrieve import Retrieval
from ._session import Session
from ._waiting import check_limit, wait_until_finished
from ._words import ConsumeMode

Output = bytearray | Retrieval
_UNANSWERABLE = frozenset({400, 404, 405, 422})  # how a service says that it does not know such a question


@attrs.frozen(eq=False)
class OpenInvocation:
    """An invocation that is done: its outputs wait at the service, by their titles."""

    invocation: Invocation
    outputs: Mapping[str, Retrieval]
    _session: Session = attrs.field(repr=False)

    async def read(self, title: str) -> bytearray:
        """Return one output's bytes.

        Raises:
            KeyError: There is no output of that title.
            TrioNormanError: It could not be fetched.
        """
        return await self.outputs[title].read()

    async def read_all(self) -> dict[str, bytearray]:
        """Return all outputs' bytes, fetched in parallel; raises what fetching raises."""
        return {title: found for title, found in (await consumed(self, {})).items() if isinstance(found, bytearray)}

    async def save_outputs(
        self,
        dest: Path | str,
        *,
        names: Mapping[str, str] | None = None,
        on_event: OnEvent | None = None,
        **options: Unpack[Options],
    ) -> Sequence[DownloadResult]:
        """Save all outputs in a directory: beside their names first, verified, and renamed in the end.

        Args:
            dest: Directory, made if need be.
            names: File names by titles; by default an output is called as its title. Given, only these are saved.
            on_event: Called with every event.
            **options: See `DownloadOptions`; the first failure ends it all, unless ``fail_fast=False``.

        Returns:
            One result for each output, in order of completion.

        Raises:
            ConfigurationError: There is no output of a title in `names`.
            TrioNormanError: The first failure.
        """
        wanted = {title: title for title in self.outputs} if names is None else dict(names)
        unknown = sorted(set(wanted) - set(self.outputs))
        if unknown:
            there_are = f"there are {', '.join(map(repr, self.outputs))}"
            raise ConfigurationError(f"there is no output called {', '.join(map(repr, unknown))}", there_are)
        sources: list[Source] = [self.outputs[title].source(name, title) for title, name in wanted.items()]
        options.setdefault("fail_fast", True)
        with self._session.in_use():
            batch = download_many(sources, dest, fetch=self._session.fetch, on_event=on_event, **options)
            async with batch as results:
                return [result async for result in results]
        raise AssertionError("left above")


async def run_invocation(
    session: Session, given: InvocationConfig | Mapping[str, Any], *, seconds: float, note: OnUpload | None
) -> tuple[OpenInvocation, InvocationConfig]:
    """Invoke a model and return once its outputs are there; raises as `Norman.invoke`."""
    check_limit(seconds)
    config = read_config(InvocationConfig, given)
    data = {
        each.display_title: await resolve(repr(each.display_title), each.data, each.source) for each in config.inputs
    }
    model = await _model_of(session, config.model_name)
    if model is not None:
        check_titles(config, model)
        for title, default in defaults_of(model).items():
            if title not in data:
                data[title] = default_data(repr(title), default)
    invocation = await _created(session, config.model_name)
    with orphans_noted(f"invocation {invocation.id}"):
        titles = [[each.display_title for each in entries] for entries in (invocation.inputs, invocation.outputs)]
        check_entries(config, titles[0], titles[1], model is not None)
        outputs = _outputs(session, invocation)
        await _provided(session, invocation, data, seconds=seconds, note=note)
    return OpenInvocation(invocation, outputs, session), config


async def _provided(
    session: Session, invocation: Invocation, data: Mapping[str, Resolved], *, seconds: float, note: OnUpload | None
) -> None:
    given = [entry for entry in invocation.inputs if entry.display_title in data]
    await provide_all(session, [Provision.of_input(entry, data[entry.display_title]) for entry in given], note)
    entities = [invocation.id, *(entry.id for entry in (*given, *invocation.outputs))]
    await wait_until_finished(session, entities, seconds=seconds)


async def _model_of(session: Session, name: str) -> Model | None:
    """Return the model that a name means; None if the service does not show it, though it may let us invoke it."""
    try:
        found = await session.ask(api.get_models(QueryConstraints.equals("Models", "Name", name)))
    except ServiceError as error:
        if error.status not in _UNANSWERABLE and error.code not in {"validation", "database"}:
            raise
        return None  # it does not list by this column: titles are then compared with the invocation itself
    return newest(found.values(), name)


async def _created(session: Session, name: str) -> Invocation:
    call = api.create_invocations_by_name({name: 1})
    with lost_answer_noted(f"an invocation of {name!r}"):
        found = await session.ask(call)
        if not found:
            problem = "expected one invocation, got none @ $"
            raise MalformedResponseError(call.method, f"{session.root}/{call.path}", (problem,))
    return found[0]


def _outputs(session: Session, invocation: Invocation) -> dict[str, Retrieval]:
    ids = (invocation.account_id, invocation.model_id, invocation.id)
    return {
        each.display_title: Retrieval(api.invocation_output(*ids, each.id), each.display_title, session)
        for each in invocation.outputs
    }


async def consumed(opened: OpenInvocation, modes: Mapping[str, ConsumeMode | str]) -> dict[str, Output]:
    """Return the outputs as they are wanted: bytes, fetched in parallel, or streams that are still to be opened."""
    found: dict[str, Output] = dict(opened.outputs)

    async def read(title: str) -> None:
        found[title] = await opened.read(title)

    with lone_error_unwrapped(lambda errors: errors[0]):
        async with trio.open_nursery() as nursery:
            for title in opened.outputs:
                if modes.get(title, ConsumeMode.BYTES) == ConsumeMode.BYTES:
                    nursery.start_soon(read, title)
    return found
