"""Redirects: rows D."""

from __future__ import annotations

from itertools import chain, cycle, repeat
from urllib.parse import quote

import pytest
import trio

from tests.faults.peers import open_peer, receive_head, saying, until_left
from tests.faults.rows import MiB, Row
from tests.security.resolving import resolving
from trio_norman import ConnectionSettings, Source, errors
from trio_norman.emulator import LoggedRequest

SIZE = 3 * MiB
ALLOWED = {"host", "user-agent", "accept", "accept-encoding", "range", "if-range", "if-match"}
PATIENT = ConnectionSettings(connect_seconds=30)  # an address that was contacted would show in the time


@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5])
async def test_D_01_one_to_five_hops(row: Row, hops: int) -> None:
    """Success. D2."""
    attempt = await row.download(f"redirect={hops}")
    row.expect(attempt, disk="D2", requests=hops + 1)
    assert [request.status for request in attempt.requests] == [302] * hops + [200]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_D_01_each_status_that_is_a_hop(row: Row, code: int) -> None:
    """Success. D2."""
    attempt = await row.download(f"redirect=1&rcode={code}")
    row.expect(attempt, disk="D2", requests=2)
    assert [request.status for request in attempt.requests] == [code, 200]


@pytest.mark.parametrize("fault", ["loop=1", "redirect=50", "redirect=6"])
async def test_D_02_hops_in_a_circle_or_too_many(row: Row, fault: str) -> None:
    """RedirectError after the first request and five hops. D0."""
    attempt = await row.download(fault)
    error = row.expect_error(attempt, errors.RedirectError, disk="D0", requests=6)
    assert (error.attempts, len(attempt.requests)) == (1, 6)


@pytest.mark.parametrize("hops", [1, 2])
async def test_D_03_a_hop_to_another_origin(row: Row, hops: int) -> None:
    """Success; the other origin gets the allowed headers and no credential. D2."""
    held = row.emulator.checkpoints[0].checkpoint_id
    row.emulator.inject(held, redirect=hops, rto="other")
    async with row.attempt({"f": row.emulator.content_of(held)}, connections=2) as attempt:
        async with row.service.create_rest_client() as rest:
            item = await anext(rest.iter_user_checkpoints())
            attempt.results["f"] = await rest.download_checkpoint(item, row.dest, file_name=lambda _: "f")
    row.expect(attempt, disk="D2", requests=hops + 1)
    elsewhere = [request for request in attempt.requests if request.server == "other"]
    assert len(elsewhere) == 1
    assert all(set(request.headers) <= ALLOWED for request in attempt.requests)


@pytest.mark.parametrize("size", ["1024m", "100"])
async def test_D_05_a_hop_with_an_enormous_body(row: Row, size: str) -> None:
    """Success; that body is not read, its connection dropped. D2."""
    opened = row.emulator.connections.total
    attempt = await row.download(f"redirect=1&rbomb={size}", within=5, max_connections=2)
    row.expect(attempt, disk="D2", requests=2)
    assert [request.status for request in attempt.requests] == [302, 200]
    hop = attempt.requests[0]
    assert hop.sent_bytes <= 16 * MiB  # what the sockets' buffers take
    assert hop.is_finished == (size == "100")
    # Of a body that came along with its head nothing is left to be read.
    assert row.emulator.connections.total - opened == (1 if size == "100" else 2)


async def test_D_06_length_and_tag_of_the_hop_itself(row: Row) -> None:
    """Success; size and version are those of the last answer. D2."""
    attempt = await row.download("redirect=1&reset=1m", SIZE)
    row.expect(attempt, disk="D2", requests=6)
    assert [request.status for request in attempt.requests] == [302, 200, 302, 206, 302, 206]
    assert attempt.result.size_bytes == SIZE
    validators = {request.headers.get("if-range") for request in attempt.requests} - {None}
    assert validators
    assert '"of-the-redirect"' not in validators


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/f",
        "javascript:alert(1)",
        "data:,f",
        "//192.0.2.1/f",
        "//elsewhere.test/f",
        "http://elsewhere.test/f",
        "https://u:p@elsewhere.test/f",
        "http://u@127.0.0.1/f",
        "https://elsewhere.test/f\tg",
        "https://elsewhere.test\\@127.0.0.1/",
        "https://\xfcber.test/f",
        "https://\uff11\uff12\uff17.0.0.1/f",
        "http://[",
        "http://[::1",
        "https:///f",
        "https://:443/f",
        "http://127.1/f",
        "http://0x7f.1/f",
        "http://2130706433/f",
        "http://0177.0.0.1/f",
        "https://127.1/f",
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fe80::1]/",
        "https://10.0.0.1/f",
        "https://192.168.77.77/f",
        "https://100.64.0.1/f",
        "https://0.0.0.0/f",
        "https://224.0.0.1/f",
        "http://elsewhere.test:99999/f",
        "https://elsewhere.test:\u0661/f",
    ],
)
async def test_D_07_a_hop_to_where_nobody_may_go(row: Row, target: str) -> None:
    """RedirectError or AddressError, before anything is looked up or contacted. D0."""
    resolver = resolving()
    encoded = quote(target.encode(), safe="")
    attempt = await row.download(f"loc={encoded}", connection=PATIENT, within=5)
    error = row.expect_error(attempt, (errors.RedirectError, errors.AddressError), disk="D0", requests=1)
    assert error.attempts == len(attempt.requests) == 1
    assert resolver.asked == []


@pytest.mark.parametrize("place", ["lan", "meta"])
async def test_D_07_a_hop_to_the_network_behind(row: Row, place: str) -> None:
    """AddressError before connecting. D0."""
    attempt = await row.download(f"redirect=1&rto={place}", connection=PATIENT, within=5)
    row.expect_error(attempt, errors.AddressError, disk="D0", requests=1)


@pytest.mark.parametrize("address", ["169.254.169.254", "192.168.77.77", "::ffff:169.254.169.254"])
async def test_D_07_a_hop_to_a_name_that_leads_there(row: Row, address: str) -> None:
    """AddressError after one look-up, before connecting. D0."""
    resolver = resolving(elsewhere_test=[[address]])
    attempt = await row.download("loc=https%3A%2F%2Felsewhere.test%2Ff", connection=PATIENT, within=5)
    row.expect_error(attempt, errors.AddressError, disk="D0", requests=1)
    assert resolver.asked == ["elsewhere.test"]


@pytest.mark.parametrize("host", ["u:p@127.0.0.1", "127.1", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_D_07_nobody_comes_to_where_it_leads(row: Row, host: str) -> None:
    """RedirectError or AddressError; the port that it names gets no connection. D0."""
    async with open_peer(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"), host="0.0.0.0") as peer:
        attempt = await row.download(f"loc={quote(f'http://{host}:{peer.port}/f', safe='')}")
        row.expect_error(attempt, (errors.RedirectError, errors.AddressError), disk="D0", requests=1)
        assert peer.connections == 0


@pytest.mark.parametrize("target", ["http://a\nb", "http://a\0b", "https://\x1b[2J/", "http://a\r b"])
async def test_D_07_control_characters(row: Row, target: str) -> None:
    """ProtocolError after a second try, as for any head with control characters (H-05). D0."""
    resolver = resolving()
    attempt = await row.download(f"loc={quote(target, safe='')}")
    row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=2)
    assert len(attempt.requests) == 2
    assert resolver.asked == []


async def test_D_07_a_line_end_in_the_target(row: Row) -> None:
    """AddressError: the target ends there, the rest is another header that nobody obeys. D0."""
    resolver = resolving()
    attempt = await row.download(f"loc={quote('http://elsewhere.test/f' + chr(13) + chr(10) + 'X: y', safe='')}")
    row.expect_error(attempt, errors.AddressError, disk="D0", requests=1)
    assert resolver.asked == []


@pytest.mark.parametrize(("length", "kind"), [(9000, errors.RedirectError), (100_000, errors.LimitExceededError)])
async def test_D_07_an_endless_target(row: Row, length: int, kind: type[errors.TrioNormanError]) -> None:
    """RedirectError; LimitExceededError from 64 KiB on, as for any head of this size (H-03). D0."""
    resolver = resolving()
    target = "https://elsewhere.test/" + "a" * length
    async with open_peer(saying(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\n\r\n".encode())) as peer:
        attempt = await row.download_url(f"{peer.root}/f")
        row.expect_error(attempt, kind, disk="D0")
        assert peer.connections == 1
    assert resolver.asked == []


async def test_D_07_a_target_that_is_a_scheme_only(row: Row) -> None:
    """RedirectError: it is taken for a hop to the same place, and that is a circle. D0."""
    attempt = await row.download("loc=http%3A%2F%2F")
    row.expect_error(attempt, errors.RedirectError, disk="D0", requests=6)


@pytest.mark.parametrize("field", ["", "Location:\r\n", "Location: \r\n", "X-Location: http://127.0.0.1/\r\n"])
async def test_D_07_no_target_at_all(row: Row, field: str) -> None:
    """RedirectError. D0."""
    async with open_peer(saying(f"HTTP/1.1 302 Found\r\n{field}Content-Length: 0\r\n\r\n".encode())) as peer:
        attempt = await row.download_url(f"{peer.root}/f")
        row.expect_error(attempt, errors.RedirectError, disk="D0")
        assert peer.connections == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_D_08_a_hop_in_answer_to_a_change(row: Row, code: int) -> None:
    """RedirectError; nothing is sent to where it leads. D0. (Of the calls there are now, deleting is the change.)"""
    held = row.emulator.checkpoints[0]
    target = f"{row.emulator.base_url}/api/api/elsewhere"
    row.emulator.misbehave(".*", method="DELETE", status=code, headers={"Location": target})
    async with row.attempt({"f": None}) as attempt:
        async with row.service.create_rest_client() as rest:
            await rest.delete_checkpoint(held.training_run_id, held.checkpoint_id)
    row.expect_error(attempt, errors.RedirectError, disk="D0", requests=0)
    calls = [request for request in row.emulator.requests if request.method == "DELETE"]
    assert len(calls) == 1
    assert not [request for request in row.emulator.requests if request.path.endswith("/elsewhere")]
    assert held in row.emulator.checkpoints


def etag_of(row: Row, request: LoggedRequest) -> str:
    """Return the tag of the object that a request led to."""
    stored = row.emulator.storage.objects.find(request.path)
    assert stored is not None
    return stored.etag


@pytest.mark.parametrize("targets", ["one object", "two objects", "two objects and If-Range ignored"])
async def test_D_09_parts_are_sent_to_different_targets(row: Row, targets: str) -> None:
    """Success: parts of one version only, whichever target they come from. D2."""
    size, is_same = 8 * MiB, targets == "one object"
    fault = "rate=8m&nodigest=1" + "&noifrange=1" * targets.endswith("ignored")
    first = row.url(fault, size)
    second = first.replace(row.emulator.storage_url, row.emulator.other_storage_url)
    if not is_same:
        second = row.url(fault, size, seed=1)
    following = chain([first], cycle([second, first]) if is_same else repeat(second))

    async def behave(stream: trio.SocketStream, number: int) -> None:
        while await receive_head(stream):
            target = next(following)
            await stream.send_all(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())
        await until_left(stream)

    async with open_peer(behave) as peer:
        row.contents["f"] = row.emulator.blob_content(size, seed=0 if is_same else 1)
        source = Source.from_url(f"{peer.root}/f", "f")
        attempt = await row.download_all([source], max_connections=4, part_bytes=2 * MiB)
    row.expect(attempt, disk="D2")
    whole = [number for number, request in enumerate(attempt.requests) if "range" not in request.headers]
    parts = attempt.requests[whole[-1] + 1 :]
    assert len(whole) == (1 if is_same else 2)  # each further one is a restart
    assert [request.status for request in parts] == [206] * len(parts)
    validated = etag_of(row, attempt.requests[whole[-1]])
    assert {(request.headers["if-range"], etag_of(row, request)) for request in parts} == {(validated, validated)}
    assert {request.server for request in parts} == ({"storage", "other"} if is_same else {"storage"})
    # Of what came before the restart only the first answer was written: its parts were of the other object.
    written_in_vain = attempt.result.received_bytes - size
    assert written_in_vain <= (0 if is_same else attempt.requests[0].sent_bytes)
    assert {request.status for request in attempt.requests[1 : whole[-1]]} == (
        set() if is_same else {206} if targets.endswith("ignored") else {200}
    )
