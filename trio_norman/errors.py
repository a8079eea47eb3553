"""Every exception that trio_norman raises, cut by what the caller can do next.

::

    TrioNormanError
      ConfigurationError (also ValueError)  fix the call or the settings; nothing was sent
        UnsupportedError                      the service's dialect cannot say this
      TransportError                        no whole answer came
        NameResolutionError                   the host name does not resolve
        ConnectError                          nobody accepts connections there
        TlsError                              the peer's certificate or handshake was refused
        ProxyError                            the proxy refused
        HeadTimeoutError                      no response head within the limit
        SlowTransferError                     the body came, or was taken, slower than the stall limit
        InterruptedTransferError              the connection ended inside the body
        ProtocolError                         what came is not HTTP as we can trust it
        RedirectError                         a redirect that is not followed
        AddressError                          an address that is not contacted
      ServiceError                          the service said no
        AuthenticationError                   401: the key was refused
        PermissionDeniedError                 403
        NotFoundError                         404, 410
        ConflictError                         409, 412
        RateLimitedError                      429, 503 with a time: try again after `retry_after` seconds
        ServiceBrokenError                    any other 5xx
      MalformedResponseError                the service spoke, and its answer has the wrong shape
        UndecodableResponseError              ... or is not JSON at all
        PagingError                           ... or its pages contradict each other
      LimitExceededError                    an answer is larger than a configured limit
      TransferError                         one file could not be brought home
        ChecksumMismatchError                 size or digest differ from what was announced
        UnprovenError                         nothing shows that the body is complete
        RangeNotHonouredError                 the server sent other bytes than asked for
        SourceChangedError                    the object kept changing while it was fetched
        UrlExpiredError                       a signed URL has expired, a new one as well
        NotReadyError                         the service does not give the file out yet
        FileNameError                         the name is no safe file name, or is taken in this batch
        DestinationExistsError                another file stands under the final name
        DestinationBusyError                  another download writes this file now
        NoSpaceError                          disk, quota or file-size limit is exhausted
        LocalFileError                        the local file system refused
        DownloadCancelledError                somebody cancelled this one download
      EndpointError                         an inference endpoint did not give what was asked of it
        EndpointTimeoutError (also TimeoutError, TooSlowError)  no answer yet: ask again, nothing is lost
        EndpointTaskError                     the model, or its worker, failed
      JobError                              what the service was to do with a model or an invocation is not done
        JobFailedError                        a step of it failed
        JobTimeoutError (also TimeoutError, TooSlowError)  its steps are not finished within the time limit

No field ever holds a secret: URLs lose their query, user info and fragment on the way in, and a peer's text loses
its control characters. Errors print, pickle and compare by identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import attrs
import trio

from ._sansio.redaction import printable, public_url


def _shown(text: str) -> str:
    return printable(text, at_most=500)


def _shown_long(text: str) -> str:
    return printable(text, at_most=4000)


def _shown_or_none(text: str | None) -> str | None:
    return None if text is None else printable(text)


def _all_shown(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(_shown(text) for text in texts)


@attrs.define(eq=False)
class TrioNormanError(Exception):
    """Base of everything that this package raises for a reason outside the program's own logic."""

    #: Whether the same call may succeed later without any change.
    retryable: ClassVar[bool] = False

    @property
    def request_id(self) -> str | None:
        """The service's own name for the failed request, where it gave one; quote it to its support."""
        return None

    @property
    def orphans(self) -> tuple[str, ...]:
        """What a call of several steps had made at the service before it failed, and has left there: ``model 11``."""
        return tuple(self.__dict__.get("_orphans", ()))  # no field: it would be in the way of a second base class

    def note_orphans(self, *orphans: str) -> None:
        """Remember what is left at the service, for whoever catches the error; a traceback shows it, too."""
        self.__dict__["_orphans"] = (*self.orphans, *_all_shown(orphans))
        self.add_note(f"left at the service, unfinished: {', '.join(_all_shown(orphans))}")


@attrs.define(eq=False)
class ConfigurationError(TrioNormanError, ValueError):
    """The call or the settings cannot work as they are; nothing was sent. `advice` says what to change."""

    problem: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.problem}: {self.advice}" if self.advice else self.problem


@attrs.define(eq=False)
class UnsupportedError(ConfigurationError):
    """What was asked for cannot be said in the `dialect` that the service speaks; `problem` says what it was."""

    problem: str
    dialect: str
    advice: str = "leave it out, or use a service that speaks another dialect"

    def __str__(self) -> str:
        return f"{self.problem} cannot be said in the {self.dialect} dialect: {self.advice}"


@attrs.define(eq=False)
class TransportError(TrioNormanError):
    """No whole answer came. `url` has no query; `attempts` counts the tries that were made."""

    retryable = True
    headline: ClassVar[str] = "the request failed"

    method: str
    url: str = attrs.field(converter=public_url)
    reason: str = attrs.field(default="", converter=printable)
    attempts: int = 1

    def __str__(self) -> str:
        tries = f" (after {self.attempts} attempts)" if self.attempts > 1 else ""
        because = f": {self.reason}" if self.reason else ""
        effect = "; it may have happened all the same" if self.may_have_happened else ""
        return f"{self.headline}: {self.method} {self.url}{because}{tries}{effect}"

    @property
    def may_have_happened(self) -> bool:
        """Whether a call that changes something may have had its effect, though its answer was lost: look first."""
        return bool(self.__dict__.get("_may_have_happened", False))

    def note_lost_answer(self) -> None:
        """Remember that the service may have acted."""
        self.__dict__["_may_have_happened"] = True


class NameResolutionError(TransportError):
    """The host name does not resolve. Check its spelling and the resolver."""

    headline = "the host name does not resolve"


class ConnectError(TransportError):
    """Nobody accepts connections at the address. Check host, port and network."""

    headline = "could not connect"


class TlsError(TransportError):
    """Certificate or handshake were refused. A private CA is given as a CA file; verification stays on."""

    retryable = False
    headline = "the TLS connection was refused"


class ProxyError(TransportError):
    """The proxy refused or broke the request."""

    headline = "the proxy refused"


class HeadTimeoutError(TransportError):
    """The peer accepted the connection and did not answer within the limit on the whole response head."""

    headline = "no answer within the time limit"


class SlowTransferError(TransportError):
    """The body came, or was taken, slower than the stall limit, over its whole window."""

    headline = "the transfer stalled"


class InterruptedTransferError(TransportError):
    """The connection ended before the body did."""

    headline = "the connection ended early"


@attrs.define(eq=False)
class ProtocolError(TransportError):
    """The peer does not speak HTTP in a way that can be trusted. `again` says whether it is asked once more."""

    headline = "the answer breaks the protocol"

    again: Literal["no", "once", "yes"] = "once"


class RedirectError(TransportError):
    """A redirect that is not followed: too many, a loop, no target, or https to http."""

    retryable = False
    headline = "the redirect was not followed"


class AddressError(TransportError):
    """An address that is not contacted.

    Plain http outside loopback, user info in the URL, a host in an odd form; and what a service hands out if it leads
    to this machine or to a private network, or to a host that was not allowed. `ConnectionSettings` has the options.
    """

    retryable = False
    headline = "the address was refused before connecting"


@attrs.define(eq=False)
class ServiceError(TrioNormanError):
    """The service said no.

    `status` is the HTTP status, `code` the service's own word for the problem and `message` its explanation
    (both escaped and shortened, empty if it gave none), `cause` and `suggestions` what it adds; `retry_after` is in
    seconds.
    """

    method: str
    url: str = attrs.field(converter=public_url)
    status: int
    code: str = attrs.field(default="", converter=printable)
    message: str = attrs.field(default="", converter=printable)
    given_request_id: str | None = attrs.field(default=None, converter=_shown_or_none)
    retry_after: float | None = None
    attempts: int = 1
    cause: str = attrs.field(default="", converter=printable)
    suggestions: tuple[str, ...] = attrs.field(default=(), converter=_all_shown)
    advice: ClassVar[str] = ""

    @property
    def request_id(self) -> str | None:
        """The service's own name for the failed request, where it gave one."""
        return self.given_request_id

    def note_no_key(self) -> None:
        """Remember that no key was sent, as to a storage, so that advice about keys would be wrong."""
        if self.status in (401, 403, 404, 410):
            self.__dict__["_advice"] = "the URL itself was refused: it may have expired, or nothing is there any more"

    def __str__(self) -> str:
        words = [f"{self.method} {self.url} was answered with status {self.status}"]
        said = dict.fromkeys(
            (self.code, self.message, self.cause, *self.suggestions, self.__dict__.get("_advice", self.advice))
        )
        words += [part for part in said if part]
        if self.given_request_id:
            words.append(f"request id {self.given_request_id}")
        if self.retry_after is not None:
            words.append(f"it asks to wait {self.retry_after:g} s")
        if self.attempts > 1:
            words.append(f"after {self.attempts} attempts")
        return "; ".join(words)


class AuthenticationError(ServiceError):
    """401: the key was refused."""

    advice = "the API key was refused: check it, or make a new one"


class PermissionDeniedError(ServiceError):
    """403: the key is known and may not do this."""

    advice = "this key has no right to it"


class NotFoundError(ServiceError):
    """404 or 410: there is nothing of that id, or it is not visible to this key."""

    advice = "check the id; it may be deleted or belong to another account"


class ConflictError(ServiceError):
    """409 or 412: the thing is in a state that does not allow this now."""


class RateLimitedError(ServiceError):
    """429, or a 503 that says when to come back: `retry_after` seconds is what the service asked for."""

    retryable = True
    advice = "it takes no more requests for now: wait, or use fewer connections"


class ServiceBrokenError(ServiceError):
    """5xx: the service failed."""

    retryable = True
    advice = "the service failed: try again later"


@attrs.define(eq=False)
class MalformedResponseError(TrioNormanError):
    """The service answered, and the answer has the wrong shape: each problem reads ``what @ path``."""

    method: str
    url: str = attrs.field(converter=public_url)
    problems: tuple[str, ...] = attrs.field(default=(), converter=_all_shown)
    given_request_id: str | None = attrs.field(default=None, converter=_shown_or_none)
    headline: ClassVar[str] = "the answer has an unexpected shape"

    @property
    def request_id(self) -> str | None:
        """The service's own name for the request, where it gave one."""
        return self.given_request_id

    def __str__(self) -> str:
        return f"{self.headline}: {self.method} {self.url}: {'; '.join(self.problems)}"


class UndecodableResponseError(MalformedResponseError):
    """The answer is not (strict) JSON. Often a proxy's or gateway's HTML page: check the base URL."""

    headline = "the answer is not JSON (is the base URL right?)"


class PagingError(MalformedResponseError):
    """The pages of a list contradict each other. What came before the error was yielded and is right."""

    headline = "the list's pages contradict each other"


@attrs.define(eq=False)
class LimitExceededError(TrioNormanError):
    """An answer is larger than a configured limit. `limit` is in `unit`."""

    method: str
    url: str = attrs.field(converter=public_url)
    what: str
    limit: int
    unit: str = "bytes"

    def __str__(self) -> str:
        return f"{self.what} of {self.method} {self.url} exceeds the limit of {self.limit} {self.unit}"


@attrs.define(eq=False)
class TransferError(TrioNormanError):
    """One file could not be brought home. `name` is its name at the destination."""

    name: str = attrs.field(converter=printable)
    reason: str = attrs.field(default="", converter=_shown)
    headline: ClassVar[str] = "the transfer failed"

    def __str__(self) -> str:
        return f"{self.name}: {self.headline}" + (f": {self.reason}" if self.reason else "")


@attrs.define(eq=False)
class ChecksumMismatchError(TransferError):
    """Size or digest differ from what was announced: `algorithm` (or ``size``), `announced` and `computed`."""

    algorithm: str = ""
    announced: str = attrs.field(default="", converter=printable)
    computed: str = attrs.field(default="", converter=printable)

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.name}: {self.algorithm} announced as {self.announced}, computed as {self.computed}{why}"


class UnprovenError(TransferError):
    """The framing does not show that the body is complete, and neither size nor digest are known."""

    headline = "the download cannot be proven complete"


class RangeNotHonouredError(TransferError):
    """The server sent other bytes than those that were asked for; none of them was written."""

    headline = "the server does not honour ranges"


class SourceChangedError(TransferError):
    """The object kept changing while it was being fetched."""

    retryable = True
    headline = "the source changed during the download"


class UrlExpiredError(TransferError):
    """A signed URL had expired, and a newly signed one as well: the clocks of service and storage may differ."""

    retryable = True
    headline = "the signed URL has expired, and its renewal too"


class NotReadyError(TransferError):
    """The service does not give the file out yet, and still did not when the wait for it was over."""

    retryable = True
    headline = "not ready to be downloaded yet"


class FileNameError(TransferError):
    """The name is not a safe file name, or another item of the batch has it already."""

    headline = "not usable as a file name here"


class DestinationExistsError(TransferError):
    """Another file stands under the final name and was not touched."""

    headline = "another file has this name already; move it away or ask for overwriting"


class DestinationBusyError(TransferError):
    """Another download is writing this file now."""

    retryable = True
    headline = "another download is writing this file now"


class NoSpaceError(TransferError):
    """Disk, quota or file-size limit is exhausted; the partial file is kept."""

    headline = "no space left for the file"


class LocalFileError(TransferError):
    """The local file system refused."""

    headline = "the local file system refused"


class DownloadCancelledError(TransferError):
    """This one download was cancelled by its handle; its partial file is kept."""

    headline = "the download was cancelled"


@attrs.define(eq=False)
class EndpointError(TrioNormanError):
    """An inference endpoint did not give what was asked of it."""


@attrs.define(eq=False)
class EndpointTimeoutError(EndpointError, TimeoutError, trio.TooSlowError):
    """No answer within `seconds`. The task goes on: ask the same future again, nothing is lost.

    `last_status` is the service's own word for how the task was when it was last asked about, empty if it never was.
    """

    retryable = True

    endpoint: str = attrs.field(converter=printable)
    seconds: float
    last_status: str = attrs.field(default="", converter=printable)

    def __str__(self) -> str:
        status = f", its task is {self.last_status}" if self.last_status else ""
        return f"no answer of {self.endpoint} within {self.seconds:g} s{status}; ask again, nothing is lost"


@attrs.define(eq=False)
class EndpointTaskError(EndpointError):
    """The model, or the worker around it, failed: `status`, `status_code` and `traceback` are what it said of that."""

    endpoint: str = attrs.field(converter=printable)
    status: str = attrs.field(default="", converter=printable)
    status_code: int | None = None
    traceback: str = attrs.field(default="", converter=_shown_long)

    def __str__(self) -> str:
        code = "" if self.status_code is None else f" with status code {self.status_code}"
        said = f": {self.traceback}" if self.traceback else ""
        return f"the task of {self.endpoint} ended as {self.status}{code}{said}"


@attrs.define(eq=False)
class JobError(TrioNormanError):
    """What the service was to do with a model or an invocation is not done."""


@attrs.define(eq=False)
class JobFailedError(JobError):
    """A step failed: the flag `flag_name` of the entity `entity_id`, and what a notification says of it."""

    entity_id: str = attrs.field(converter=printable)
    flag_name: str = attrs.field(converter=printable)
    title: str = attrs.field(default="", converter=printable)
    message: str = attrs.field(default="", converter=_shown)

    def __str__(self) -> str:
        said = ": ".join(part for part in (self.title, self.message) if part)
        return f"{self.flag_name} of {self.entity_id} failed" + (f": {said}" if said else "")


@attrs.define(eq=False)
class JobTimeoutError(JobError, TimeoutError, trio.TooSlowError):
    """After `seconds` there are still steps that are not finished: `unfinished` has a ``flag of entity`` for each.

    The service goes on with them.
    """

    retryable = True

    seconds: float
    unfinished: tuple[str, ...] = attrs.field(default=(), converter=_all_shown)

    def __str__(self) -> str:
        some = ", ".join(self.unfinished[:5]) + (f" and {len(self.unfinished) - 5} more" * (len(self.unfinished) > 5))
        return f"not finished within {self.seconds:g} s: {some}; the service goes on with it"
