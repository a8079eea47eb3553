"""The storage at its best: what a client may rely on when no fault was asked for."""

import base64
import hashlib
import itertools
import re
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, urlsplit

import fastcrc
import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.emulator.conftest import Served
from trio_norman.testing import open_memory_emulator

SIZE = 1000


def whole(served: Served, size: int = SIZE) -> bytes:
    return bytes(served.emulator.blob_content(size).read(0, size))


async def test_whole_object_with_everything_that_proves_it(served: Served) -> None:
    answer = await served.store.get(served.emulator.blob_url(SIZE))
    assert answer.status_code == 200
    assert answer.content == whole(served)
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["accept-ranges"] == "bytes"
    assert re.fullmatch(r'"[0-9a-f]{40}"', answer.headers["etag"])
    digest = base64.b64encode(hashlib.sha256(answer.content).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert answer.headers["x-cos-hash-crc64ecma"] == str(fastcrc.crc64.xz(answer.content))
    assert parsedate_to_datetime(answer.headers["last-modified"]) < parsedate_to_datetime(answer.headers["date"])


async def test_head_is_the_get_without_its_body(served: Served) -> None:
    url = served.emulator.blob_url(SIZE)
    head, get = await served.store.head(url), await served.store.get(url)
    assert head.content == b""
    differing = {"date", "x-cos-request-id"}
    assert {name: value for name, value in head.headers.items() if name not in differing} == {
        name: value for name, value in get.headers.items() if name not in differing
    }


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, SIZE),
        ("bytes=10-19", 10, 20),
        ("bytes=990-5000", 990, SIZE),
        ("bytes=999-", 999, SIZE),
        ("bytes=-1", 999, SIZE),
        ("bytes=-5000", 0, SIZE),
        ("Bytes=5-6", 5, 7),
    ],
)
async def test_one_range_is_honoured(served: Served, asked: str, start: int, stop: int) -> None:
    answer = await served.store.get(served.emulator.blob_url(SIZE), headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(stop - start)
    assert answer.content == whole(served)[start:stop]


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=5-4", "bytes=-", "items=0-1", "bytes=a-b", "bytes 0-1"])
async def test_what_is_no_single_range_is_ignored(served: Served, asked: str) -> None:
    answer = await served.store.get(served.emulator.blob_url(SIZE), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, whole(served))


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=1000-1001", "bytes=-0"])
async def test_range_behind_the_end_cannot_be_satisfied(served: Served, asked: str) -> None:
    answer = await served.store.get(served.emulator.blob_url(SIZE), headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(1, 600_000),
    cuts=st.lists(st.integers(0, 600_000), max_size=5),
)
def test_ranges_put_together_are_the_object(size: int, cuts: list[int]) -> None:
    async def check() -> None:
        async with open_memory_emulator(runs=0) as (emulator, transport):
            async with httpx.AsyncClient(transport=transport) as client:
                edges = sorted({0, size, *(cut % size for cut in cuts)})
                parts = b""
                for start, stop in itertools.pairwise(edges):
                    header = {"Range": f"bytes={start}-{stop - 1}"}
                    answer = await client.get(emulator.blob_url(size), headers=header)
                    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
                    parts += answer.content
                assert parts == emulator.blob_content(size).read(0, size)

    trio.run(check)


async def test_if_range_grants_only_what_has_not_changed(served: Served) -> None:
    url = served.emulator.blob_url(SIZE)
    head = (await served.store.head(url)).headers
    ask = {"Range": "bytes=10-19"}
    for condition, status in [
        (head["etag"], 206),
        (head["last-modified"], 206),
        ('"another"', 200),
        (f"W/{head['etag']}", 200),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
    ]:
        answer = await served.store.get(url, headers={**ask, "If-Range": condition})
        assert answer.status_code == status, condition


async def test_preconditions_are_checked(served: Served) -> None:
    url = served.emulator.blob_url(SIZE)
    etag = (await served.store.head(url)).headers["etag"]
    for header, value, status in [
        ("If-Match", etag, 200),
        ("If-Match", f'"x", {etag}', 200),
        ("If-Match", "*", 200),
        ("If-Match", '"x"', 412),
        ("If-Match", f"W/{etag}", 412),
        ("If-None-Match", etag, 304),
        ("If-None-Match", f"W/{etag}", 304),
        ("If-None-Match", '"x"', 200),
    ]:
        answer = await served.store.get(url, headers={header: value})
        assert answer.status_code == status, (header, value)
        assert answer.status_code != 304 or not answer.content


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
async def test_other_methods_are_not_allowed(served: Served, method: str) -> None:
    answer = await served.store.request(method, served.emulator.blob_url(SIZE), content=b"x" * 100_000)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


async def test_unknown_keys_are_not_found_in_xml(served: Served) -> None:
    for path in ("/nothing", "/blobs/0/x/name", "/blobs/0/5", "/models/a/b/weights/c"):
        answer = await served.store.get(served.emulator.storage_url + path)
        assert answer.status_code == 404
        assert b"<Code>NoSuchKey</Code>" in answer.content


async def test_uploaded_bytes_are_served(served: Served) -> None:
    url = served.emulator.upload("some/where it is", b"hello")
    assert (await served.store.get(url)).content == b"hello"


async def test_empty_object_is_served(served: Served) -> None:
    answer = await served.store.get(served.emulator.blob_url(0))
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")


async def test_digests_of_large_objects_are_left_out(served: Served) -> None:
    answer = await served.store.head(served.emulator.blob_url(2 << 30))
    assert "repr-digest" not in answer.headers
    assert answer.headers["content-length"] == str(2 << 30)


async def archive_url(served: Served) -> str:
    checkpoint = served.emulator.checkpoints[1]
    path = f"/api/api/runs/{checkpoint.training_run_id}/checkpoints/{checkpoint.checkpoint_id}/archive"
    answer: str = (await served.api.get(path)).json()["url"]
    return answer


async def test_archive_url_has_the_form_of_the_real_service(served: Served) -> None:
    url = urlsplit(await archive_url(served))
    checkpoint = served.emulator.checkpoints[1]
    user, run = served.emulator.user_id, checkpoint.training_run_id
    assert url.path == f"/models/{user}/{run}/weights/{checkpoint.name}.zip"
    query = parse_qs(url.query, keep_blank_values=True)
    assert set(query) == {
        "q-sign-algorithm",
        "q-ak",
        "q-sign-time",
        "q-key-time",
        "q-header-list",
        "q-url-param-list",
        "q-signature",
    }
    start, end = query["q-sign-time"][0].split(";")
    assert int(end) - int(start) == 360
    assert "%3B" in url.query


async def test_both_kinds_of_archive_url_lead_to_the_same_bytes(served: Served) -> None:
    checkpoint = served.emulator.weights[0]
    answer = await served.api.get(f"/api/user/{served.emulator.user_id}/archive_url/{checkpoint.checkpoint_id}")
    assert set(answer.json()) == {"url"}
    one = (await served.store.get(answer.json()["url"])).content
    assert hashlib.sha256(one).hexdigest() == served.emulator.sha256_of(checkpoint.checkpoint_id)
    assert one == (await served.store.get(await archive_url(served))).content


async def test_archive_needs_its_signature(served: Served) -> None:
    url = await archive_url(served)
    bare, _, query = url.partition("?")
    other = url.replace("step-0200", "step-0400")
    spoilt = url.replace("q-signature=", "q-signature=0")
    later = re.sub(r"(\d{10})%3B(\d{9})(\d)", r"\g<1>%3B\g<2>9", url)
    for refused in (bare, other, spoilt, later, f"{bare}?{query.partition('&q-signature')[0]}"):
        answer = await served.store.get(refused)
        assert answer.status_code == 403, refused
        assert b"<Code>" in answer.content
    assert (await served.store.get(f"{url}&rate=100m")).status_code == 200, "knobs may be appended"


async def test_signature_dies_with_the_emulated_clock(served: Served, autojump_clock: MockClock) -> None:
    url = await archive_url(served)
    await trio.sleep(359)
    assert (await served.store.get(url)).status_code == 200
    await trio.sleep(2)
    answer = await served.store.get(url)
    assert answer.status_code == 403
    assert b"expired" in answer.content
    served.emulator.url_lifetime = 0
    assert (await served.store.get(await archive_url(served))).status_code == 403
    served.emulator.url_lifetime = 10
    assert (await served.store.get(await archive_url(served))).status_code == 200


async def test_signature_from_the_future_is_refused(served: Served) -> None:
    url = await archive_url(served)
    served.emulator.clock.jump(-3600)
    assert (await served.store.get(url)).status_code == 403


@pytest.mark.parametrize("header", ["Authorization", "X-API-KEY"])
async def test_credentials_are_not_wanted_at_a_signed_url(served: Served, header: str) -> None:
    answer = await served.store.get(await archive_url(served), headers={header: "x"})
    assert answer.status_code == 400


async def test_expiry_is_announced_with_the_archive_url(served: Served, autojump_clock: MockClock) -> None:
    checkpoint = served.emulator.checkpoints[1]
    path = f"/api/api/runs/{checkpoint.training_run_id}/checkpoints/{checkpoint.checkpoint_id}/archive"
    assert (await served.api.get(path)).json()["expires"] == "2026-01-01T00:06:00Z"
