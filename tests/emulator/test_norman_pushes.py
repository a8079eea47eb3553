"""The port that takes pushes: decryption, checksums, and the ways in which it can be bad."""

import base64
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.emulator.conftest import NormanServed
from tests.emulator.norman_plain import checksum, encrypted, model, plain_client
from trio_norman.emulator import open_emulator

BODY = bytes(range(256)) * 300


async def asset_of(norman: NormanServed) -> dict[str, Any]:
    plain = norman.plain
    made = await plain.call("POST", "persist/models/", [model(plain.account_id, "mine")])
    return dict(made[0]["assets"][0])


async def test_a_pairing_has_secrets_of_its_own(norman: NormanServed) -> None:
    asset = await asset_of(norman)
    first, second = [await norman.plain.pair(asset, 5) for _ in range(2)]
    for name, length in (("encryption_key", 32), ("nonce", 12), ("authentication_header", 16)):
        assert len(base64.b64decode(first[name], validate=True)) == length
        assert first[name] != second[name]
    assert first["pairing_id"] != second["pairing_id"]


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, len(BODY)])
async def test_a_body_arrives_as_it_was_sent(norman: NormanServed, size: int) -> None:
    asset = await asset_of(norman)
    await norman.plain.push(asset, BODY[:size])
    assert norman.emulator.norman.body_of(asset["id"]).read_all() == BODY[:size]
    push = norman.emulator.norman.pushes[-1]
    assert (push.received_bytes, push.connections, push.completions, push.is_accepted) == (size, 1, 1, True)
    assert (push.kind, push.entity_id, push.announced_bytes) == ("asset", asset["id"], size)


@pytest.mark.parametrize("step", [1, 7, 16, 17, 100])
async def test_a_body_may_be_cut_anywhere(norman: NormanServed, step: int) -> None:
    asset, body = await asset_of(norman), BODY[:200]
    pairing = await norman.plain.pair(asset, len(body))
    wire = encrypted(pairing, body)
    await norman.plain.send(pairing, [wire[start : start + step] for start in range(0, len(wire), step)])
    assert (await norman.plain.complete(pairing, checksum(body))).json() is None
    assert norman.emulator.norman.body_of(asset["id"]).read_all() == body


async def test_the_vector_of_the_protocol_is_understood(norman: NormanServed) -> None:
    asset = await asset_of(norman)
    pairing = await norman.plain.pair(asset, 11)
    push = norman.emulator.norman.pushes[-1]
    push.key, push.nonce, push.header = bytes(range(32)), bytes(range(12)), bytes(range(0xA0, 0xB0))
    await norman.plain.send(pairing, [bytes.fromhex("b09b53b2652ef23a918d251bd1cd6c35fdb4b7e4b7b280dbdd1cfe")])
    assert (await norman.plain.complete(pairing, "d447b1ea40e6988b")).json() is None
    assert push.body.read_all() == b"hello world"


@pytest.mark.parametrize(
    ("sent", "digest"),
    [
        (BODY[:100], checksum(BODY[:100])),
        (BODY + b"x", checksum(BODY)),
        (BODY[::-1], checksum(BODY)),
        (BODY, checksum(BODY[:100])),
        (BODY, "not a checksum, \N{SNOWMAN}"),
    ],
    ids=["shorter", "longer", "other", "its checksum", "no checksum"],
)
async def test_another_body_or_checksum_is_refused(norman: NormanServed, sent: bytes, digest: str) -> None:
    plain, asset = norman.plain, await asset_of(norman)
    pairing = await plain.pair(asset, len(BODY))
    await plain.send(pairing, [encrypted(pairing, sent)])
    answer = await plain.complete(pairing, digest)
    assert (answer.status_code, answer.json()["error_type"]) == (400, "validation")
    assert await plain.flags(asset["id"]) == {asset["id"]: [4, 4]}
    told = (await plain.call("POST", "persist/notifications/get"))[-1]
    assert (told["entity_id"], told["severity"]) == (asset["id"], "Error")
    with pytest.raises(KeyError):
        norman.emulator.norman.body_of(asset["id"])
    await plain.push(asset, BODY)
    norman.emulator.clock.jump(1)
    assert await plain.flags(asset["id"]) == {asset["id"]: [3, 3]}


async def test_completing_waits_for_the_end_of_the_push(norman: NormanServed, autojump_clock: MockClock) -> None:
    plain, asset = norman.plain, await asset_of(norman)
    pairing = await plain.pair(asset, len(BODY))
    wire = encrypted(pairing, BODY)

    async def send_slowly() -> None:
        async with await plain.connect(pairing["host"], pairing["port"]) as stream:
            await stream.send_all(wire[:1000])
            await trio.sleep(5)
            await stream.send_all(wire[1000:])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_slowly)
        await trio.sleep(1)
        started = trio.current_time()
        assert (await plain.complete(pairing, checksum(BODY))).json() is None
        assert trio.current_time() - started == pytest.approx(4)


async def test_completing_without_a_connection_is_refused(norman: NormanServed, autojump_clock: MockClock) -> None:
    pairing = await norman.plain.pair(await asset_of(norman), 0)
    assert (await norman.plain.complete(pairing, checksum(b""))).status_code == 400


async def test_completing_twice_is_completing_once(norman: NormanServed) -> None:
    asset = await asset_of(norman)
    pairing = await norman.plain.pair(asset, len(BODY))
    await norman.plain.send(pairing, [encrypted(pairing, BODY)])
    for _ in range(2):
        assert (await norman.plain.complete(pairing, checksum(BODY))).json() is None
    assert norman.emulator.norman.pushes[-1].completions == 2


async def test_a_second_connection_under_one_pairing_is_seen_and_not_served(norman: NormanServed) -> None:
    pairing = await norman.plain.pair(await asset_of(norman), len(BODY))
    await norman.plain.send(pairing, [encrypted(pairing, BODY)])
    with pytest.raises(trio.BrokenResourceError):
        await norman.plain.send(pairing, [encrypted(pairing, BODY), b"x", b"x"])
    assert norman.emulator.norman.pushes[-1].connections == 2
    assert norman.emulator.norman.pushes[-1].received_bytes == len(BODY)


async def test_strangers_are_counted(norman: NormanServed) -> None:
    service = norman.emulator.norman
    for first in (b"short", b"x" * 100):
        await norman.plain.send({"host": service.host, "port": service.port}, [first])
    await service.push_connections.wait_idle()
    assert service.push_port.strangers == 2
    assert service.push_connections.total == 2


async def test_pairing_for_what_is_not_there_or_not_ones_own_is_refused(norman: NormanServed) -> None:
    plain, asset = norman.plain, await asset_of(norman)
    wish = {"account_id": asset["account_id"], "model_id": asset["model_id"], "asset_id": asset["id"]}
    for changes, status in (
        ({"asset_id": "5"}, 404),
        ({"model_id": "5"}, 404),
        ({"account_id": "5"}, 403),
        ({"file_size_in_bytes": -1}, 400),
        ({"file_size_in_bytes": "9"}, 400),
    ):
        answer = await plain.ask("POST", "file-push/socket/pair/asset", wish | {"file_size_in_bytes": 9} | changes)
        assert answer.status_code == status, changes
    assert (
        await plain.ask("POST", "file-push/socket/complete", {"pairing_id": "5", "checksum": ""})
    ).status_code == 404


# ---- faults


async def test_a_reset_strikes_at_its_byte_and_only_so_often(norman: NormanServed) -> None:
    plain, asset = norman.plain, await asset_of(norman)
    rule = norman.emulator.norman.inject_push(reset=1000, times=1)
    pairing = await plain.pair(asset, len(BODY))
    with pytest.raises(trio.BrokenResourceError):
        await plain.send(pairing, [encrypted(pairing, BODY), b"", b"x"])
    assert norman.emulator.norman.pushes[-1].received_bytes == 1000
    assert (await plain.complete(pairing, checksum(BODY))).status_code == 400
    await plain.push(asset, BODY)
    assert rule.hits == 2
    nonces = {push.nonce for push in norman.emulator.norman.pushes}
    assert len(nonces) == norman.emulator.norman.push_connections.total == 2


async def test_a_port_that_closes_early_reads_no_more(norman: NormanServed) -> None:
    norman.emulator.norman.inject_push(trunc=0)
    pairing = await norman.plain.pair(await asset_of(norman), len(BODY))
    with pytest.raises(trio.BrokenResourceError):
        await norman.plain.send(pairing, [encrypted(pairing, BODY), b"x"])


async def test_a_port_can_send_an_end_and_read_on(norman: NormanServed) -> None:
    asset = await asset_of(norman)
    norman.emulator.norman.inject_push(halfclose=10)
    pairing = await norman.plain.pair(asset, len(BODY))
    async with await norman.plain.connect(pairing["host"], pairing["port"]) as stream:
        await stream.send_all(encrypted(pairing, BODY))
        assert await stream.receive_some() == b""
    assert (await norman.plain.complete(pairing, checksum(BODY))).json() is None


async def test_a_port_can_stall(norman: NormanServed, autojump_clock: MockClock) -> None:
    norman.emulator.norman.inject_push(stall=10)
    pairing = await norman.plain.pair(await asset_of(norman), len(BODY))
    wire = encrypted(pairing, BODY)
    with trio.move_on_after(3600) as scope:
        await norman.plain.send(pairing, [wire[:100], wire[100:200]])
    assert scope.cancelled_caught
    assert norman.emulator.norman.pushes[-1].received_bytes == 10


async def test_a_port_can_be_slow_and_late(norman: NormanServed, autojump_clock: MockClock) -> None:
    asset, size = await asset_of(norman), 10_000
    norman.emulator.norman.inject_push(rate=1000, delay=7)
    started = trio.current_time()
    await norman.plain.push(asset, BODY[:size])
    assert trio.current_time() - started == pytest.approx(17, abs=1)
    norman.emulator.behave()
    norman.emulator.norman.push_port.rate = 2000
    started = trio.current_time()
    await norman.plain.push(asset, BODY[:size])
    assert trio.current_time() - started == pytest.approx(5, abs=1)


async def test_a_port_can_chatter(norman: NormanServed) -> None:
    norman.emulator.norman.inject_push(chatter=b"220 hello")
    pairing = await norman.plain.pair(await asset_of(norman), 10)
    async with await norman.plain.connect(pairing["host"], pairing["port"]) as stream:
        await stream.send_all(encrypted(pairing, BODY[:10]))
        assert await stream.receive_some() == b"220 hello"


async def test_a_right_checksum_can_be_refused_once(norman: NormanServed) -> None:
    plain, asset = norman.plain, await asset_of(norman)
    norman.emulator.norman.inject_push(refuse=True, times=1)
    pairing = await plain.pair(asset, len(BODY))
    await plain.send(pairing, [encrypted(pairing, BODY)])
    assert (await plain.complete(pairing, checksum(BODY))).status_code == 400
    await plain.push(asset, BODY)


@pytest.mark.parametrize(
    "fields", [{"port": 70000}, {"port": "80"}, {"host": ""}, {"nonce": "!"}, {"encryption_key": None}]
)
async def test_a_pairing_can_have_bad_values(norman: NormanServed, fields: dict[str, Any]) -> None:
    norman.emulator.norman.inject_push(pairing=fields, skip=1)
    asset = await asset_of(norman)
    good, bad = [await norman.plain.pair(asset, 5) for _ in range(2)]
    assert good.items().isdisjoint(fields.items())
    assert bad.items() >= fields.items()


async def test_a_fault_that_does_not_exist_is_refused_at_once(norman: NormanServed) -> None:
    with pytest.raises(TypeError):
        norman.emulator.norman.inject_push(rezet=5)


# ---- on sockets


async def test_large_bodies_go_over_real_sockets_to_the_disk_side_by_side() -> None:
    with trio.fail_after(60):
        async with open_emulator(runs=0) as emulator:
            plain = plain_client(emulator, trio.open_tcp_stream)
            async with plain.http:
                await plain.log_in(emulator.norman_api_key)
                names = ["File", "Logo", "More"]
                assets = [{"account_id": plain.account_id, "asset_name": name} for name in names]
                made = (await plain.call("POST", "persist/models/", [model(plain.account_id, "m", assets=assets)]))[0]
                bodies = [bytes([number]) * (9 << 20) for number in range(3)]
                async with trio.open_nursery() as nursery:
                    for asset, body in zip(made["assets"], bodies, strict=True):
                        nursery.start_soon(plain.push, asset, body)
                for asset, body in zip(made["assets"], bodies, strict=True):
                    held = emulator.norman.body_of(asset["id"])
                    assert held.is_on_disk
                    assert held.checksum == checksum(body)
                await emulator.norman.push_connections.wait_idle()
            assert emulator.norman.push_connections.peak > 1


async def test_a_real_connection_is_really_reset_and_really_slow() -> None:
    with trio.fail_after(60):
        async with open_emulator(runs=0) as emulator:
            plain = plain_client(emulator, trio.open_tcp_stream)
            async with plain.http:
                await plain.log_in(emulator.norman_api_key)
                made = (await plain.call("POST", "persist/models/", [model(plain.account_id, "m")]))[0]
                asset, size = made["assets"][0], 2 << 20
                emulator.norman.inject_push(reset=1000, times=1)
                pairing = await plain.pair(asset, size)
                with pytest.raises(trio.BrokenResourceError):
                    await plain.send(pairing, [encrypted(pairing, bytes(size))] * 20)
                emulator.norman.inject_push(rate=4 << 20)
                started = trio.current_time()
                await plain.push(asset, bytes(size))
                assert trio.current_time() - started > 0.4
