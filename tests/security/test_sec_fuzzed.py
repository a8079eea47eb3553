"""Whatever reads foreign bytes, on bytes that nobody would send: row SEC-21.

An answer or an error that is meant for it, never another exception, in time and memory that the input's size allows.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import attrs
import h11
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import measured, spoilt, within_budget
from tests.norman.norman_opening import echo, model, signature
from tests.rest.test_rest_models import ANSWERS
from tests.security.certificates import CA
from tests.strategies import is_harmless
from trio_norman import errors
from trio_norman._sansio.addresses import check_address
from trio_norman._sansio.answers import error_of_status
from trio_norman._sansio.digests import announced_digests
from trio_norman._sansio.expiry import url_lifetime
from trio_norman._sansio.frames import read_keys
from trio_norman._sansio.heads import Asked, Refused, Version, read_head
from trio_norman._sansio.journal import Header, Owner, encode_header, encode_release, encode_span, encode_version
from trio_norman._sansio.journal import decode as decode_journal
from trio_norman._sansio.jsontext import decode_json
from trio_norman._sansio.manifest import read_entry
from trio_norman._sansio.multipart import file_part
from trio_norman._sansio.names import collision_key, safe_name
from trio_norman._sansio.ranges import ByteRange
from trio_norman._sansio.redaction import printable, public_url
from trio_norman._sansio.redirects import next_hop
from trio_norman._sansio.sse import SseDecoder, SseTooLargeError
from trio_norman._sansio.tasks import answer_of_callback, read_answer
from trio_norman._sansio.times import Timestamp, http_date, retry_after_seconds
from trio_norman._sansio.tokens import token_age_limit
from trio_norman._wire._client import JsonAnswer
from trio_norman._wire._heads import HeadLimits, careful_head, head_end, plain_head
from trio_norman._wire._tls import pinned_context
from trio_norman.launch import _models as launch_models
from trio_norman.launch._converter import from_wire as from_launch
from trio_norman.norman import _models as norman_models
from trio_norman.norman._configs import InvocationConfig, ModelConfig, read_config
from trio_norman.norman._converter import from_wire as from_norman
from trio_norman.rest import _classic, _v1

NOW = datetime(2026, 3, 11, tzinfo=UTC)
LIMITS = HeadLimits(64 * 1024, 256, 16, 30.0)
URL = "https://h/x"
MOST_HELD = 2**20 * 4  # bytes: an entry of an archive is read a MiB at a time


def text_of(data: bytes) -> str:
    """Header values and names as they come out of a connection: one character for each byte."""
    return data.decode("latin-1")


# ---- readers: each takes any bytes


def head(data: bytes) -> object:
    """Both ways to read a head; where the quick one takes it, the careful one reads the same."""
    end = head_end(data, 0, LIMITS)
    if end is None:
        return None
    whole = data[:end]
    plain = plain_head(whole, LIMITS)
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    careful = careful_head(connection, whole, "GET")
    assert plain is None or plain == careful
    return careful


def headers_of_a_range(data: bytes) -> object:
    value = text_of(data)
    asked = Asked("f", URL, ByteRange(0, 10))
    for name in ("content-range", "content-length", "content-type", "content-encoding", "etag", "last-modified"):
        fields = [("content-range", "bytes 0-9/10"), ("content-length", "10"), ("etag", '"v1"')]
        reading = read_head(asked, 206, [*((n, v) for n, v in fields if n != name), (name, value)])
        if name == "content-type" and value.lower().startswith("multipart/byteranges"):
            assert isinstance(reading, Refused)
        read_head(asked, 416, [(name, value)])
        read_head(Asked("f", URL), 200, [(name, value)])
    return None


def digest_headers(data: bytes) -> object:
    names = ("repr-digest", "content-digest", "x-goog-hash", "content-md5", "x-cos-hash-crc64ecma")
    for name in (*names, "x-amz-checksum-sha256", "x-amz-checksum-crc64nvme"):
        announced_digests([(name, text_of(data))], whole_body=True)
    return None


def times(data: bytes) -> object:
    text = text_of(data)
    http_date(text)
    wait = retry_after_seconds(text, now=NOW)
    assert wait is None or wait >= 0
    return Timestamp.parse(text)


def error_body(data: bytes) -> object:
    error = error_of_status("GET", URL, 500, {"retry-after": text_of(data[:40])}, data, now=NOW)
    assert is_harmless(str(error))
    return error


MODELS: list[tuple[str, type]] = [
    *(("rest", kind) for kind in ANSWERS),
    *(
        (service, kind)
        for service, module in (("launch", launch_models), ("norman", norman_models))
        for kind in vars(module).values()
        if isinstance(kind, type) and attrs.has(kind) and kind.__module__ == module.__name__
    ),
]


def models(data: bytes) -> object:
    document = decode_json(data)
    for service, kind in MODELS[zlib.crc32(data) % 8 :: 8]:  # some of them each time
        try:
            if service == "rest":
                _classic.SPELLING.read(kind, document, method="GET", url=URL, request_id=None)
                _v1.SPELLING.read(kind, document, method="GET", url=URL, request_id=None)
            elif service == "launch":
                from_launch(kind, JsonAnswer(URL, document, None, "", NOW), method="GET")
            else:
                from_norman(Sequence[kind], document, method="GET", url=URL, request_id=None)  # type: ignore[valid-type]
        except errors.MalformedResponseError as error:
            assert error.problems  # noqa: PT017 (or it is read)
    return None


def names(data: bytes) -> object:
    text = data.decode("utf-8", "surrogateescape")
    name = safe_name(text)
    assert "/" not in name
    assert name not in ("", ".", "..")
    return collision_key(name)


def form_names(data: bytes) -> object:
    before, _ = file_part(data.decode("utf-8", "surrogateescape"), boundary="b")
    assert before.count(b"\r\n") == before.count(b"\n") == before.count(b"\r") == 4
    assert b"\0" not in before
    return None


def sidecar(data: bytes) -> object:
    journal = decode_journal(data)
    return None if journal is None else journal.trusted(boot="b")


def event_stream(data: bytes) -> object:
    whole, pieces = SseDecoder(), SseDecoder()
    step = max(1, len(data) // 50)
    events = whole.feed(data)
    assert [event for at in range(0, len(data), step) for event in pieces.feed(data[at : at + step])] == events
    return events


def pairing(data: bytes) -> object:
    response = from_norman(
        norman_models.SocketPairingResponse, decode_json(data), method="POST", url=URL, request_id=None
    )
    secrets = {name: getattr(response, name) for name in ("encryption_key", "nonce", "authentication_header")}
    return read_keys(**secrets)


def callback(data: bytes) -> object:
    document = decode_json(data)
    try:
        _, told = answer_of_callback(document)
    except ValueError:
        told = document
    return read_answer(told)


def token(data: bytes) -> object:
    for each in (text_of(data), f"h.{base64.urlsafe_b64encode(data).decode().rstrip('=')}.s"):
        assert token_age_limit(each, now=NOW) >= 0
    return None


def addresses(data: bytes) -> object:
    text = text_of(data)
    assert next_hop(URL, text, hops=0, allow_http=False)
    url_lifetime(text, now=NOW)
    assert is_harmless(printable(public_url(text)))
    check_address(text, allow_http=True)
    return None


def list_line(data: bytes) -> object:
    return read_entry(data.decode("utf-8", "replace"), number=1)


def pinned_certificates(data: bytes) -> object:
    return pinned_context(text_of(data)).cert_store_stats()


def configurations(data: bytes) -> object:
    document = decode_json(data)
    for kind in (ModelConfig, InvocationConfig):
        try:
            read_config(kind, document)
        except errors.ConfigurationError as error:
            assert is_harmless(str(error))  # noqa: PT017 (or it is read)
    return None


JSON = [
    b'{"task_id": "t", "status": "SUCCESS", "result": {"result": "1"}, "traceback": null, "status_code": 200}',
    b'{"training_runs": [{"training_run_id": "r"}], "total": 1, "limit": 2, "offset": 0, "has_more": false}',
    b'{"ID": "11", "Name": "m", "Assets": [{"ID": "1"}], "Created_At": "2026-03-11T10:00:00Z"}',
    b'[{"id": "f", "name": "n", "exp": 1e300, "size": 5, "x": [[[[{}]]]], "y": "\\ud800"}]',
    b'{"error": {"code": "c", "message": "m"}, "detail": [{"loc": ["a", 1], "msg": "m"}], "request_id": "r"}',
]
PAIRING = json.dumps(
    {
        "Pairing_ID": "p",
        "pairing_id": "p",
        "host": "127.0.0.1",
        "port": 80,
        "encryption_key": base64.b64encode(bytes(32)).decode(),
        "nonce": base64.b64encode(bytes(12)).decode(),
        "authentication_header": base64.b64encode(bytes(16)).decode(),
    }
).encode()
HEADS = [
    b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "v"\r\nConnection: keep-alive\r\n\r\n',
    b"HTTP/1.0 206 x\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 0-9/10\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n",
]

SIDECAR = (
    encode_header(Header("run-1", Owner("h", "b", 1, 2)))
    + encode_version(Version(99, '"v1"', {"md5": "0" * 32}), [ByteRange(0, 5)])
    + encode_span(ByteRange(5, 9), synced=True)
)

PEM = CA.cert_pem.bytes()
CONFIGS = [
    json.dumps(each).encode()
    for each in (
        model(
            {"File": "f.bin"},
            [signature("Words", transforms=[{"transform_name": "t"}])],
            user_added_tags=[{"name": "t"}],
        ),
        echo("hello", source="Primitive"),
        {**echo("hello"), "outputs": [{"display_title": "Output", "consume_mode": "Bytes"}]},
    )
]

Reader = Callable[[bytes], object]

READERS: dict[str, tuple[Reader, Sequence[bytes], tuple[type[Exception], ...]]] = {
    "heads": (head, HEADS, (httpx.RemoteProtocolError,)),
    "pinned certificates": (
        pinned_certificates,
        [PEM, PEM * 2, PEM[:300], b"-----BEGIN CERTIFICATE-----\n"],
        (ValueError,),
    ),
    "configurations": (configurations, CONFIGS, (ValueError,)),
    "headers of a range": (
        headers_of_a_range,
        [b"bytes 0-9/10", b"bytes */10", b"10", b"multipart/byteranges; boundary=b", b'W/"v1"', b"gzip, identity"],
        (),
    ),
    "digest headers": (
        digest_headers,
        [b"sha-256=:" + base64.b64encode(bytes(32)) + b":, md5=:AA==:", b"crc32c=AAAAAA==,md5=AA==", b"123456789"],
        (),
    ),
    "times": (
        times,
        [b"Wed, 11 Mar 2026 10:00:00 GMT", b"120", b"2026-03-11T10:00:00.123+08:00", b"9" * 30],
        (ValueError,),
    ),
    "bodies of errors": (error_body, [*JSON, b"<Error><Code>C</Code><Message>&lt;m</Message></Error>", b"\x1b[2J"], ()),
    "models": (models, JSON, (ValueError,)),
    "names": (
        names,
        [b"model-v1.zip", "naïve 文件.txt".encode(), b"../../etc", b"CON.txt", b"\xff\xfe"],
        (ValueError,),
    ),
    "names in forms": (form_names, [b'a"b.txt', b"a\r\nX: y", b"\0", "😀".encode()], ()),
    "sidecars": (sidecar, [SIDECAR, SIDECAR + encode_release(), b"[" * 50], ()),
    "event streams": (
        event_stream,
        [b"id: 1\nevent: e\ndata: {}\n\n", b": c\r\n\r\ndata:a\rdata\r\r", b"\xef\xbb\xbfretry: 10\ndata: x\n\n"],
        (SseTooLargeError,),
    ),
    "pairings": (pairing, [PAIRING, *JSON], (ValueError, errors.MalformedResponseError)),
    "answers and callbacks": (callback, JSON, (ValueError,)),
    "tokens": (token, [b'{"exp": 1773223200}', b'{"exp": 1' + b"0" * 350 + b"}", b"a.b.c", b'{"exp": -1e308}'], ()),
    "addresses": (
        addresses,
        [b"https://h.example:443/p?q-sign-time=1;2&X-Amz-Expires=9", b"//h", b"http://[::1]:80/", b"http://u:p@h"],
        (errors.ConfigurationError, errors.AddressError),
    ),
    "lines of a list": (
        list_line,
        [b"https://h/x\tname\tsize=5\tsha256=" + b"0" * 64, b"# c", b"\t\t\t"],
        (errors.ConfigurationError,),
    ),
}


@pytest.mark.fuzz
@pytest.mark.parametrize("what", READERS)
@measured
@given(data=st.data())
def test_SEC_21_any_bytes_are_read_or_refused_within_bounds(what: str, data: st.DataObject) -> None:
    """An answer, or an error that is meant for it; time and memory in proportion to the input."""
    read, samples, refusals = READERS[what]
    sample = data.draw(spoilt(*samples))
    within_budget(len(sample), lambda: read(sample), *refusals)
