"""What the head of a download's response means, before one byte of its body is believed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

import attrs

from ..errors import (
    ChecksumMismatchError,
    LimitExceededError,
    ProtocolError,
    RangeNotHonouredError,
    TrioNormanError,
)
from .digests import announced_digests, contradiction
from .ranges import LARGEST_SIZE, ByteRange, ContentRange
from .times import http_date

#: Without the bytes above 0x7F that RFC 9110, section 8.8.3, allows: not every header that goes back can hold them.
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')


@attrs.frozen
class Version:
    """One version of an object, as far as it is known.

    `validator` may stand in ``If-Range``: a strong ETag, or a date that is old enough to be strong.
    """

    size: int | None = None
    validator: str | None = None
    digests: Mapping[str, str] = attrs.field(factory=dict)

    def differs_from(self, other: Version) -> str:
        """Return what shows that two answers speak of different versions, empty if nothing does."""
        if None not in (self.size, other.size) and self.size != other.size:
            return f"the size was {other.size} and is {self.size}"
        changed = _changed_validator(self.validator, other.validator)
        if changed:
            return f"the {changed} changed"
        algorithm = contradiction(other.digests, self.digests)
        return f"the announced {algorithm} changed" if algorithm else ""

    def joined(self, other: Version) -> Version:
        """Return what two answers about the same version say together; `other` is the newer one."""
        if other is UNKNOWN or self is UNKNOWN:
            return self if other is UNKNOWN else other
        size = self.size if other.size is None else other.size
        return Version(size, other.validator or self.validator, {**self.digests, **other.digests})

    @property
    def may_be_combined(self) -> bool:
        """Whether spans of two answers can be told to be of one version: by validator, or in the end by digest."""
        return self.validator is not None or bool(self.digests)


def _changed_validator(now: str | None, before: str | None) -> str:
    """Return which validator two answers contradict each other in; a tag and a date cannot be compared."""
    if now is None or before is None or now == before or now.startswith('"') != before.startswith('"'):
        return ""
    if now.startswith('"'):
        return "ETag"
    return "" if http_date(now) == http_date(before) else "Last-Modified"  # one moment may be written in three ways


#: Of which nothing is known yet.
UNKNOWN = Version()


@attrs.frozen
class Body:
    """The response carries bytes from `start` on; without a `stop` they run to an end that only the framing shows.

    Of a body that `is_encoded`, only a digest that was announced beforehand can tell whether it is the object: some
    stores say gzip of an archive that is itself the object. `declines_ranges`: the server says that it would not serve
    single spans of it.
    """

    start: int
    stop: int | None
    version: Version
    is_encoded: bool = False
    declines_ranges: bool = False


@attrs.frozen
class WholeInstead:
    """A range was asked for and the whole object comes: the server ignores ranges, or the object changed."""

    body: Body


@attrs.frozen
class Unsatisfiable:
    """416: nothing begins at the asked offset; `total` is the object's length, `validator` its ETag, if it was told."""

    total: int | None
    validator: str | None = None


@attrs.frozen
class Refused:
    """This response cannot be used."""

    error: TrioNormanError


@attrs.frozen
class Asked:
    """What a request asked for: `span` None is the whole object."""

    name: str
    url: str
    span: ByteRange | None = None
    if_range: str | None = None


def read_head(
    asked: Asked, status: int, headers: Sequence[tuple[str, str]]
) -> Body | WholeInstead | Unsatisfiable | Refused:
    """Decide what a response with a status below 300, or 416, brings.

    Args:
        asked: The request.
        status: HTTP status.
        headers: Names in lower case with their values.

    Source: RFC 9110, sections 14.3 (Accept-Ranges), 14.4 (Content-Range), 15.3.7 (206) and 15.5.17 (416).
    """
    first = dict(reversed(headers))
    if status == 416 and asked.span is not None:
        told = ContentRange.parse(first.get("content-range", ""))
        total = told.total if told is not None and told.span is None else None
        return Unsatisfiable(total, _validator(first))
    codings = _codings(headers)
    if codings and status == 206 and asked.span is not None:
        return _wrong_range(asked, "the range is encoded although identity was asked for")
    if codings and codings not in (["gzip"], ["x-gzip"]):
        return Refused(ProtocolError("GET", asked.url, "the body has an encoding that nobody asked for", again="no"))
    if status == 206 and asked.span is not None:
        return _read_partial(asked, asked.span, first, headers)
    if status != 200:
        return _refused(asked, f"status {status} brings no object")
    length = _length(headers)
    if length is not None and length < 0:
        return _refused(asked, "the Content-Length makes no sense")
    version = _version(length, first, headers, whole_body=True)
    declines = first.get("accept-ranges", "").strip().lower() == "none"
    body = Body(0, length, version, is_encoded=bool(codings), declines_ranges=declines)
    return body if asked.span is None else WholeInstead(body)


def _read_partial(
    asked: Asked, span: ByteRange, first: Mapping[str, str], headers: Sequence[tuple[str, str]]
) -> Body | Refused:
    told = ContentRange.parse(first.get("content-range", ""))
    if first.get("content-type", "").lower().startswith("multipart/byteranges"):
        return _wrong_range(asked, "a multipart answer to a single range")
    if told is None or told.span is None:
        return _wrong_range(asked, "the answer does not say which bytes it carries")
    came = told.span
    if came.start != span.start or came.stop > span.stop:
        return _wrong_range(asked, f"asked for bytes {span.start}-{span.stop - 1}, got {came.start}-{came.stop - 1}")
    if _length(headers) not in (None, len(came)):
        return _wrong_range(asked, "Content-Range and Content-Length contradict each other")
    return Body(came.start, came.stop, _version(told.total, first, headers, whole_body=False))


def _codings(headers: Sequence[tuple[str, str]]) -> list[str]:
    told = [part.strip().lower() for name, value in headers if name == "content-encoding" for part in value.split(",")]
    return [coding for coding in told if coding not in {"identity", ""}]


def _version(
    size: int | None, first: Mapping[str, str], headers: Sequence[tuple[str, str]], *, whole_body: bool
) -> Version:
    return Version(size, _validator(first), announced_digests(headers, whole_body=whole_body))


def _validator(first: Mapping[str, str]) -> str | None:
    etag = first.get("etag", "").strip()
    if etag:
        return etag if _STRONG_ETAG.fullmatch(etag) else None
    # A date is taken for strong only if it lies more than a minute before the answer: RFC 9110, section 8.8.2.2, leaves
    # the distance open and RFC 2616, section 13.3.3, named this one.
    modified, date = first.get("last-modified", ""), http_date(first.get("date", ""))
    moment = http_date(modified)
    if moment is None or date is None or date - moment <= timedelta(seconds=60):
        return None
    return modified.strip()


def _length(headers: Sequence[tuple[str, str]]) -> int | None:
    """Return the announced length, None without one, and -1 where the announcements make no sense."""
    values = [value for name, value in headers if name == "content-length"]
    if not values or any(name == "transfer-encoding" for name, _ in headers):
        return None
    told = [part.strip() for value in values for part in value.split(",")]
    is_one_number = len(set(told)) == 1 and re.fullmatch(r"\d{1,19}", told[0], re.ASCII)
    return int(told[0]) if is_one_number and int(told[0]) <= LARGEST_SIZE else -1


def _refused(asked: Asked, why: str) -> Refused:
    return Refused(ProtocolError("GET", asked.url, why))


def _wrong_range(asked: Asked, why: str) -> Refused:
    return Refused(RangeNotHonouredError(asked.name, why))


def size_beyond_limit(url: str, size: int, largest: int) -> TrioNormanError | None:
    """Return what is wrong with an object that is longer than is taken, None if nothing is."""
    return LimitExceededError("GET", url, "the object", largest) if size > largest else None


def size_contradiction(name: str, announced: int | None, told: int | None) -> ChecksumMismatchError | None:
    """Return the error if an answer tells another size than was announced for the object."""
    if announced is None or told is None or announced == told:
        return None
    return ChecksumMismatchError(name, "", "size", str(announced), str(told))


def what_contradicts(name: str, announced: Version, told: Version) -> ChecksumMismatchError | None:
    """Return the error if an answer's head tells another size or digest than was announced for the object."""
    wrong_size = size_contradiction(name, announced.size, told.size)
    algorithm = contradiction(announced.digests, told.digests)
    if wrong_size is not None or algorithm is None:
        return wrong_size
    theirs = told.digests[algorithm]
    return ChecksumMismatchError(name, "by the server's own headers", algorithm, announced.digests[algorithm], theirs)
