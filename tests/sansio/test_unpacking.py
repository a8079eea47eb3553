"""What a packed body unpacks to is counted exactly, however it is cut, and no further than is needed."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_norman._sansio.unpacking import Gauge, encoding_unasked
from trio_norman.errors import LimitExceededError, ProtocolError

KiB = 1024


@given(size=st.integers(0, 300 * KiB), beyond=st.integers(-2, 2), cut=st.integers(1, 5000), is_gzip=st.booleans())
def test_what_is_more_than_the_limit_is_told_from_what_is_not(size: int, beyond: int, cut: int, is_gzip: bool) -> None:
    packed = (gzip.compress if is_gzip else zlib.compress)(bytes(size))
    gauge = Gauge(size + beyond)
    for start in range(0, len(packed), cut):
        gauge.feed(packed[start : start + cut])
    assert gauge.is_beyond == (beyond < 0)


@given(data=st.binary(max_size=2000))
def test_what_is_not_packed_counts_nothing(data: bytes) -> None:
    gauge = Gauge(0)
    gauge.feed(b"no gzip" + data)
    assert not gauge.is_beyond


def test_what_came_before_the_damage_counts() -> None:
    packed = bytearray(gzip.compress(bytes(300 * KiB)))
    packed[-5] ^= 1  # of the checksum, which stands at the end
    gauge = Gauge(200 * KiB)
    gauge.feed(bytes(packed))
    assert gauge.is_beyond


@pytest.mark.parametrize(("most", "kind"), [(99, LimitExceededError), (100, ProtocolError)])
def test_a_bomb_is_another_error_than_a_mistake(most: int, kind: type[Exception]) -> None:
    gauge = Gauge(most)
    gauge.feed(gzip.compress(bytes(100)))
    error = encoding_unasked("https://host.test/f?secret", gauge, method="POST")
    assert type(error) is kind
    assert "encoded although identity was asked for" in str(error)
    assert "POST https://host.test/f" in str(error)
    assert "secret" not in str(error)
