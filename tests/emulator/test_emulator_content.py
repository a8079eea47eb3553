import hashlib
import io
import json
import struct
import zipfile
import zlib

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_norman.emulator import Content, Emulator
from trio_norman.testing import open_memory_emulator

PAGE = 4096


def emulator_of(size_bytes: int = 16, *, seed: int = 0) -> Emulator:
    async def make() -> Emulator:
        async with open_memory_emulator(runs=1, checkpoints=1, size_bytes=size_bytes, seed=seed) as (emulator, _):
            return emulator

    return trio.run(make)


EMULATOR = emulator_of(300_001)
BLOB = EMULATOR.blob_content(3_000_000)
ARCHIVE = EMULATOR.content_of(EMULATOR.checkpoints[0].checkpoint_id)


class ContentFile(io.RawIOBase):
    """A content as a file, for readers of archives that fit no memory."""

    def __init__(self, content: Content) -> None:
        self.content, self.position = content, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.content.size}[whence]
        self.position = start + offset
        return self.position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self.content.read(self.position, len(buffer))
        buffer[: len(block)] = block
        self.position += len(block)
        return len(block)


@pytest.mark.parametrize("content", [BLOB, ARCHIVE], ids=["blob", "archive"])
def test_any_piece_is_the_same_as_in_the_whole(content: Content) -> None:
    whole = content.read(0, content.size)
    assert len(whole) == content.size

    @given(st.integers(0, content.size + 10), st.integers(0, 2_500_000))
    def check(offset: int, length: int) -> None:
        assert content.read(offset, length) == whole[offset : offset + length]

    check()


def test_no_page_occurs_twice() -> None:
    whole = bytes(EMULATOR.blob_content(32 << 20).read(0, 32 << 20))
    pages = {whole[at : at + PAGE] for at in range(0, len(whole), PAGE)}
    assert len(pages) == len(whole) // PAGE


def test_contents_of_different_names_seeds_and_versions_share_no_page() -> None:
    contents = [
        EMULATOR.blob_content(1 << 20),
        EMULATOR.blob_content(1 << 20, seed=1),
        EMULATOR.blob_content(1 << 20, name="other"),
        EMULATOR.blob_content(1 << 20, version=1),
        emulator_of(seed=5).blob_content(1 << 20),
    ]
    pages = [bytes(content.read(at, PAGE)) for content in contents for at in range(0, 1 << 20, PAGE)]
    assert len(set(pages)) == len(pages)


def test_content_cannot_be_compressed() -> None:
    whole = BLOB.read(0, BLOB.size)
    assert len(zlib.compress(whole)) > len(whole) * 0.99


def test_terabytes_are_read_at_any_place() -> None:
    content = EMULATOR.blob_content(5 << 40)
    assert len(content.read((5 << 40) - 10, 100)) == 10
    assert content.read((3 << 40) + 5, 10) == content.read(3 << 40, 20)[5:15]


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.integers(2048, 9000), st.integers(2048, 200_000)))
def test_archive_is_a_sound_zip_of_exactly_the_announced_size(size: int) -> None:
    emulator = emulator_of(size)
    archive = emulator.content_of(emulator.checkpoints[0].checkpoint_id)
    whole = archive.read(0, size + 1)
    assert len(whole) == size == archive.size
    with zipfile.ZipFile(io.BytesIO(whole)) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["adapter_config.json", "adapter_model.safetensors"]
        assert json.loads(opened.read("adapter_config.json"))["peft_type"] == "LORA"
        check_safetensors(opened.read("adapter_model.safetensors"))


def check_safetensors(model: bytes) -> None:
    (header_size,) = struct.unpack("<Q", model[:8])
    header = json.loads(model[8 : 8 + header_size])
    assert header_size % 8 == 0
    assert header.pop("__metadata__") == {"format": "pt"}
    covered = 0
    for tensor in header.values():
        start, end = tensor["data_offsets"]
        elements = 1
        for length in tensor["shape"]:
            elements *= length
        assert start == covered, "the tensors leave no hole"
        assert end - start == elements * {"F32": 4, "BF16": 2, "U8": 1}[tensor["dtype"]]
        covered = end
    assert covered == len(model) - 8 - header_size


def test_archive_beyond_four_gibibytes_is_listed_without_being_read() -> None:
    size = (5 << 30) + 3
    emulator = emulator_of(size)
    archive = emulator.content_of(emulator.checkpoints[0].checkpoint_id)
    assert archive.size == size
    # What stands before the last bytes needs no checksum, hence no reading of gibibytes.
    head = archive.read(0, 1000)
    assert head.startswith(b"PK\x03\x04")
    assert len(archive.read(size // 2, 1 << 20)) == 1 << 20


def test_archive_larger_than_one_checksum_step_is_sound() -> None:
    emulator = emulator_of(130 << 20)
    archive = emulator.content_of(emulator.checkpoints[0].checkpoint_id)
    with zipfile.ZipFile(ContentFile(archive)) as opened:
        assert opened.testzip() is None


def test_checkpoint_too_small_for_an_archive_is_plain_bytes() -> None:
    emulator = emulator_of(100)
    content = emulator.content_of(emulator.checkpoints[0].checkpoint_id)
    assert len(content.read(0, 1000)) == 100


def test_sha256_is_that_of_the_bytes() -> None:
    checkpoint = EMULATOR.checkpoints[0]
    assert EMULATOR.sha256_of(checkpoint.checkpoint_id) == hashlib.sha256(ARCHIVE.read(0, ARCHIVE.size)).hexdigest()


def test_unknown_checkpoint_has_no_content() -> None:
    with pytest.raises(KeyError):
        EMULATOR.content_of("0000000000")


def test_everything_follows_from_the_seed() -> None:
    one, same, other = emulator_of(seed=3), emulator_of(seed=3), emulator_of(seed=4)
    assert one.api_key == same.api_key != other.api_key
    assert [each.checkpoint_id for each in one.checkpoints] == [each.checkpoint_id for each in same.checkpoints]
    assert one.checkpoints[0].checkpoint_id != other.checkpoints[0].checkpoint_id
    assert one.user_id == same.user_id != other.user_id
