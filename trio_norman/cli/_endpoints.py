"""``endpoints``: what serves models, and asking it: once, as a stream, or thousands of times."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import attrs
import trio
from cyclopts import Parameter
from cyclopts.validators import Number

from .._sansio.jsontext import decode_json
from ..errors import ConfigurationError, EndpointTimeoutError, TrioNormanError
from ..launch import (
    AsyncEndpoint,
    EndpointRequest,
    EndpointResponse,
    EndpointResponseFuture,
    LaunchClient,
    StreamingEndpoint,
    SyncEndpoint,
)
from ._exits import Exit, exit_of, exit_of_items
from ._launch_options import LAUNCH, LaunchFlags
from ._lists import ListFile, open_list
from ._nouns import write_list, write_thing
from ._options import OUTPUT, Jobs, OutputFlags
from ._output import Write, json_text, one_line, open_output, say
from ._views import Column, failure_line

Asked = SyncEndpoint | AsyncEndpoint | StreamingEndpoint

_REQUEST_FIELDS = {"args", "url", "request_id", "return_pickled", "destination_path", "timeout_seconds", "num_retries"}
_COLUMNS = (
    Column("NAME", lambda endpoint: endpoint.name, 24),
    Column("TYPE", lambda endpoint: endpoint.model_endpoint.endpoint_type, 9),
    Column("STATUS", lambda endpoint: endpoint.model_endpoint.status, 18),
    Column("ID", lambda endpoint: endpoint.model_endpoint.id),
)

_LONGEST_REQUEST = 16 * 2**20  # bytes of a line

Seconds = Annotated[float | None, Parameter(validator=Number(gt=0), metavar="SECONDS")]


async def list_endpoints(*, service: LaunchFlags = LAUNCH, output: OutputFlags = OUTPUT) -> int:
    """List the inference endpoints of the key's team."""
    async with service.open_launch() as client:
        found = await client.list_model_endpoints()

        async def each() -> AsyncGenerator[Any, None]:
            for endpoint in found:
                yield endpoint

        async with aclosing(each()) as endpoints:
            await write_list(
                endpoints,
                _COLUMNS,
                limit=None,
                as_json=output.json,
                to_json=lambda endpoint: endpoint.model_endpoint.to_dict(),
            )
    return Exit.OK


async def show_endpoint(name: str, /, *, service: LaunchFlags = LAUNCH, output: OutputFlags = OUTPUT) -> int:
    """Show one inference endpoint.

    Args:
        name: Its name or its id.
    """
    async with service.open_launch() as client:
        found = (await client.get_model_endpoint(name)).model_endpoint
    await write_thing(found.to_dict(), as_json=output.json)
    return Exit.OK


async def predict(
    name: str,
    /,
    *,
    args: str | None = None,
    many: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    jobs: Jobs = 64,
    timeout: Seconds = None,  # noqa: ASYNC109 (an option of the command line)
    stream: bool = False,
    service: LaunchFlags = LAUNCH,
    output: OutputFlags = OUTPUT,
) -> int:
    """Ask an inference endpoint, and write each answer as a line of JSON.

    A line has request_id, status, status_code, result, result_url, traceback, error and task_id: the id of a task that
    has no answer yet, by which it can be asked for later. With --many the lines come in order of completion. A
    streaming endpoint gives a line for each event. A model that fails is told on stderr too.

    Args:
        name: The endpoint's name or id.
        args: The model's arguments as JSON; @FILE reads them from a file.
        many: File (- is stdin) whose lines are requests: each the arguments as JSON, or an object with args or url,
            and perhaps request_id, which is the number of the line otherwise. A line has 16 MiB at most. One that is no
            request is told as an error, with its number as request_id, and the others go on.
        jobs: Requests without an answer at the same time, with --many.
        timeout: Longest wait for each answer.
        stream: Insist on a streaming endpoint.
    """
    if (args is None) == (many is None):
        raise ConfigurationError("exactly one of --args and --many is needed", "see --help")
    request = None if args is None else EndpointRequest(args=await _read_args(args))
    async with service.open_launch() as client:
        endpoint = await client.get_model_endpoint(name)
        if stream and not isinstance(endpoint, StreamingEndpoint):
            kind = endpoint.model_endpoint.endpoint_type
            raise ConfigurationError(f"--stream: the endpoint is not streaming but {kind}", "leave --stream out")
        async with open_output() as write:
            report = Report(client, write)
            if request is not None and isinstance(endpoint, StreamingEndpoint):
                await _tell_stream(report, endpoint, request, timeout)
            elif request is not None:
                await _tell_one(report, endpoint, request, timeout)
            else:
                await _tell_many(report, endpoint, many or "-", jobs, timeout)
    return exit_of_items(report.succeeded, report.failures)


@attrs.define(eq=False)
class Report:
    """What is told of each request, and what the exit code will be."""

    client: LaunchClient
    write: Write
    succeeded: int = 0
    failures: set[Exit] = attrs.field(factory=set)

    async def add(self, request_id: str, outcome: EndpointResponse | TrioNormanError) -> None:
        """Tell one answer, or the error in its place."""
        response, error = (None, outcome) if isinstance(outcome, TrioNormanError) else (outcome, _failure_of(outcome))
        future = None if error is None else self.client.future_of(error)
        if error is not None:
            self.failures.add(exit_of(error))
            say(f"error: {failure_line(request_id, error)}")
        else:
            self.succeeded += 1
        await self.write(f"{json_text(line_of(request_id, response, error, future))}\n")


def line_of(
    request_id: str,
    response: EndpointResponse | None,
    error: TrioNormanError | None,
    future: EndpointResponseFuture | None = None,
) -> Mapping[str, Any]:
    """Return what is told of one answer."""
    url = None if response is None or response.result_url is None else response.result_url.reveal()
    told = (
        None if error is None else {"kind": type(error).__name__, "message": str(error), "retryable": error.retryable}
    )
    return {
        "request_id": request_id,
        "status": None if response is None else str(response.status),
        "status_code": None if response is None else response.status_code,
        "result": None if response is None else response.value,
        "result_url": url,
        "traceback": None if response is None else response.traceback,
        "error": told,
        "task_id": None if future is None else future.async_task_id,
    }


def _failure_of(response: EndpointResponse) -> TrioNormanError | None:
    try:
        response.raise_for_status()
    except TrioNormanError as error:
        return error
    return None


async def _tell_one(report: Report, endpoint: Asked, request: EndpointRequest, seconds: float | None) -> None:
    assert not isinstance(endpoint, StreamingEndpoint)  # noqa: S101 (that has a way of its own)
    async with endpoint.predict_many([request], 1, timeout=seconds) as answers:
        async for _, outcome in answers:
            await _add(report, request, outcome)


async def _tell_stream(
    report: Report, endpoint: StreamingEndpoint, request: EndpointRequest, seconds: float | None
) -> None:
    with trio.move_on_after(float("inf") if seconds is None else seconds) as scope:
        async with endpoint.predict(request) as stream:
            async for response in stream:
                await report.add(request.request_id, response)
    if scope.cancelled_caught:
        await report.add(request.request_id, EndpointTimeoutError(endpoint.name, seconds or 0.0))


async def _tell_many(report: Report, endpoint: Asked, path: str, jobs: int, seconds: float | None) -> None:
    async with open_list(path) as lines:
        async with endpoint.predict_many(_requests(lines, report), jobs, timeout=seconds) as answers:
            async for request, outcome in answers:
                await _add(report, request, outcome)


async def _add(report: Report, request: EndpointRequest, outcome: Any) -> None:
    for each in outcome if isinstance(outcome, tuple) else (outcome,):
        await report.add(request.request_id, each)


async def _requests(file: ListFile, report: Report) -> AsyncGenerator[EndpointRequest, None]:
    """Yield the requests of a list, and tell of lines that are none: they spoil no other."""
    async with aclosing(file.lines(_LONGEST_REQUEST)) as lines:
        async for number, line in lines:
            request = line if isinstance(line, ConfigurationError) else _request_or_error(line, number)
            if isinstance(request, ConfigurationError):
                await report.add(str(number), request)
            elif request is not None:
                yield request  # noqa: ASYNC119 (`predict_many` closes this generator)


def _request_or_error(line: str, number: int) -> EndpointRequest | ConfigurationError | None:
    try:
        return read_request(line, number=number) if line.strip() else None
    except ConfigurationError as error:
        return error


def read_request(line: str, *, number: int) -> EndpointRequest:
    """Read one line of a list of requests.

    Raises:
        ConfigurationError: Naming the line.
    """
    advice = "a line is JSON: the arguments, or an object with args or url"
    try:
        document = decode_json(line.encode("utf-8", "surrogatepass"))
        if not isinstance(document, dict) or not ("args" in document or "url" in document):
            return EndpointRequest(args=document, request_id=str(number))
        unknown = ", ".join(sorted(document.keys() - _REQUEST_FIELDS))
        if not unknown:
            return EndpointRequest(**{"request_id": str(number), **document})
        problem = f"{one_line(unknown)} beside args or url"
        advice = 'known are {known}; arguments that have such names are given as {{"args": ...}}'.format(
            known=", ".join(sorted(_REQUEST_FIELDS))
        )
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError(f"line {number} is no request: {problem}", advice)


async def _read_args(text: str) -> Any:
    if text.startswith("@"):
        try:
            text = await trio.Path(Path(text[1:])).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigurationError(
                f"--args: the file cannot be read: {why}", "@FILE names a file with JSON"
            ) from None
    try:
        return decode_json(text.encode("utf-8", "surrogatepass"))
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError(f"--args is not JSON: {problem}", "quote it for the shell: --args '{\"x\": 1}'")
