"""`RestClient`: the calls of the training service, its lists as iterators, and its checkpoints as files."""

from __future__ import annotations

import trio

from ..errors import ServiceError
from ._calls import AccessScope
from ._downloading import Downloading
from ._models import ArchiveUrl, CheckpointInfo, Sampler, Session, TrainingRun, UserInfo


class RestClient(Downloading):
    """The training service, for as long as the client's ``async with`` block lasts.

    It owns a nursery: pages that are read ahead and downloads that were started run in it. Leaving the block cancels
    them and waits for them. Entering it checks the key. Made by `ServiceClient.create_rest_client`.

    The service speaks one of two dialects, and every call works in both; `dialect` tells which one it is.

    Every call raises `TransportError`, `ServiceError` or `MalformedResponseError` as its kind of failure is,
    `UnsupportedError` for what the service's dialect cannot say, and `trio.ClosedResourceError` outside the block.
    Calls that only read are repeated within the retry policy.
    """

    async def get_user_info(self) -> UserInfo:
        """Return the account of the key. No request is made: it was asked for when the client was opened."""
        await trio.lowlevel.checkpoint()
        return self._open_state().user_info

    async def whoami(self) -> UserInfo:
        """Ask the service whose key this is now; raises `AuthenticationError` once it is no longer good."""
        key = self._open_state().settings.api_key
        return (await self._ask(self._api.who_am_i(), api_key=key))[0]

    async def get_archive_url(self, checkpoint_id: str) -> ArchiveUrl:
        """Return a signed URL of a weight's archive; `checkpoint_id` is a weight's `cuid`."""
        return await self._get(self._api.weight_archive(self.user_info.user_id, checkpoint_id))

    async def get_training_run(self, training_run_id: str, access_scope: AccessScope | None = None) -> TrainingRun:
        """Return one training run; `access_scope` as for the lists."""
        return await self._get(self._api.training_run(training_run_id, access_scope))

    async def get_checkpoint_archive_url(self, training_run_id: str, checkpoint_id: str) -> ArchiveUrl:
        """Return a signed URL of a checkpoint's archive, and until when it is good."""
        return await self._get(self._api.checkpoint_archive(training_run_id, checkpoint_id))

    async def delete_checkpoint(self, training_run_id: str, checkpoint_id: str) -> None:
        """Delete a checkpoint for good. Services that speak `openapi/v1` are not told the run, and do not compare it.

        It is asked once: after a lost answer the checkpoint may be gone. Cancellation: likewise.
        """
        with self._in_use() as state:
            path = state.asking.dialect.checkpoint_path(training_run_id, checkpoint_id)
            answer = await state.asking.json.call("DELETE", path)
            if isinstance(answer.document, dict) and answer.document.get("success") is False:
                told = str(answer.document.get("message") or "the service says that it did not delete")
                message = state.asking.json.without_secrets(told[:1000])
                del told  # a traceback may show local variables
                raise ServiceError("DELETE", answer.url, 200, "", message, answer.request_id)

    async def get_checkpoint_info(self, path: str) -> CheckpointInfo:
        """Return base model and LoRA settings of a checkpoint, by its path."""
        return await self._get(self._api.checkpoint_info(path))

    async def get_session(self, session_id: str, access_scope: AccessScope | None = None) -> Session:
        """Return the runs and samplers of a session; `access_scope` as for the lists."""
        return await self._get(self._api.session(session_id, access_scope))

    async def get_sampler(self, sampler_id: str) -> Sampler:
        """Return a sampler."""
        return await self._get(self._api.sampler(sampler_id))
