"""``norman.file_push`` and ``norman.file_pull``: the single steps of bringing bytes to the service."""

from __future__ import annotations

from collections.abc import Sequence

from . import _calls as api
from ._models import (
    AssetDownloadRequest,
    ChecksumRequest,
    InputDownloadRequest,
    OutputDownloadRequest,
    SocketAssetPairingRequest,
    SocketInputPairingRequest,
    SocketPairingResponse,
    TrackedDownload,
)
from ._services import Service


class FilePush(Service):
    """Pairings for encrypted pushes. `Norman.invoke` and `Norman.upload_model` do all of it."""

    async def allocate_socket_for_asset(self, request: SocketAssetPairingRequest) -> SocketPairingResponse:
        """Ask for a connection for an asset; a pairing is good for one connection and one body."""
        return await self._ask(api.pair_asset(request))

    async def allocate_socket_for_input(self, request: SocketInputPairingRequest) -> SocketPairingResponse:
        """Ask for a connection for an input; a pairing is good for one connection and one body."""
        return await self._ask(api.pair_input(request))

    async def complete_file_transfer(self, request: ChecksumRequest) -> None:
        """Tell the checksum of what was pushed."""
        await self._ask(api.complete(request))


class FilePull(Service):
    """Links that the service itself fetches."""

    async def submit_asset_links(self, request: AssetDownloadRequest) -> Sequence[str]:
        """Have an asset fetched, and return the links that were accepted."""
        return await self._ask(api.submit_asset_links(request))

    async def submit_input_links(self, request: InputDownloadRequest) -> Sequence[str]:
        """Have an input fetched, and return the links that were accepted."""
        return await self._ask(api.submit_input_links(request))

    async def submit_output_links(self, request: OutputDownloadRequest) -> Sequence[str]:
        """Have an output fetched, and return the links that were accepted."""
        return await self._ask(api.submit_output_links(request))

    async def get_download_metadata(self, entity_id: str) -> TrackedDownload:
        """Return how far the service is with fetching a link for an entity."""
        return await self._ask(api.download_metadata(entity_id))
