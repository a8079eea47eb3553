"""What goes over the wire in an encrypted push, against vectors of the RFC and of the protocol's own page."""

from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_norman import Secret
from trio_norman._sansio.frames import LONGEST, PushFrames, PushKeys, read_keys

KEYS = PushKeys(bytes(range(32)), bytes(range(12)), bytes(range(0xA0, 0xB0)))


def sent(keys: PushKeys, *pieces: bytes) -> tuple[bytes, str]:
    """Return what one push puts on the wire, and its checksum."""
    frames = PushFrames(keys, sum(map(len, pieces)))
    wire = bytearray(frames.start())
    for piece in pieces:
        room = bytearray(len(piece) + 3)
        count = frames.encrypt(memoryview(piece), memoryview(room))
        wire += room[:count]
    assert frames.is_complete
    return bytes(wire), frames.checksum()


def quarter_round(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[x] = (state[x] + state[y]) & 0xFFFFFFFF
        mixed = state[z] ^ state[x]
        state[z] = ((mixed << turn) | (mixed >> (32 - turn))) & 0xFFFFFFFF


def block(key: bytes, counter: int, nonce: bytes) -> bytes:
    """Compute one block of the key stream as RFC 8439, section 2.3 spells it."""
    words = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
    words += [int.from_bytes(key[at : at + 4], "little") for at in range(0, 32, 4)]
    words += [counter, *(int.from_bytes(nonce[at : at + 4], "little") for at in range(0, 12, 4))]
    state = list(words)
    for _ in range(10):
        for at in range(4):
            quarter_round(state, at, at + 4, at + 8, at + 12)
        for at in range(4):
            quarter_round(state, at, 4 + (at + 1) % 4, 8 + (at + 2) % 4, 12 + (at + 3) % 4)
    return b"".join(((a + b) & 0xFFFFFFFF).to_bytes(4, "little") for a, b in zip(state, words, strict=True))


def independently(keys: PushKeys, body: bytes) -> bytes:
    plain = keys.header + body
    stream = b"".join(block(keys.key, counter, keys.nonce) for counter in range(len(plain) // 64 + 1))
    return bytes(a ^ b for a, b in zip(plain, stream, strict=False))


def test_T_06_the_vector_of_the_protocols_page() -> None:
    """The bytes on the wire and the checksum are those of the page."""
    wire, checksum = sent(KEYS, b"hello world")
    assert wire.hex() == "b09b53b2652ef23a918d251bd1cd6c35fdb4b7e4b7b280dbdd1cfe"
    assert checksum == "d447b1ea40e6988b"


def test_T_06_the_block_function_of_the_rfc_stands_behind_our_vectors() -> None:
    """RFC 8439, section 2.3.2, and the first key stream of appendix A.1, as a zero body under zero keys shows it."""
    nonce = bytes.fromhex("000000090000004a00000000")
    assert block(bytes(range(32)), 1, nonce).hex().startswith("10f1e7e4d13b5915500fdd1fa32071c4")
    wire, _ = sent(PushKeys(bytes(32), bytes(12), b"\0"), bytes(127))
    first = "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    second = "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
    assert wire[:32].hex() == first
    assert wire[64:96].hex() == second


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 63, 64, 65, 127, 128, 129, 1000])
def test_T_06_every_length_around_a_block_is_encrypted_as_the_rfc_says(size: int) -> None:
    """The bytes are those of an independent computation of the RFC's key stream."""
    body = bytes(index % 251 for index in range(size))
    assert sent(KEYS, body)[0] == independently(KEYS, body)


@given(pieces=st.lists(st.binary(max_size=200), max_size=8), header=st.binary(min_size=1, max_size=70))
def test_T_06_the_pieces_in_which_a_body_comes_make_no_difference(pieces: list[bytes], header: bytes) -> None:
    """The bytes are the same, however the body is cut."""
    keys = PushKeys(KEYS.key, KEYS.nonce, header)
    assert sent(keys, *pieces) == sent(keys, b"".join(pieces))


@pytest.mark.parametrize(
    ("body", "checksum"),
    [(b"", "2d06800538d394c2"), (b"a", "e6c632b61e964e1f"), (bytes(70_000), "5f990cf779d253de")],
)
def test_the_checksum_is_of_the_plain_body_alone(body: bytes, checksum: str) -> None:
    wire, computed = sent(KEYS, body)
    assert (computed, len(wire)) == (checksum, 16 + len(body))


def test_T_06_a_body_beyond_the_block_counter_is_refused() -> None:
    """`ValueError`: the block counter would begin again."""
    PushFrames(KEYS, LONGEST - 16)
    with pytest.raises(ValueError, match="at most"):
        PushFrames(KEYS, LONGEST - 15)


def test_more_bytes_than_announced_are_refused() -> None:
    frames = PushFrames(KEYS, 3)
    frames.start()
    with pytest.raises(ValueError, match="announced"):
        frames.encrypt(memoryview(b"four"), memoryview(bytearray(4)))
    assert not frames.is_complete


def test_the_body_waits_for_the_header() -> None:
    with pytest.raises(ValueError, match="header"):
        PushFrames(KEYS, 1).encrypt(memoryview(b"x"), memoryview(bytearray(1)))


def b64(data: bytes) -> Secret:
    return Secret(base64.b64encode(data).decode())


def test_keys_are_read_from_base64_and_not_shown() -> None:
    keys = read_keys(encryption_key=b64(KEYS.key), nonce=b64(KEYS.nonce), authentication_header=b64(KEYS.header))
    assert keys == KEYS
    assert repr(keys) == "PushKeys(key=<redacted>, nonce=<redacted>, header=<redacted>)"


_GOOD = {"encryption_key": b64(bytes(32)), "nonce": b64(bytes(12)), "authentication_header": b64(b"h")}
_BAD = [Secret(text) for text in ("", "*", "SECRETSECRET!", "c2VjcmV0", "\u00e9\u00e9", "A" * 200_000)]


@pytest.mark.parametrize(("field", "text"), list(itertools.product(_GOOD, _BAD[:3] + _BAD[4:])))
def test_T_03_keys_that_are_none_are_refused_unseen(field: str, text: Secret) -> None:
    """`ValueError` that names the field and shows nothing of it."""
    with pytest.raises(ValueError, match=field) as caught:
        read_keys(**{**_GOOD, field: text})
    assert "SECRET" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("field", ["encryption_key", "nonce"])
def test_T_03_keys_of_another_length_are_refused(field: str) -> None:
    """`ValueError` that names the field and its length."""
    with pytest.raises(ValueError, match=rf"got 6 @ \$\.{field}"):
        read_keys(**{**_GOOD, field: _BAD[3]})
