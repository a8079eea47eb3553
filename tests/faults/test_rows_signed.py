"""Signed URLs: rows S-10 to S-15; and keys, rows A."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta, tzinfo
from typing import Any, Self

import pytest
import trio

from tests.destinations import QUICK, until
from tests.faults.rows import Attempt, MiB, Row
from tests.nginx import open_nginx
from trio_norman import DownloadRetrying, Event, Link, ServiceClient, Source, errors
from trio_norman._wire import _client, _fetching
from trio_norman.rest import Checkpoint, RestClient

LARGE = 12 * MiB
PARTS: Any = {"max_connections": 4, "part_bytes": 2 * MiB}


def denied(attempt: Attempt) -> list[int]:
    """Return the numbers of the requests that were refused."""
    return [number for number, request in enumerate(attempt.requests) if request.status == 403]


def signings(row: Row) -> int:
    """Count how often the API was asked for a link."""
    return sum("archive" in request.path for request in row.emulator.requests.of("api"))


async def test_S_10_refused_before_its_use(row: Row) -> None:
    """Success with a link that is made anew, once. D2."""
    attempt = await row.download_all([row.renewable("expire=0", "")])
    row.expect(attempt, disk="D2", requests=2)
    assert row.links_made == 2


async def test_S_10_expired_and_its_renewal_too(row: Row) -> None:
    """UrlExpiredError after one renewal. D0."""
    attempt = await row.download_all([row.renewable("expire=0")])
    row.expect_error(attempt, errors.UrlExpiredError, disk="D0", requests=2)
    assert row.links_made == 2


@pytest.mark.emulator(url_lifetime=60)
async def test_S_10_expired_between_signing_and_use(row: Row) -> None:
    """Success after the API has signed a second time. D2."""
    item = row.emulator.checkpoints[0]
    row.contents["f"] = row.emulator.content_of(item.checkpoint_id)
    async with row.service.create_rest_client() as rest:

        async def link() -> Link:
            archive = await rest.get_checkpoint_archive_url(item.training_run_id, item.checkpoint_id)
            if signings(row) == 1:
                row.emulator.clock.jump(61)
            return Link(archive.url)

        attempt = await row.download_all([Source("f", link, "f")])
    row.expect(attempt, disk="D2", requests=2)
    assert signings(row) == 2


@pytest.mark.parametrize(
    ("signs", "kind"),
    [("too early", None), ("always too early", errors.NotFoundError), ("wrongly", errors.PermissionDeniedError)],
)
async def test_S_10_judged_by_nginx(row: Row, signs: str, kind: type[errors.TrioNormanError] | None) -> None:
    """Success after one renewal; the status's own error if the second link is refused as well. D2, D0."""
    checks = [
        'secure_link "$arg_md5,$arg_expires";',
        'secure_link_md5 "$secure_link_expires$uri secret";',
        'if ($secure_link = "") { return 403; } if ($secure_link = "0") { return 410; }',
    ]
    made = 0
    with open_nginx(row.tree.parent / "nginx", *checks) as server:
        (server.root / "f").write_bytes(content := bytes(range(256)) * 9000)
        row.contents["f"] = content

        async def link() -> Link:
            nonlocal made
            made += 1
            await trio.lowlevel.checkpoint()
            end = 1 if signs == "always too early" or (signs == "too early" and made == 1) else 4102444800
            secret = "another" if signs == "wrongly" else "secret"
            digest = hashlib.md5(f"{end}/f {secret}".encode(), usedforsecurity=False).digest()
            signature = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            return Link(f"{server.url}/f?md5={signature}&expires={end}")

        attempt = await row.download_all([Source("f", link, "f")])
        await until(lambda: len(server.answers()) == 2)  # which it notes a moment after it has answered
    assert made == 2
    if kind is None:
        row.expect(attempt, disk="D2")
    else:
        row.expect_error(attempt, kind, disk="D0")


CUT = "rate=2m&expire=0.3&expire_cut=1"
NOT_CUT = "rate=4m&expire=0.4"


@pytest.mark.parametrize("fault", [CUT, NOT_CUT], ids=["the body is cut", "the next range is refused"])
async def test_S_11_expires_during_the_download(row: Row, fault: str) -> None:
    """Success: one renewal for all parts, and what is held is kept. D2."""
    attempt = await row.download_all([row.renewable(fault, "", size=LARGE)], **PARTS)
    row.expect(attempt, disk="D2", requests=30)
    assert row.links_made == 2
    assert denied(attempt)
    later = attempt.requests[denied(attempt)[-1] + 1 :]
    assert all(request.headers["if-range"].startswith('"') for request in later)
    assert len({request.headers["if-range"] for request in later}) == 1
    assert attempt.result.received_bytes <= LARGE + MiB


async def test_S_11_expires_again_and_again(row: Row) -> None:
    """Success: one renewal for each time. D2."""
    faults = [f"rate=8m&expire=0.{number}&expire_cut=1" for number in (3, 31, 32)]
    attempt = await row.download_all([row.renewable(*faults, "", size=LARGE)])
    row.expect(attempt, disk="D2", requests=2 * 3 + 2)
    assert row.links_made == 4


async def test_S_12_the_renewed_url_leads_elsewhere(row: Row) -> None:
    """Success with what the new URL leads to; nothing of the other object is in it. D2."""
    urls = [row.url("rate=8m&expire=0.3&expire_cut=1", LARGE, name="f"), row.url("", LARGE, name="another")]

    async def link() -> Link:
        await trio.lowlevel.checkpoint()
        return Link(urls.pop(0) if len(urls) > 1 else urls[0])

    row.contents["f"] = row.emulator.blob_content(LARGE, name="another")
    attempt = await row.download_all([Source("f", link, "the same")])
    row.expect(attempt, disk="D2", requests=5)
    assert attempt.result.received_bytes > LARGE


async def download_one(row: Row, **how: Any) -> Attempt:
    """Download the first checkpoint through a client of the service."""
    held = row.emulator.checkpoints[0].checkpoint_id
    async with row.attempt({"f": row.emulator.content_of(held)}, connections=1) as attempt:
        async with row.service.create_rest_client() as rest:
            item = await anext(rest.iter_user_checkpoints())
            attempt.results["f"] = await rest.download_checkpoint(item, row.dest, file_name=lambda _: "f", **how)
    return attempt


def set_our_clock(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """Let the client's modules see another time of day than everybody else."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(hours=hours)

    for module in (_client, _fetching):
        monkeypatch.setattr(module, "datetime", Clock)


@pytest.mark.parametrize("hours", [1, -1, 24, -24])
async def test_S_13_our_clock_is_off(row: Row, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """Success with the first link: it is good for as long as its signer's clock says. D2."""
    set_our_clock(monkeypatch, hours)
    attempt = await download_one(row)
    row.expect(attempt, disk="D2", requests=1)
    assert signings(row) == 1


@pytest.mark.emulator(size_bytes=2 * MiB)
@pytest.mark.parametrize("ours", [1, -1])
@pytest.mark.parametrize("hours", [1, -1])
async def test_S_13_the_clock_is_set_meanwhile(
    row: Row, monkeypatch: pytest.MonkeyPatch, hours: int, ours: int
) -> None:
    """Success after one renewal: the storage's refusal decides, not a clock. D2."""
    set_our_clock(monkeypatch, ours)
    row.emulator.inject(reset="1m", times=1)
    cuts = []

    def set_the_clock(event: Event) -> None:
        if isinstance(event, DownloadRetrying):
            row.emulator.clock.jump(3600 * hours)
            cuts.append(event)

    attempt = await download_one(row, max_connections=1, on_event=set_the_clock)
    row.expect(attempt, disk="D2", requests=3)
    assert [request.status for request in attempt.requests] == [200, 403, 206]
    assert (len(cuts), signings(row)) == (1, 2)


async def test_S_14_the_signature_is_wrong(row: Row) -> None:
    """PermissionDeniedError after one renewal: it names the storage's own reason. D0."""
    attempt = await row.download_all([row.renewable("sig=x")])
    error = row.expect_error(attempt, errors.PermissionDeniedError, disk="D0", requests=2)
    assert (error.status, error.code) == (403, "SignatureDoesNotMatch")
    assert row.links_made == 2


async def test_S_14_the_first_signature_is_wrong(row: Row) -> None:
    """Success after one renewal. D2."""
    attempt = await row.download_all([row.renewable("sig=x", "")])
    row.expect(attempt, disk="D2", requests=2)
    assert row.links_made == 2


@pytest.mark.rows("SEC-02")
async def test_S_15_no_key_goes_to_the_storage(row: Row) -> None:
    """Success; requests to the storage carry allowed headers only. D2."""
    attempt = await download_one(row)
    row.expect(attempt, disk="D2", requests=1)
    allowed = {"host", "user-agent", "accept", "accept-encoding", "range", "if-range", "if-match", "connection"}
    assert all(set(request.headers) <= allowed for request in attempt.requests)


# ---- keys: there is no login, a key is good or it is not


async def test_A_01_the_key_is_refused_in_the_middle(row: Row) -> None:
    """AuthenticationError of each file that still needs a link, asked for once; the others succeed. D2, D0."""
    items = row.emulator.checkpoints
    names = {item.checkpoint_id: f"f{number}" for number, item in enumerate(items)}
    contents = {names[item.checkpoint_id]: row.emulator.content_of(item.checkpoint_id) for item in items}
    rule = row.emulator.misbehave(".*/archive", status=401, body='{"message": "the key was revoked"}', skip=1)
    async with row.attempt(contents) as attempt:
        async with row.service.create_rest_client() as rest:
            listed = rest.iter_user_checkpoints()
            batch = rest.download_checkpoints(listed, row.dest, file_name=lambda item: names[id_of(item)])
            async with batch as results:
                async for result in results:
                    attempt.results[result.source.name] = result
    failed = [name for name, result in attempt.results.items() if result.error is not None]
    assert len(failed) == 2
    for name in failed:
        error = row.expect_error(attempt, errors.AuthenticationError, name, disk="D0")
        assert error.attempts == 1
    row.expect_all(attempt)
    assert rule.hits == 3


def id_of(item: object) -> str:
    """Return the id of what `RestClient` lists."""
    assert isinstance(item, Checkpoint)
    return item.checkpoint_id


@pytest.mark.parametrize("is_there", [True, False], ids=["broken", "not there"])
async def test_A_02_the_account_cannot_be_asked_for(row: Row, is_there: bool) -> None:
    """ServiceBrokenError or ConnectError when the attempts are used up. D0."""
    service = row.service
    rule = row.emulator.misbehave("/api/user/me", status=503)
    if not is_there:
        service = ServiceClient(row.emulator.api_key, row.odd.closed, retry=QUICK)
    async with row.attempt({"f": None}) as attempt:
        async with service.create_rest_client() as rest:
            await rest.list_weights()
    kind = errors.ServiceBrokenError if is_there else errors.ConnectError
    error = row.expect_error(attempt, kind, disk="D0", requests=0 if is_there else 5)
    assert error.attempts == 5
    assert rule.hits == (5 if is_there else 0)


async def test_A_03_a_hundred_calls_and_one_account(row: Row) -> None:
    """Success: the account is asked for once, when the client is opened, however many calls need it. D0."""
    pages = []

    async def ask(rest: RestClient) -> None:
        pages.append(await rest.list_weights())

    async with row.attempt({"f": None}) as attempt:
        async with row.service.create_rest_client() as rest, trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(ask, rest)
    assert attempt.error is None
    row.expect_disk(attempt, disk="D0")
    assert len(pages) == 100
    asked = [request.path for request in row.emulator.requests.of("api")]
    assert sum(path.endswith("/user/me") for path in asked) == 1
    assert len(asked) == 101
