"""Bringing the data of several inputs or assets to the service at once, under one limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs
import trio

from .._lifetimes import lone_error_unwrapped
from .._sansio.flagging import FAILED
from ..errors import (
    AddressError,
    ConnectError,
    LimitExceededError,
    MalformedResponseError,
    NameResolutionError,
    ServiceError,
    TlsError,
    TransportError,
    TrioNormanError,
)
from . import _calls as api
from ._models import (
    AssetDownloadRequest,
    InputDownloadRequest,
    InvocationSignature,
    ModelAsset,
    SocketAssetPairingRequest,
    SocketInputPairingRequest,
    SocketPairingResponse,
)
from ._pushing import Push
from ._resolving import Resolved
from ._session import Session
from ._waiting import flags_of

_BEGUN = 2  # the value of a flag whose step is in progress


@attrs.frozen
class UploadAdvanced:
    """Bytes of an input or asset were sent: `sent_bytes` of `size_bytes`. It goes back to 0 when it begins anew."""

    name: str
    entity_id: str
    sent_bytes: int
    size_bytes: int


OnUpload = Callable[[UploadAdvanced], None]


@attrs.frozen(eq=False)
class Provision:
    """Data for one entity of the service: how to have its link fetched, or its body pushed."""

    name: str
    entity_id: str
    data: Resolved
    pair: Callable[[int], api.Call[SocketPairingResponse]]
    submit: Callable[[str], api.Call[Sequence[str]]]

    @classmethod
    def of_asset(cls, asset: ModelAsset, data: Resolved) -> Provision:
        """Provide an asset."""
        account, model, name = asset.account_id, asset.model_id, asset.asset_name

        def pair(size: int) -> api.Call[SocketPairingResponse]:
            return api.pair_asset(
                SocketAssetPairingRequest(
                    account_id=account, model_id=model, file_size_in_bytes=size, asset_id=asset.id
                )
            )

        def submit(link: str) -> api.Call[Sequence[str]]:
            return api.submit_asset_links(
                AssetDownloadRequest(
                    account_id=account, model_id=model, links=[link], asset_id=asset.id, asset_name=name
                )
            )

        return cls(name, asset.id, data, pair, submit)

    @classmethod
    def of_input(cls, entry: InvocationSignature, data: Resolved) -> Provision:
        """Provide an input of an invocation."""
        account, model, invocation = entry.account_id, entry.model_id, entry.invocation_id

        def pair(size: int) -> api.Call[SocketPairingResponse]:
            return api.pair_input(
                SocketInputPairingRequest(
                    account_id=account,
                    model_id=model,
                    file_size_in_bytes=size,
                    invocation_id=invocation,
                    input_id=entry.id,
                )
            )

        def submit(link: str) -> api.Call[Sequence[str]]:
            return api.submit_input_links(
                InputDownloadRequest(
                    account_id=account,
                    model_id=model,
                    links=[link],
                    signature_id=entry.signature_id,
                    invocation_id=invocation,
                    input_id=entry.id,
                )
            )

        return cls(entry.display_title, entry.id, data, pair, submit)


async def provide_all(session: Session, provisions: Sequence[Provision], note: OnUpload | None) -> None:
    """Bring everything there, in parallel as far as the client's limit goes; the first failure ends the others.

    Raises:
        TrioNormanError: What the first one to fail raises.
    """
    with lone_error_unwrapped(lambda errors: errors[0]):
        async with trio.open_nursery() as nursery:
            for provision in provisions:
                nursery.start_soon(_provide, session, provision, note)


async def _provide(session: Session, provision: Provision, note: OnUpload | None) -> None:
    async with session.uploads:
        if provision.data.link is not None:
            await session.ask(provision.submit(provision.data.link))
        elif provision.data.open_body is not None:
            push = Push(
                session, provision.data.open_body, provision.pair, lambda: _is_taken(session, provision.entity_id)
            )
            if note is not None:
                push.note = lambda sent, size: note(UploadAdvanced(provision.name, provision.entity_id, sent, size))
            await push.run()


async def _is_taken(session: Session, entity_id: str) -> bool:
    """Whether the service has begun to work on what was pushed for an entity."""
    values = [flag.value for flag in await flags_of(session, [entity_id])]
    return FAILED not in values and any(value >= _BEGUN for value in values)


@contextmanager
def orphans_noted(*orphans: str) -> Iterator[None]:
    """Write into every error of the block what is left at the service."""
    try:
        yield
    except TrioNormanError as error:
        if orphans:
            error.note_orphans(*orphans)
        raise


@contextmanager
def lost_answer_noted(what: str) -> Iterator[None]:
    """Write into an error after which nobody knows it that the service may have acted."""
    try:
        yield
    except (AddressError, ConnectError, NameResolutionError, TlsError):
        raise  # nothing was sent
    except TransportError as error:
        error.note_orphans(f"perhaps {what}: the answer was lost")
        raise
    except ServiceError as error:
        if error.status >= 500:
            error.note_orphans(f"perhaps {what}: the service failed")
        raise
    except (MalformedResponseError, LimitExceededError) as error:
        if not error.orphans:  # it may be known already what was made
            error.note_orphans(f"perhaps {what}: the answer cannot be read")
        raise
