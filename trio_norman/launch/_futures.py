"""`EndpointResponseFuture`: the answer to come of one asynchronous task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import trio

from ..errors import ConfigurationError, EndpointTimeoutError, TrioNormanError
from ._poller import INTERESTED_SECONDS, Watch
from ._responses import EndpointResponse

if TYPE_CHECKING:
    from ._client import LaunchClient

_TASK = "_task"  # where an error keeps name and id of a task


@attrs.define(eq=False)
class EndpointResponseFuture:
    """The answer to come of one task; any number of tasks may wait for it.

    Name and id are all that another process needs: `LaunchClient.future` makes it again. Whoever knows the id can read
    the answer, so it is not shown.

    An id that nobody knows reads as pending for ever: the service does not tell it from a task that waits.
    """

    _client: LaunchClient = attrs.field(repr=False)
    endpoint_name: str
    async_task_id: str = attrs.field(repr=False)
    _watch: Watch = attrs.field(repr=False)

    @property
    def client(self) -> LaunchClient:
        """The client that asks for it."""
        return self._client

    @property
    def last_status(self) -> str:
        """The service's own word for how the task was when it was last asked about; empty if it never was."""
        return self._watch.last_status

    def done(self) -> bool:
        """Tell whether the answer is here. It is asked for during the next seconds, even if nobody waits.

        Raises:
            trio.ClosedResourceError: Outside the client's block, if the answer has not come before.
        """
        if self._watch.answer is None:
            self._watch.interested_until = trio.current_time() + INTERESTED_SECONDS
            self._client.open_state.poller.want(self._watch)
        return self._watch.answer is not None

    async def get(self, timeout: float | None = None) -> EndpointResponse:  # noqa: ASYNC109 (the service's own word)
        """Wait for the answer and return it; a failed task is an answer too: see `EndpointResponse.raise_for_status`.

        Args:
            timeout: Seconds, above 0; None waits until your cancel scope ends.

        Raises:
            ValueError: If `timeout` is 0 or less, or no number.
            EndpointTimeoutError: If it did not come in time. Ask again whenever you like: nothing is lost.
            TransportError: If asking failed until the retry policy gave up. Ask again, likewise.
            ServiceError: If the service refuses to tell.
            MalformedResponseError: If what it tells cannot be read.
            trio.ClosedResourceError: Outside the client's block, if the answer has not come before.

        Cancellation: nothing is lost; call again.
        """
        if timeout is not None and not timeout > 0:
            raise ConfigurationError("timeout is not above 0", "give the seconds to wait, or None")
        if timeout is None:
            await self._wait()
        else:
            with trio.move_on_after(timeout):
                await self._wait()
        if self._watch.answer is None:
            raise EndpointTimeoutError(self.endpoint_name, timeout or math.inf, self.last_status)
        return EndpointResponse.of(
            self._watch.answer, client=self._client, raw=self._watch.raw, endpoint_name=self.endpoint_name
        )

    async def _wait(self) -> None:
        watch = self._watch
        if watch.answer is not None:
            await trio.lowlevel.checkpoint()
            return
        with self._client.in_use() as state:
            watch.waiting += 1
            try:
                state.poller.want(watch)
                turn = watch.turn
                await turn.over.wait()
            finally:
                watch.waiting -= 1
            if watch.answer is None and turn.error is not None:
                raise _own(turn.error)


def note_task(error: TrioNormanError, future: EndpointResponseFuture) -> None:
    """Remember in an error which task it leaves without an answer. It is no field: whoever prints it shows no id."""
    error.__dict__[_TASK] = (future.endpoint_name, future.async_task_id)


def task_of(error: TrioNormanError) -> tuple[str, str] | None:
    """Return name and id of the task that an error leaves without an answer, None if there is none."""
    task: tuple[str, str] | None = error.__dict__.get(_TASK)
    return task


def _own(error: Exception) -> Exception:
    """Return an error for one of several who get it: a traceback is written into the object that is raised."""
    return attrs.evolve(error) if isinstance(error, TrioNormanError) else error
