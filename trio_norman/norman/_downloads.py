"""From models and invocations to sources for the engine that brings files home."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TypeVar

from .._sansio.names import safe_name
from .._sansio.redaction import Secret
from ..errors import ConfigurationError, NotFoundError
from ..transfer import Link, Source
from . import _calls as api
from ._constraints import QueryConstraints
from ._models import Invocation, InvocationSignature, Model, ModelAsset
from ._retrieve import Retrieval
from ._session import Session

T = TypeVar("T")
Many = Iterable[T] | AsyncIterable[T]
_AT_ONCE = 50  # models or invocations that are looked up by one call


def asset_file_name(model: Model, asset: ModelAsset) -> str:
    """Return the default file name of an asset: the model's name, the asset's, and its id, which keeps them apart."""
    return _joined(model.name, asset.asset_name, asset.id)


def output_file_name(invocation: Invocation, output: InvocationSignature) -> str:
    """Return the default file name of an output: its title and its id, which keeps them apart."""
    return _joined(output.display_title, output.id)


def _joined(*words: str) -> str:
    try:
        return safe_name("-".join(word for word in words if word))
    except ValueError:
        return words[-1]  # what the user called it is no file name; the id is one, or the engine will say so


async def asset_sources(session: Session, model_ids: Many[str]) -> AsyncGenerator[Source, None]:
    """Describe all assets of some models; a model that is not there becomes a source that fails."""
    async with aclosing(_groups(model_ids)) as groups:
        async for ids in groups:
            found = await session.ask(api.get_models(QueryConstraints.includes("Models", "ID", ids)))
            for id_ in ids:
                model = found.get(id_)
                if model is None:
                    yield _missing(session, "model", id_)  # noqa: ASYNC119 (the engine closes this generator)
                    continue
                for asset in model.assets:
                    path = api.model_asset(model.account_id, model.id, asset.id)
                    retrieval = Retrieval(path, asset.asset_name, session)
                    yield retrieval.source(asset_file_name(model, asset), asset)  # noqa: ASYNC119 (likewise)


async def output_sources(session: Session, invocations: Many[Invocation | str]) -> AsyncGenerator[Source, None]:
    """Describe all outputs of some invocations, which are given as objects or by their ids."""
    async with aclosing(_groups(invocations)) as groups:
        async for group in groups:
            ids = [each for each in group if isinstance(each, str)]
            by_id: Mapping[str, Invocation] = {}
            if ids:
                by_id = await session.ask(api.get_invocations(QueryConstraints.includes("Invocations", "ID", ids)))
            for each in group:
                invocation = by_id.get(each) if isinstance(each, str) else each
                if invocation is None:
                    yield _missing(session, "invocation", str(each))  # noqa: ASYNC119 (the engine closes this generator)
                    continue
                for output in invocation.outputs:
                    path = api.invocation_output(invocation.account_id, invocation.model_id, invocation.id, output.id)
                    retrieval = Retrieval(path, output.display_title, session)
                    yield retrieval.source(output_file_name(invocation, output), output)  # noqa: ASYNC119 (likewise)


def _missing(session: Session, what: str, id_: str) -> Source:
    url = f"{session.root}/{what}"

    async def nowhere() -> Link:
        raise NotFoundError("GET", url, 404, "not_found", f"there is no {what} {id_}")

    return Source(f"{what}-{id_}", nowhere, f"{url}/{Secret(id_).reveal()}", item=id_)


async def _groups(items: Many[T]) -> AsyncGenerator[Sequence[T], None]:
    """Go through items in groups; an asynchronous generator is closed at the end."""
    if isinstance(items, str):
        raise ConfigurationError("one text is given where several ids are wanted", "put it into a list")
    group: list[T] = []
    if isinstance(items, AsyncIterable):
        iterator = aiter(items)
        try:
            async for item in iterator:
                yield [item]
        finally:
            if isinstance(iterator, AsyncGenerator):  # left to the garbage collector it would be closed somewhen
                await iterator.aclose()
        return
    for item in items:
        group.append(item)
        if len(group) == _AT_ONCE:
            yield group
            group = []
    if group:
        yield group
