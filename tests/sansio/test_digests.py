from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import digest_tables, digests, texts
from trio_norman._sansio.digests import LENGTHS, announced_digests, contradiction, new_hasher, normal_digest

#: The digests of the nine bytes ``123456789``. Source: the catalogue of CRC algorithms, the hash functions' own tools.
CHECKS = {
    "crc32": "cbf43926",
    "crc32c": "e3069283",
    "crc64xz": "995dc9bbdf1939fa",
    "md5": "25f9e794323b453885f5181f1b624d0b",
    "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
    "sha512": hashlib.sha512(b"123456789").hexdigest(),
}
#: Where the digest of an object stands in a response, by algorithm: header name and how it writes the digest.
DICTIONARY_NAMES = {"sha512": "sha-512", "sha256": "sha-256", "sha1": "sha", "md5": "md5", "crc32c": "crc32c"}


def base64_of(value: bytes) -> str:
    return base64.b64encode(value).decode()


@pytest.mark.parametrize("algorithm", LENGTHS)
def test_every_algorithm_gives_its_known_answer(algorithm: str) -> None:
    hasher = new_hasher(algorithm)
    hasher.update(b"123456789")
    assert hasher.hexdigest() == CHECKS[algorithm]


@pytest.mark.parametrize("algorithm", LENGTHS)
def test_the_digest_of_nothing_has_full_length(algorithm: str) -> None:
    assert len(new_hasher(algorithm).hexdigest()) == 2 * LENGTHS[algorithm]


@given(algorithm=st.sampled_from(list(LENGTHS)), pieces=st.lists(st.binary(max_size=100), max_size=6), data=st.data())
def test_pieces_of_any_size_and_kind_give_the_digest_of_the_whole(
    algorithm: str, pieces: list[bytes], data: st.DataObject
) -> None:
    whole, parts = new_hasher(algorithm), new_hasher(algorithm)
    whole.update(b"".join(pieces))
    for piece in pieces:
        kind = data.draw(st.sampled_from([bytes, bytearray, memoryview]))
        parts.update(kind(piece))
    assert parts.hexdigest() == whole.hexdigest() == parts.hexdigest()


@given(content=st.binary(max_size=200))
def test_short_digests_keep_their_leading_zeros(content: bytes) -> None:
    hasher = new_hasher("crc32")
    hasher.update(content)
    assert hasher.hexdigest() == zlib.crc32(content).to_bytes(4, "big").hex()


def test_an_unknown_algorithm_has_no_hasher() -> None:
    with pytest.raises(ValueError, match="md6"):
        new_hasher("md6")


# ---- digests that a user gives


@given(digest=digests(), upper=st.booleans(), space=st.sampled_from(["", " ", "\t"]))
def test_a_whole_digest_is_read_in_either_case(digest: tuple[str, bytes], upper: bool, space: str) -> None:
    name, value = digest
    written = value.hex().upper() if upper else value.hex()
    given_name = name.upper() if upper else name
    assert normal_digest(f"{space}{given_name}{space}", f"{space}{written}{space}") == (name, value.hex())


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("SHA-512", "sha512"), ("sha-256", "sha256"), ("SHA", "sha1"), ("sha-1", "sha1"), ("crc64ecma", "crc64xz")],
)
def test_other_spellings_mean_the_same_algorithm(spelling: str, name: str) -> None:
    assert normal_digest(spelling, "0" * 2 * LENGTHS[name]) == (name, "0" * 2 * LENGTHS[name])


@pytest.mark.rows("SEC-17")
@pytest.mark.fuzz
@given(
    algorithm=texts() | st.sampled_from(list(LENGTHS)), text=texts() | st.text("0123456789abcdefABCDEF", max_size=130)
)
def test_what_is_no_whole_digest_of_a_known_algorithm_is_refused_and_not_shown(algorithm: str, text: str) -> None:
    """ValueError: what cannot be compared is not skipped."""
    try:
        name, value = normal_digest(algorithm, text)
    except ValueError as error:
        shown = str(error)
        assert shown.isprintable()
        assert len(text) < 8 or text not in shown
    else:
        assert len(bytes.fromhex(value)) == LENGTHS[name]
        assert value == text.strip().lower()


@pytest.mark.parametrize("algorithm", LENGTHS)
def test_a_digest_with_one_digit_too_few_or_too_many_is_refused(algorithm: str) -> None:
    for length in (2 * LENGTHS[algorithm] - 1, 2 * LENGTHS[algorithm] + 1, 0):
        with pytest.raises(ValueError, match="hexadecimal digits"):
            normal_digest(algorithm, "0" * length)


# ---- digests that a response announces


@given(digest=digests(*DICTIONARY_NAMES), header=st.sampled_from(["repr-digest", "content-digest"]))
def test_dictionary_headers_give_the_digest_of_a_whole_body(digest: tuple[str, bytes], header: str) -> None:
    name, value = digest
    text = f"unixsum=:AAE=:, {DICTIONARY_NAMES[name]}=:{base64_of(value)}:"
    assert announced_digests([(header, text)], whole_body=True) == {name: value.hex()}


@given(md5=digests("md5"), crc=digests("crc32c"))
def test_the_google_header_gives_both_of_its_digests(md5: tuple[str, bytes], crc: tuple[str, bytes]) -> None:
    text = f"crc32c={base64_of(crc[1])},md5={base64_of(md5[1])}"
    assert announced_digests([("x-goog-hash", text)], whole_body=False) == {"crc32c": crc[1].hex(), "md5": md5[1].hex()}


@given(value=st.integers(0, 2**64 - 1))
def test_the_tencent_header_gives_its_decimal_number_as_sixteen_digits(value: int) -> None:
    found = announced_digests([("x-cos-hash-crc64ecma", f" {value}")], whole_body=False)
    assert found == {"crc64xz": value.to_bytes(8, "big").hex()}


def test_the_tencent_checksum_of_known_bytes_is_recognised() -> None:
    found = announced_digests([("x-cos-hash-crc64ecma", "11051210869376104954")], whole_body=True)
    assert found == {"crc64xz": CHECKS["crc64xz"]}


@given(digest=digests("sha256", "sha1", "crc32", "crc32c"))
def test_the_amazon_headers_give_the_digest_of_a_whole_body(digest: tuple[str, bytes]) -> None:
    headers = [(f"x-amz-checksum-{digest[0]}", base64_of(digest[1])), ("x-amz-checksum-type", "FULL_OBJECT")]
    assert announced_digests(headers, whole_body=True) == {digest[0]: digest[1].hex()}


def test_a_digest_of_parts_digests_is_no_digest_of_the_object() -> None:
    assert announced_digests([("x-amz-checksum-sha256", "AAAA-3")], whole_body=True) == {}


@given(value=st.binary(min_size=16, max_size=16))
def test_headers_about_the_message_do_not_count_for_a_part_of_the_object(value: bytes) -> None:
    headers = [
        ("content-md5", base64_of(value)),
        ("content-digest", f"md5=:{base64_of(value)}:"),
        ("x-amz-checksum-crc32", base64_of(value[:4])),
    ]
    assert announced_digests(headers, whole_body=False) == {}
    assert announced_digests(headers, whole_body=True) == {"md5": value.hex(), "crc32": value[:4].hex()}


@pytest.mark.rows("SEC-17")
@given(
    header=st.sampled_from([("content-md5", "md5"), ("x-amz-checksum-sha256", "sha256")]),
    value=texts() | st.text("AZaz09+/=:, ", max_size=50),
)
def test_a_value_that_is_no_digest_shows_up_and_never_compares_equal(header: tuple[str, str], value: str) -> None:
    """It is kept as it stands, and so no file agrees with it."""
    value = value.replace("-", "")
    [(algorithm, found)] = announced_digests([(header[0], value)], whole_body=True).items()
    assert algorithm == header[1]
    try:
        normal_digest(algorithm, found)
    except ValueError:
        assert found == value.strip() or len(found) != 2 * LENGTHS[algorithm]
    else:
        assert base64_of(bytes.fromhex(found)) == value.strip()


@pytest.mark.parametrize("value", ["", "-1", "1e3", "0x1f", "٣", str(2**64), "9" * 21, "text"])
def test_a_tencent_checksum_that_is_none_shows_up_and_never_compares_equal(value: str) -> None:
    [(algorithm, found)] = announced_digests([("x-cos-hash-crc64ecma", value)], whole_body=True).items()
    with pytest.raises(ValueError, match="hexadecimal digits"):
        normal_digest(algorithm, found)


@pytest.mark.fuzz
@given(
    name=st.sampled_from(["repr-digest", "content-digest", "x-goog-hash", "x-amz-checksum-md5", "etag"]) | texts(),
    value=texts() | st.text("shamd5-26=:,AZaz09+/ ;", max_size=80),
)
def test_no_header_whatsoever_breaks_the_reading(name: str, value: str) -> None:
    assert set(announced_digests([(name, value)], whole_body=True)) <= set(LENGTHS)


@given(known=digest_tables(), more=digest_tables())
def test_announcements_contradict_each_other_only_in_what_both_announce(
    known: dict[str, str], more: dict[str, str]
) -> None:
    differing = {name for name in known.keys() & more.keys() if known[name] != more[name]}
    found = contradiction(known, more)
    assert found in differing if differing else found is None
    assert (found is None) == (contradiction(more, known) is None)
    assert contradiction(known, known) is None
