"""`EndpointResponse`: one answer of an endpoint, of the same shape whichever way it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import attrs
import trio

from .._sansio.redaction import Secret
from .._sansio.tasks import TaskAnswer, TaskStatus, decoded, is_error_body
from ..errors import ConfigurationError, EndpointTaskError
from ..transfer import DownloadOptions, DownloadResult, Fetch, Source, download_many

if TYPE_CHECKING:
    from ._client import LaunchClient

LARGEST_RESULT = 2**30  # bytes that are taken into memory
_NAME = "result"


def _secret_or_none(url: str | Secret | None) -> Secret | None:
    return None if url is None else Secret(url)


@attrs.frozen(eq=False)
class EndpointResponse:
    """One answer of an endpoint.

    The service wraps results differently for each way of asking; here the depth is always the same, and `raw` keeps
    what came.

    Args:
        client: Downloads what `result_url` leads to.
        status: ``SUCCESS`` or ``FAILURE``; in a stream also what else the service says of an event.
        result_url: Place of a result that is stored (a credential: it prints as ``<redacted>``), None if it is inline.
        result: What the model gave. Synchronous and asynchronous endpoints write it as JSON text by default,
            streaming ones as the value itself; `value` is the value in each case.
        traceback: What the model or its worker said when it failed.
        status_code: HTTP status of the model's own server. An asynchronous ``SUCCESS`` may have an error's.
        raw: The service's answer, untouched.

    Source: wire/launch, sections 5.5 and 7.
    """

    client: LaunchClient | None = attrs.field(repr=False)
    status: TaskStatus | str
    result_url: Secret | None = attrs.field(default=None, converter=_secret_or_none)
    result: Any = None
    traceback: str | None = None
    status_code: int | None = None
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    endpoint_name: str = ""

    @classmethod
    def of(
        cls, answer: TaskAnswer, *, client: LaunchClient | None, raw: Mapping[str, Any], endpoint_name: str
    ) -> EndpointResponse:
        """Make the response of an answer that was read."""
        return cls(
            client,
            answer.status,
            answer.result_url,
            answer.result,
            answer.traceback,
            answer.status_code,
            raw,
            endpoint_name,
        )

    @property
    def value(self) -> Any:
        """The result as a value: JSON text is decoded, everything else is itself."""
        return decoded(self.result)

    @property
    def is_failure(self) -> bool:
        """Whether the model or its worker failed: by status, by status code, or by an error in place of a result."""
        code = self.status_code
        is_empty = self.result is None and self.result_url is None
        broken = self.traceback is not None and (is_empty or is_error_body(self.result, code))
        return self.status != TaskStatus.SUCCESS or (code is not None and code >= 400) or broken

    def raise_for_status(self) -> EndpointResponse:
        """Return the response itself, or raise what it says of a failure.

        Raises:
            EndpointTaskError: With status, status code and traceback, escaped.
        """
        if self.is_failure:
            said = self.traceback or (self.result if isinstance(self.result, str) else "") or ""
            raise EndpointTaskError(self.endpoint_name or "the endpoint", str(self.status), self.status_code, said)
        return self

    async def fetch_result(self, *, unsafe_unpickle: bool = False) -> Any:
        """Download what `result_url` leads to, by the transfer engine and without the API key.

        Args:
            unsafe_unpickle: Return the object that the bytes are a pickle of. **Unpickling runs code**: whoever
                controls the model, the storage or the URL then controls this process.

        Returns:
            The bytes, as they are; or the object.

        Raises:
            ConfigurationError: If there is no `result_url`, or it is no http(s) URL.
            trio.ClosedResourceError: If its client is closed, or is closed meanwhile.
            LimitExceededError: If it has more than 1 GiB; `save_result` has no such limit.
            TrioNormanError: If it cannot be brought home.

        Cancellation: nothing is left behind.
        """
        folder = await trio.to_thread.run_sync(TemporaryDirectory)
        try:
            result = await self._saved(folder.name, _NAME, largest_bytes=LARGEST_RESULT)
            data = await trio.to_thread.run_sync(result.path.read_bytes)
        finally:
            with trio.CancelScope(shield=True):  # removing two files waits for nobody
                await trio.to_thread.run_sync(folder.cleanup)
        if not unsafe_unpickle:
            return data
        import pickle  # nothing else ever needs it

        return await trio.to_thread.run_sync(pickle.loads, data)

    async def save_result(self, dest: Path | str, name: str) -> DownloadResult:
        """Download what `result_url` leads to into a directory, resumable and verified as every download.

        Raises:
            ConfigurationError: If there is no `result_url`, or it is no http(s) URL.
            trio.ClosedResourceError: If its client is closed, or is closed meanwhile.
            TrioNormanError: If it cannot be brought home.

        Cancellation: the partial file stays and is taken up by the next download.
        """
        return await self._saved(dest, name)

    async def _saved(
        self, dest: Path | str, name: str, largest_bytes: int = DownloadOptions().largest_bytes
    ) -> DownloadResult:
        source = Source.from_url(self._address(), name)
        found: DownloadResult | None = None
        with nullcontext() if self.client is None else self.client.in_use():
            async with download_many(
                [source], dest, fetch=self._fetch(), fail_fast=True, largest_bytes=largest_bytes
            ) as results:
                async for found in results:  # noqa: B007 (there is exactly one)
                    pass
        assert found is not None  # noqa: S101 (else fail_fast has raised)
        return found

    def _address(self) -> str:
        if self.result_url is None:
            raise ConfigurationError("this response has no result_url", "its result is in `result`")
        url = self.result_url.reveal()
        if not url.startswith(("https://", "http://")):
            scheme = url.partition(":")[0][:10]
            raise ConfigurationError(f"a result_url of the kind {scheme!r} cannot be fetched by HTTP",
                                     "fetch it with the storage's own client: result_url.reveal()")  # fmt: skip
        return url

    def _fetch(self) -> Fetch | None:
        return None if self.client is None else self.client.fetch
