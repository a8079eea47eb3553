"""Shortcuts for what is plain agree with the parsers that they spare, on anything that they accept."""

from __future__ import annotations

from unittest import mock

import h11
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import damages, secrets, texts, urls
from trio_norman._sansio import redaction
from trio_norman._sansio.plainheads import plain_request, read_plain_head
from trio_norman._sansio.redaction import public_url
from trio_norman._sansio.targets import plain_parts
from trio_norman._wire._heads import HeadLimits, careful_head, plain_head

FIELD_NAMES = ["Content-Length", "content-length", "ETag", "Connection", "Transfer-Encoding", "Date", "X-y", "Upgrade"]
VALUES = [
    "5",
    "0",
    "05",
    "123456789012345678",
    "1234567890123456789",
    "+5",
    "5, 5",
    "keep-alive",
    "Keep-Alive",
    "close",
]
LIMITS = HeadLimits(65536, 256, 16, 1.0)
CHARACTERS = "".join(map(chr, range(256)))


def heads() -> st.SearchStrategy[bytes]:
    """Heads of responses: sound ones, harmed ones, and anything that begins like one."""
    status = st.sampled_from(["200 OK", "206 Partial Content", "404", "200 ", "599 x", "600 y", "100 c", "204 n"])
    version = st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "http/1.1", "HTTP/1.2"])
    name = st.sampled_from(FIELD_NAMES) | st.text(CHARACTERS, max_size=6)
    value = st.sampled_from(VALUES) | st.text(CHARACTERS, max_size=12)
    space = st.sampled_from(["", " ", "\t", "  \t"])
    field = st.builds("{}:{}{}{}".format, name, space, value, space)
    length = st.sampled_from(["Content-Length: 5", "content-length:0", "CONTENT-LENGTH: 77 "])
    fields = st.lists(field | length | st.just('Etag: "x"'), max_size=5).map("\r\n".join)
    whole = st.builds("{} {}\r\n{}\r\n\r\n".format, version, status, fields).map(lambda text: text.encode("latin-1"))
    return whole | st.builds(lambda head, damage: damage.on(head), whole, damages()) | st.binary(max_size=60)


def is_one_head(head: bytes) -> bool:
    """Whether a connection would give these bytes to a parser: up to the first empty line."""
    return head.endswith(b"\r\n\r\n") and head.count(b"\r\n\r\n") == 1


def asked() -> h11.Connection:
    """Return a connection on which a GET was sent."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    return connection


@pytest.mark.fuzz
@given(head=heads())
@example(b"HTTP/1.1 200\r\nETag: \t x \r\nContent-Length:0\t\r\nConnection: Keep-Alive\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
def test_a_head_that_is_plain_means_the_same_to_the_general_parser(head: bytes) -> None:
    plain = read_plain_head(head)
    if plain is None or not is_one_head(head):
        return
    connection = asked()
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Response)
    assert (event.status_code, event.http_version, event.reason.decode()) == (plain.status, b"1.1", plain.reason)
    raw = [(name.decode(), value.decode()) for name, value in event.headers.raw_items()]
    assert raw == plain.fields
    # The framing: so many bytes belong to it, and the connection stays.
    connection.receive_data(b"x" * min(plain.length, 1000) + (b"HTTP/1.1 2" if plain.length <= 1000 else b""))
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert len(body) == min(plain.length, 1000)
    assert isinstance(event, h11.EndOfMessage) == (plain.length <= 1000)
    assert connection.their_state is (h11.DONE if plain.length <= 1000 else h11.SEND_BODY)


@pytest.mark.fuzz
@given(head=heads())
def test_a_plain_head_is_what_the_careful_way_gives(head: bytes) -> None:
    plain = plain_head(head, LIMITS) if is_one_head(head) else None
    assert plain is None or plain == careful_head(asked(), head, "GET")


@pytest.mark.fuzz
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_plain_head_or_none(data: bytes) -> None:
    plain = read_plain_head(data)
    assert plain is None or 200 <= plain.status <= 599


TARGETS = st.text(CHARACTERS, max_size=12) | st.text("abc/%20?&=;.", max_size=12).map("/{}".format)
AUTHORITIES = st.sampled_from(["h", "h:80", "[::1]", "", "a b", "h\r\n"])
HEADERS = st.tuples(
    st.sampled_from(["range", "If-Range", "User-Agent", "host", "Content-Length", "TE"])
    | st.text(CHARACTERS, max_size=6),
    st.sampled_from(["bytes=0-5", '"tag"', "", " x", "x ", "a\r\nb: c"]) | st.text(CHARACTERS, max_size=10),
)


@pytest.mark.fuzz
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "get", "CONNECT", "A B"]),
    target=TARGETS,
    authority=st.sampled_from(["h", "h:80", "[::1]", "", "a b", "h\r\n"]),
    fields=st.lists(HEADERS, max_size=3),
    body=st.none() | st.binary(max_size=3),
)
@example("POST", "/a?b=c", "h:80", [("Accept", "x")], b"body")
def test_a_plain_request_is_written_as_the_general_writer_does(
    method: str, target: str, authority: str, fields: list[tuple[str, str]], body: bytes | None
) -> None:
    head = plain_request(method, target, authority, fields, length=None if body is None else len(body))
    if head is None:
        return
    framing = [] if body is None else [("Content-Length", str(len(body)))]
    connection = h11.Connection(h11.CLIENT)
    named = [(name.encode(), value.encode()) for name, value in (("Host", authority), *fields, *framing)]
    request = h11.Request(method=method, target=target.encode(), headers=named)
    assert head == connection.send(request)
    assert connection.send(h11.Data(data=body or b"")) == (body or b"")
    assert connection.send(h11.EndOfMessage()) == b""


ODD_URLS = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP", "ftp", ""]),
    st.sampled_from(["h", "H", "h.example", "127.0.0.1", "[::1]", "u:p@h", "h_x", "xn--a", "-h", "h.", "b\xfc", ""]),
    st.sampled_from(["", ":80", ":443", ":0", ":8080", ":65535", ":99999", ":", ":080"]),
    st.text("abz019/._~!$&'()*+,;=:@%20?#[]\\ \"<>^`{|}\x7f\xe9", max_size=14).map("/{}".format) | st.just(""),
)


@pytest.mark.fuzz
@given(url=ODD_URLS | urls(schemes=("http", "https")) | texts())
def test_plain_parts_of_a_url_are_what_httpx_would_send(url: str) -> None:
    parts = plain_parts(url)
    if parts is None:
        return
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:  # an impossible port or host: the root is parsed on its own before it is contacted
        with pytest.raises(httpx.InvalidURL):
            httpx.URL(parts[0])
        return
    assert parsed.raw_path == parts[1].encode()
    assert parsed.netloc == httpx.URL(parts[0]).netloc
    assert _origin(parsed) == _origin(httpx.URL(parts[0]))
    assert not parsed.userinfo
    assert not parsed.fragment


def _origin(url: httpx.URL) -> tuple[str, bytes, int | None]:
    return url.scheme, url.raw_host, url.port  # as it is sent: `host` decodes it, and fails for some that can be sent


@pytest.mark.fuzz
@given(url=ODD_URLS | urls(schemes=("http", "https")) | texts(), secret=secrets())
def test_a_url_is_shown_the_same_with_and_without_the_shortcut(url: str, secret: str) -> None:
    for each in (url, f"{url}?signature={secret}"):
        shown = public_url(each)
        with mock.patch.object(redaction, "plain_parts", return_value=None):
            assert public_url(each) == shown
        assert secret not in shown
