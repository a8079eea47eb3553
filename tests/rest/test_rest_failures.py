"""What goes wrong between us and the service, each as its own typed error, and tried again only where that may help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

from tests.rest import rest_opening
from tests.rest.rest_opening import QUICK, asked, at, open_in_memory, page_text, service, spelt
from trio_norman import ConnectionSettings, RestClient, RetryPolicy, ServiceClient
from trio_norman.emulator import Emulator, open_emulator
from trio_norman.errors import (
    AddressError,
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    HeadTimeoutError,
    InterruptedTransferError,
    LimitExceededError,
    MalformedResponseError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    RedirectError,
    ServiceBrokenError,
    ServiceError,
    TransportError,
    UndecodableResponseError,
)

pytestmark = pytest.mark.usefixtures("api")

# ---- keys


async def test_a_refused_key_is_an_authentication_error(emulator: Emulator) -> None:
    with pytest.raises(AuthenticationError) as caught:
        async with ServiceClient("wrong-key", emulator.base_url, api=rest_opening.SPOKEN).create_rest_client():
            raise AssertionError("never reached")
    error = caught.value
    assert (error.status, error.method, error.url) == (401, "GET", f"{emulator.base_url}{at('me')}")
    assert error.message == "the API key is missing or wrong"
    assert error.request_id == "api-1"
    assert "check it, or make a new one" in str(error)
    assert not error.retryable
    assert len(asked(emulator)) == 1


async def test_a_key_that_is_refused_later_is_the_same_error(rest: RestClient, emulator: Emulator) -> None:
    emulator.api_key = "another"
    with pytest.raises(AuthenticationError):
        await rest.list_training_runs()


@pytest.mark.parametrize("key", ["", "  ", "a b", "a\nb", "schlüssel", "a\x00"])
def test_a_text_that_cannot_be_a_key_is_refused_where_it_is_given(key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"API key .*(TRIO_NORMAN_API_KEY|copy it again)") as caught:
        ServiceClient(key)
    assert isinstance(caught.value, ValueError)


async def test_without_a_key_nothing_is_asked_not_even_the_person_at_the_terminal(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prompted(*_: object) -> str:
        raise AssertionError("somebody is asked at the terminal")

    monkeypatch.setattr("builtins.input", prompted)
    monkeypatch.setattr("getpass.getpass", prompted)
    with pytest.raises(ConfigurationError, match=r"no API key: pass api_key=\.\.\., or set TRIO_NORMAN_API_KEY"):
        async with ServiceClient(base_url=emulator.base_url).create_rest_client():
            raise AssertionError("never reached")
    assert asked(emulator) == []


@pytest.mark.parametrize("url", ["http://example.org", "http://10.0.0.1/api"])
def test_plain_http_to_another_machine_is_refused_before_anything_connects(url: str) -> None:
    with pytest.raises(AddressError, match="plain http outside this machine"):
        ServiceClient("key", url)
    ServiceClient("key", url, connection=ConnectionSettings(allow_http=True))


@pytest.mark.parametrize("url", ["", "ftp://h", "pytrio.cn", "https://", "http://[", "https://h:port"])
def test_what_is_no_address_is_refused_where_it_is_given(url: str) -> None:
    with pytest.raises(ConfigurationError, match="URL"):
        ServiceClient("key", url)


def test_an_address_with_a_password_is_refused_and_not_shown() -> None:
    with pytest.raises(AddressError) as caught:
        ServiceClient("key", "https://ada:hunter22@pytrio.cn")
    assert "hunter22" not in str(caught.value)


# ---- answers that are no data


UNREADABLE = [
    b"",
    b"{",
    b'{"training_run_id": "r1"} x',
    b"\xef\xbb\xbf{}",
    '{"training_run_id": "r1"}'.encode("utf-16"),
    b'{"training_run_id": "\xff"}',
    b'{"training_run_id": "r1", "training_run_id": "r2"}',
    b'{"training_run_id": "r1", "x": NaN}',
    b'{"training_run_id": "r1", "x": 1e999}',
    b'{"x": ' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b"<!doctype html><title>Sign in \x1b[31m</title>",
]


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
async def test_an_answer_that_is_not_strict_json_cannot_be_read(
    rest: RestClient, emulator: Emulator, body: bytes
) -> None:
    rule = emulator.misbehave(at("run"), status=200, body=spelt(body), content_type="text/html")
    with pytest.raises(UndecodableResponseError) as caught:
        await rest.get_training_run("r1")
    error = caught.value
    assert rule.hits == 1  # it would say the same again
    assert error.problems[1] == "content type text/html"
    assert error.problems[0].endswith(" @ $")
    assert "is the base URL right?" in str(error)
    assert "\x1b" not in str(error)
    assert len(str(error)) < 800
    assert error.request_id is not None


SHAPES: list[tuple[Any, str]] = [
    ([], "expected an object, got list @ $"),
    (None, "expected an object, got NoneType @ $"),
    ("r1", "expected an object, got str @ $"),
    ({}, "a required field is missing @ $.training_run_id"),
    ({"training_run_id": None}, "expected str, got NoneType @ $.training_run_id"),
    ({"training_run_id": 5}, "expected str, got int @ $.training_run_id"),
    ({"training_run_id": "r1", "lora_rank": "5"}, "expected int, got str @ $.lora_rank"),
    ({"training_run_id": "r1", "lora_rank": True}, "expected int, got bool @ $.lora_rank"),
    ({"training_run_id": "r1", "lora_rank": 5.0}, "expected int, got float @ $.lora_rank"),
    ({"training_run_id": "r1", "is_lora": 1}, "expected bool, got int @ $.is_lora"),
]


@pytest.mark.parametrize(("document", "problem"), SHAPES)
async def test_an_answer_of_another_shape_says_what_is_wrong_and_where(
    rest: RestClient, emulator: Emulator, document: Any, problem: str
) -> None:
    rule = emulator.misbehave(at("run"), status=200, body=spelt(json.dumps(document)))
    with pytest.raises(MalformedResponseError) as caught:
        await rest.get_training_run("r1")
    assert type(caught.value) is MalformedResponseError
    assert caught.value.problems == (spelt(problem),)
    assert spelt(problem) in str(caught.value)
    assert rule.hits == 1


DEEP_SHAPES: list[tuple[Any, str]] = [
    ({"checkpoints": {}}, "expected a list, got dict @ $.checkpoints"),
    ({"checkpoints": "abc"}, "expected a list, got str @ $.checkpoints"),
    ({"checkpoints": [{"checkpoint_id": "c"}, 5]}, "expected an object, got int @ $.checkpoints[1]"),
    (
        {"checkpoints": [{"checkpoint_id": "c"}] * 3 + [{"checkpoint_id": "d", "size_bytes": "big"}]},
        "expected int, got str @ $.checkpoints[3].size_bytes",
    ),
    (
        {"checkpoints": [{"checkpoint_id": "c", "time": "yesterday"}]},
        "neither an ISO 8601 time nor an HTTP date @ $.checkpoints[0].time",
    ),
    (
        {"checkpoints": [{"checkpoint_id": "c", "time": [5]}]},
        "expected a time as text, got list @ $.checkpoints[0].time",
    ),
    (
        {"checkpoints": [{"checkpoint_id": "c", "checkpoint_type": 5}]},
        "expected str, got int @ $.checkpoints[0].checkpoint_type",
    ),
]


@pytest.mark.parametrize(("document", "problem"), DEEP_SHAPES)
async def test_the_place_inside_a_list_is_named(
    rest: RestClient, emulator: Emulator, document: Any, problem: str
) -> None:
    emulator.misbehave(at("checkpoints"), status=200, body=page_text(**document))
    with pytest.raises(MalformedResponseError) as caught:
        await rest.list_user_checkpoints()
    assert caught.value.problems == (spelt(problem),)


async def test_an_empty_signed_url_is_no_url(rest: RestClient, emulator: Emulator) -> None:
    emulator.misbehave(f".*{at('archive')}", status=200, body='{"url": ""}')
    with pytest.raises(MalformedResponseError, match=r"an empty one @ \$\.url"):
        await rest.get_checkpoint_archive_url("r", "c")


async def test_an_account_without_a_name_is_not_taken_for_one(emulator: Emulator) -> None:
    emulator.misbehave(at("me"), status=200, body="{}")
    with pytest.raises(ConfigurationError, match="a required field is missing"):
        async with service(emulator).create_rest_client():
            raise AssertionError("never reached")


def endless_answer() -> Iterator[bytes]:
    """A body that does not end; the reader must."""
    yield b'{"training_run_id": "'
    while True:
        yield b"x" * 2**20


async def test_an_answer_without_end_is_dropped_at_the_limit(rest: RestClient, emulator: Emulator) -> None:
    rule = emulator.misbehave(at("run"), status=200, body=endless_answer)
    with pytest.raises(LimitExceededError, match="exceeds the limit of 16777216 bytes"):
        await rest.get_training_run("r1")
    assert rule.hits == 1


@pytest.mark.parametrize("over", [0, 1])
async def test_the_limit_of_an_answer_is_met_exactly(rest: RestClient, emulator: Emulator, over: int) -> None:
    frame = spelt(b'{"training_run_id": "r1", "x": ""}')
    body = frame[:-2] + b"x" * (16 * 2**20 - len(frame) + over) + frame[-2:]
    emulator.misbehave(at("run"), status=200, body=body)
    if over:
        with pytest.raises(LimitExceededError):
            await rest.get_training_run("r1")
    else:
        assert (await rest.get_training_run("r1")).training_run_id == "r1"


async def test_an_error_whose_text_never_ends_is_still_that_error(rest: RestClient, emulator: Emulator) -> None:
    rule = emulator.misbehave(at("run"), status=404, body=endless_answer)
    with pytest.raises(NotFoundError) as caught:
        await rest.get_training_run("r1")
    assert rule.hits == 1
    assert len(caught.value.message) <= 201


async def test_an_encoded_answer_is_not_decoded_behind_our_back(rest: RestClient, emulator: Emulator) -> None:
    emulator.misbehave(at("run"), status=200, body=b"\x1f\x8b...", headers={"Content-Encoding": "gzip"})
    with pytest.raises(ProtocolError, match="encoded although identity was asked for"):
        await rest.get_training_run("r1")
    assert asked(emulator)[0].headers["accept-encoding"] == "identity"


# ---- the service says no


REFUSALS: list[tuple[int, type[ServiceError]]] = [
    (400, ServiceError),
    (401, AuthenticationError),
    (403, PermissionDeniedError),
    (404, NotFoundError),
    (405, ServiceError),
    (409, ConflictError),
    (410, NotFoundError),
    (412, ConflictError),
    (413, ServiceError),
    (422, ServiceError),
    (451, ServiceError),
    (501, ServiceBrokenError),
    (304, ServiceError),
]


@pytest.mark.parametrize(("status", "kind"), REFUSALS)
async def test_a_refusal_is_final_and_typed(
    rest: RestClient, emulator: Emulator, status: int, kind: type[ServiceError]
) -> None:
    body = b"" if status == 304 else b'{"code": "no_way", "message": "because\\u001b[2J"}'
    rule = emulator.misbehave(at("run"), status=status, body=body, headers={"Location": "/elsewhere"})
    with pytest.raises(ServiceError) as caught:
        await rest.get_training_run("r1")
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.url) == (status, f"{emulator.base_url}{at('run')}")
    assert error.request_id == f"api-{asked(emulator)[-1].number}"
    assert rule.hits == len(asked(emulator)) == 1
    if status != 304:
        assert (error.code, error.message) == ("no_way", "because\\x1b[2J")


async def test_what_does_not_exist_is_not_found(rest: RestClient, emulator: Emulator) -> None:
    run = emulator.training_runs[0].training_run_id
    for call in (
        rest.get_training_run("nobody"),
        rest.list_checkpoints("nobody"),
        rest.get_checkpoint_archive_url(run, "nobody"),
        rest.get_archive_url("nobody"),
        rest.delete_checkpoint(run, "nobody"),
        rest.get_session("nobody"),
        rest.get_sampler("nobody"),
        rest.get_checkpoint_info("no/such/path"),
    ):
        with pytest.raises(NotFoundError, match="check the id"):
            await call


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_asked_again_if_it_only_reads(rest: RestClient, emulator: Emulator, status: int) -> None:
    rule = emulator.misbehave(at("runs"), status=status, body="<html>", content_type="text/html", times=2)
    assert (await rest.list_training_runs()).total == 2
    assert rule.hits == 3


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_deletion_is_asked_for_once(rest: RestClient, emulator: Emulator, status: int) -> None:
    rule = emulator.misbehave(".*", method="DELETE", status=status, times=1)
    known = emulator.checkpoints[0]
    with pytest.raises(ServiceError) as caught:
        await rest.delete_checkpoint(known.training_run_id, known.checkpoint_id)
    assert caught.value.status == status
    assert caught.value.attempts == 1
    assert rule.hits == 1


async def test_the_attempts_are_counted_and_end(rest: RestClient, emulator: Emulator) -> None:
    rule = emulator.misbehave(at("run"), status=503, body='{"message": "busy"}')
    with pytest.raises(
        ServiceBrokenError, match=r"busy; the service failed: try again later.*after 3 attempts"
    ) as caught:
        await rest.get_training_run("r1")
    assert rule.hits == caught.value.attempts == 3
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"success": false}', "did not delete"),
        (b'{"success": false, "message": "it is in use"}', "it is in use"),
        (b'{"success": false, "message": null}', "did not delete"),
    ],
)
async def test_a_deletion_that_did_not_succeed_is_no_success(
    rest: RestClient, emulator: Emulator, body: bytes, said: str
) -> None:
    emulator.misbehave(".*", method="DELETE", status=200, body=body)
    with pytest.raises(ServiceError, match=said) as caught:
        await rest.delete_checkpoint("r", "c")
    assert caught.value.request_id is not None


@pytest.mark.parametrize(
    ("status", "body"), [(204, b""), (200, b""), (200, b"ok"), (202, b'{"success": true}'), (200, b"[]")]
)
async def test_a_deletion_needs_no_body(rest: RestClient, emulator: Emulator, status: int, body: bytes) -> None:
    emulator.misbehave(".*", method="DELETE", status=status, body=body)
    await rest.delete_checkpoint("r", "c")


async def test_a_deletion_that_is_redirected_did_not_happen(rest: RestClient, emulator: Emulator) -> None:
    emulator.misbehave(".*", method="DELETE", status=307, headers={"Location": "/api/user/me"})
    with pytest.raises(RedirectError, match="status 307"):
        await rest.delete_checkpoint("r", "c")
    assert len(asked(emulator)) == 1


async def test_an_empty_answer_is_no_data(rest: RestClient, emulator: Emulator) -> None:
    emulator.misbehave(at("run"), status=204)
    with pytest.raises(MalformedResponseError, match="expected an object"):
        await rest.get_training_run("r1")


# ---- being told to wait


async def test_the_wait_that_was_asked_for_is_kept_by_all_tasks(autojump_clock: trio.testing.MockClock) -> None:
    async with open_in_memory() as (emulator, rest):
        rule = emulator.misbehave(at("runs"), status=429, retry_after=60, times=1)
        before = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rest.list_training_runs)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(9):
                nursery.start_soon(rest.list_sessions)
            await trio.testing.wait_all_tasks_blocked()
            assert (rule.hits, len(asked(emulator))) == (1, 1)
        assert trio.current_time() - before == pytest.approx(60, abs=1)
        assert len(asked(emulator)) == 11


@pytest.mark.parametrize("wish", [250, "Thu, 01 Jan 2026 00:05:00 GMT"])
async def test_both_forms_of_a_wished_wait_are_understood(
    wish: int | str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_in_memory(epoch=1_767_225_650) as (emulator, rest):  # 250 seconds before that time
        emulator.misbehave(at("runs"), status=503, retry_after=wish, times=1)
        before = trio.current_time()
        await rest.list_training_runs()
        assert trio.current_time() - before == pytest.approx(250, abs=2)


async def test_a_wait_beyond_the_limit_is_an_error_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_in_memory() as (emulator, rest):
        rule = emulator.misbehave(at("runs"), status=429, retry_after=301)
        before = trio.current_time()
        with pytest.raises(RateLimitedError) as caught:
            await rest.list_training_runs()
        await rest.list_sessions()  # and the door is not closed to others
        assert trio.current_time() == before
        assert (caught.value.retry_after, rule.hits) == (301.0, 1)
        assert caught.value.retryable


@pytest.mark.parametrize("wish", ["-1", "nan", "1e999", "", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"])
async def test_a_wait_that_makes_no_sense_leaves_our_own(wish: str, autojump_clock: trio.testing.MockClock) -> None:
    async with open_in_memory(RetryPolicy(attempts=3, initial=4, longest=4)) as (emulator, rest):
        rule = emulator.misbehave(at("runs"), status=429, retry_after=wish, times=2)
        before = trio.current_time()
        await rest.list_training_runs()
        assert 0 < trio.current_time() - before < 8
        assert rule.hits == 3


async def test_backing_off_ends_within_its_limits(autojump_clock: trio.testing.MockClock) -> None:
    async with open_in_memory(RetryPolicy(attempts=1000, seconds=100, initial=1, longest=10)) as (emulator, rest):
        emulator.misbehave(at("runs"), status=500)
        before = trio.current_time()
        with pytest.raises(ServiceBrokenError):
            await rest.list_training_runs()
        assert 80 < trio.current_time() - before <= 100


# ---- no whole answer


async def test_silence_is_a_timeout(autojump_clock: trio.testing.MockClock) -> None:
    async with open_in_memory(RetryPolicy(attempts=2)) as (emulator, rest):
        rule = emulator.misbehave(at("run"), delay=1e9)
        before = trio.current_time()
        with pytest.raises(HeadTimeoutError, match="after 2 attempts"):
            await rest.get_training_run("r1")
        assert 60 <= trio.current_time() - before < 62
        assert rule.hits == 2


async def test_nobody_there_is_a_connect_error_and_even_a_deletion_is_tried_again() -> None:
    async with open_emulator(runs=1, checkpoints=1, size_bytes=10) as emulator:
        client = service(emulator)
    with pytest.raises(ConnectError, match="after 3 attempts") as caught:
        async with client.create_rest_client():
            raise AssertionError("never reached")
    assert caught.value.retryable
    assert caught.value.url == f"{emulator.base_url}{at('me')}"


async def answered_with(script: bytes, call: str) -> tuple[BaseException | None, int]:
    """Make a call to a peer that answers `user/me` well, and any other request with `script` and a closed door."""
    me = b'{"username": "a", "cuid": "u"}'
    if rest_opening.SPOKEN == "v1":
        me = b'{"username": "a", "user_cuid": "u"}'
    whose = at("me").encode()
    well = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(me), me)
    others = 0

    async def answer(stream: trio.SocketStream) -> None:
        nonlocal others
        async with stream:
            head = bytes(await stream.receive_some())
            others += whose not in head
            await stream.send_all(well if whose in head else script)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        root = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        error: BaseException | None = None
        async with ServiceClient("key", root, api=rest_opening.SPOKEN, retry=QUICK).create_rest_client() as rest:
            try:
                if call == "DELETE":
                    await rest.delete_checkpoint("r", "c")
                else:
                    await rest.get_training_run("r")
            except Exception as caught:  # noqa: BLE001 (the tests look at it)
                error = caught
        nursery.cancel_scope.cancel()
    return error, others


@pytest.mark.parametrize(
    ("script", "kind", "tries"),
    [
        (b"", InterruptedTransferError, 3),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{", InterruptedTransferError, 3),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{", InterruptedTransferError, 3),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ProtocolError, 2),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}", ProtocolError, 2),
    ],
)
async def test_a_broken_answer_is_a_transport_error(script: bytes, kind: type[TransportError], tries: int) -> None:
    error, sent = await answered_with(script, "GET")
    assert (type(error), sent) == (kind, tries)
    error, sent = await answered_with(script, "DELETE")  # which may have happened
    assert (type(error), sent) == (kind, 1)
