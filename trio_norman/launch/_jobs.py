"""Batch jobs: many inputs, answered in a file."""

from __future__ import annotations

import base64
import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import trio

from .._sansio.polling import PollSchedule
from .._wire._uploading import put_bytes
from ..errors import ConfigurationError, EndpointTimeoutError
from . import _api as api
from ._models import BatchJob
from ._requests import encoded

if TYPE_CHECKING:
    from ._client import LaunchClient

_SLOWEST = 30.0  # seconds between two looks at a job, which takes minutes or hours


@attrs.define(eq=False)
class BatchJobs:
    """The batch jobs of a client: made, looked at, awaited, cancelled.

    Source: wire/launch, section 11.
    """

    _client: LaunchClient = attrs.field(repr=False)

    async def create(
        self,
        model_bundle_id: str,
        *,
        labels: Mapping[str, str],
        input_path: str | None = None,
        urls: Sequence[str] | None = None,
        inputs: Sequence[Any] | None = None,
        serialization_format: str = "JSON",
        resource_requests: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
    ) -> str:
        """Make a batch job and return its id. Everything is checked before anything is uploaded.

        Args:
            model_bundle_id: Id of the bundle that answers.
            labels: With ``team`` and ``product`` at least.
            input_path: Storage URL of a CSV file with the inputs; or else one of the next two, which are uploaded.
            urls: Files whose bytes are the inputs.
            inputs: Arguments, each of them anything that is JSON.
            serialization_format: ``JSON`` or ``PICKLE``, of the results.
            resource_requests: What each worker has.
            timeout_seconds: Of the whole job, above 0.

        Raises:
            ConfigurationError: If the arguments do not fit; nothing was sent.
            TrioNormanError: If uploading or making it failed.

        Cancellation: the job may have been made.
        """
        rows = None if input_path is not None else api.batch_rows(urls, inputs)
        if rows is None and (urls is not None or inputs is not None):
            raise ConfigurationError("input_path is given, and urls or inputs too", "give one of the three")
        table = None if rows is None else _csv(*rows)
        call = api.create_batch_job(
            model_bundle_id,
            input_path or "",
            labels=labels,
            serialization_format=serialization_format,
            resource_requests=resource_requests,
            timeout_seconds=timeout_seconds,
        )
        if table is not None:
            path = await self._upload(table)
            call = attrs.evolve(call, body={**(call.body or {}), "input_path": path})
        return (await self._client.ask(call)).job_id

    async def get(self, job_id: str) -> BatchJob:
        """Return how a job is."""
        return await self._client.ask(api.batch_job(job_id))

    async def cancel(self, job_id: str) -> bool:
        """Ask for a job to be stopped. The service says yes for finished jobs too, and even where it failed."""
        return bool((await self._client.ask(api.cancel_batch_job(job_id))).success)

    async def wait(self, job_id: str, timeout: float | None = None) -> BatchJob:  # noqa: ASYNC109 (as a future's `get`)
        """Wait until a job is over, one way or the other, and return how it ended.

        Args:
            job_id: Its id.
            timeout: Seconds, above 0; None waits until your cancel scope ends.

        Raises:
            ValueError: If `timeout` is 0 or less.
            EndpointTimeoutError: If it is not over by then; nothing is lost.

        Cancellation: nothing is lost; call again.
        """
        if timeout is not None and not timeout > 0:
            raise ConfigurationError("timeout is not above 0", "give the seconds to wait, or None")
        schedule, began, polls, status = PollSchedule(longest=_SLOWEST), trio.current_time(), 0, ""
        with trio.move_on_after(math.inf if timeout is None else timeout):
            while not (job := await self.get(job_id)).is_final:
                status, polls = str(job.status), polls + 1
                await trio.sleep(schedule.wait(trio.current_time() - began, polls, jitter=random.random()))
            return job
        raise EndpointTimeoutError("the batch job", timeout or math.inf, status)

    async def _upload(self, table: bytes) -> str:
        place = await self._client.ask(api.batch_upload(), at_old_root=True)
        with self._client.in_use() as state:
            quick = state.quick
            await put_bytes(state.connection, place.url, table, home=quick.vicinity, policy=quick.policy)
        return f"s3://{place.bucket}/{place.key}"


def _csv(column: str, rows: Sequence[Any]) -> bytes:
    """Write a batch job's inputs.

    Source: wire/launch, section 11: arguments are base64 of JSON, lines end with CRLF.
    """
    lines = [f"id,{column}"]
    for number, row in enumerate(rows):
        lines.append(f"{number},{_cell(column, row)}")
    return "".join(f"{line}\r\n" for line in lines).encode()


def _cell(column: str, row: Any) -> str:
    if column == "args":
        return base64.b64encode(encoded(row, what="an input")).decode()
    if not isinstance(row, str) or not row.isprintable():
        raise ConfigurationError("one of the urls is none", "give texts")
    return '"' + row.replace('"', '""') + '"' if any(mark in row for mark in ',"') else row
