"""Checkpoint archives: real ZIP files of an exact size, whose bulk is made while it is read."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator

import attrs

from ._content import Block, BytesContent, Content, JoinedContent, SyntheticContent, blocks_of

SMALLEST_ARCHIVE = 2048  # bytes; smaller checkpoints are plain bytes

_CONFIG_NAME = b"adapter_config.json"
_MODEL_NAME = b"adapter_model.safetensors"
_CRC_STEP = 64 << 20  # bytes after which the checksum's computation can be interrupted
_ZIP64_FROM = 0xFFFFFFFF
_DOS_DATE = (2026 - 1980) << 9 | 1 << 5 | 1
_HAS_DESCRIPTOR = 0x08  # the data entry's checksum follows the data, so its first bytes need not wait for it


def safetensors_header(data_size: int, header_size: int, *, rank: int, layers: int) -> bytes:
    """Write the head of a `.safetensors` file: length, then JSON, padded with spaces to `header_size`.

    The tensors cover the data without a hole: LoRA pairs in F32 and BF16, the rest in one U8 tensor.
    """
    modules = [f"layers.{layer}.self_attn.{proj}_proj" for layer in range(layers) for proj in "qv"]
    share = data_size // (2 * len(modules) or 1) // (4 * rank) * (4 * rank)
    tensors: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for module in modules if share else ():
        for side, dtype, width in (("lora_A", "F32", 4), ("lora_B", "BF16", 2)):
            columns = share // (width * rank)
            shape = [rank, columns] if side == "lora_A" else [columns, rank]
            tensors[f"base_model.model.model.{module}.{side}.weight"] = {
                "dtype": dtype,
                "shape": shape,
                "data_offsets": [offset, offset + share],
            }
            offset += share
    tensors["padding"] = {"dtype": "U8", "shape": [data_size - offset], "data_offsets": [offset, data_size]}
    text = json.dumps(tensors, separators=(",", ":")).encode()
    if len(text) > header_size:
        raise ValueError(f"{header_size} bytes do not hold a header of {len(text)}")
    return struct.pack("<Q", header_size) + text.ljust(header_size)


@attrs.define(eq=False)
class ArchiveContent:
    """A ZIP file with `adapter_config.json` and `adapter_model.safetensors`, both stored, `size` bytes long.

    The CRC-32 of the second entry stands in the archive's last bytes. It is computed when these are read first; call
    `advance_checksum` before, in a worker thread, until it returns true, where that must not block.
    """

    size: int
    _head: JoinedContent = attrs.field(repr=False)
    _model: JoinedContent = attrs.field(repr=False)
    _tail: Callable[[int], bytes] = attrs.field(repr=False)
    _tail_size: int = attrs.field(repr=False)
    # CRC-32 of the model's first bytes, and how many they are; replaced whole, as two threads may do so at once.
    _progress: tuple[int, int] = attrs.field(default=(0, 0), init=False, repr=False)

    @property
    def tail_start(self) -> int:
        """Offset from which on reading needs the checksum."""
        return self.size - self._tail_size

    @property
    def is_summed(self) -> bool:
        """Whether the checksum is known, so that no read blocks."""
        return self._progress[1] == self._model.size

    def advance_checksum(self) -> bool:
        """Take up to 64 MiB more into the checksum; tell whether it is complete now."""
        checksum, start = self._progress
        stop = min(start + _CRC_STEP, self._model.size)
        for block in blocks_of(self._model, start, stop):
            checksum = zlib.crc32(block, checksum)
        if stop > self._progress[1]:  # nobody else was faster
            self._progress = (checksum, stop)
        return self.is_summed

    def read(self, offset: int, length: int) -> Block:
        """Give the `length` bytes from `offset` on; fewer where the content ends before."""
        pieces = list(self._pieces(offset, min(offset + length, self.size)))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _pieces(self, offset: int, stop: int) -> Iterator[Block]:
        head_end, model_end = self._head.size, self.tail_start
        if offset < min(stop, head_end):
            yield self._head.read(offset, min(stop, head_end) - offset)
        if max(offset, head_end) < min(stop, model_end):
            start = max(offset, head_end)
            yield self._model.read(start - head_end, min(stop, model_end) - start)
        if max(offset, model_end) < stop:
            while not self.advance_checksum():
                pass
            yield self._tail(self._progress[0])[max(offset, model_end) - model_end : stop - model_end]


def archive_content(pool: bytes, name: str, size: int, *, base_model: str, rank: int) -> Content:
    """Lay out a checkpoint's archive of exactly `size` bytes.

    A size below `SMALLEST_ARCHIVE` is too small for a ZIP of this kind: the content is then plain bytes.
    """
    if size < SMALLEST_ARCHIVE:
        return SyntheticContent(pool, name, size)
    layers = 0 if size < 8192 else 1 if size < 65536 else 2
    config = _adapter_config(base_model, rank)
    is_zip64 = size >= _ZIP64_FROM
    config_entry = _entry(_CONFIG_NAME, zlib.crc32(config), len(config), 0, is_zip64=False)
    config_part = config_entry.local_header + config
    head_size = len(config_part) + len(_entry(_MODEL_NAME, 0, 0, 0, is_zip64=is_zip64).local_header)

    def tail(checksum: int) -> bytes:
        entry = _entry(_MODEL_NAME, checksum, model_size, len(config_part), is_zip64=is_zip64)
        directory = config_entry.directory_header + entry.directory_header
        start = head_size + model_size + len(entry.descriptor)
        return entry.descriptor + directory + _end_of_directory(start, len(directory), is_zip64=is_zip64)

    model_size = 0
    tail_size = len(tail(0))
    model_size = size - head_size - tail_size
    header_size = 160 + 760 * layers  # room for two modules of two tensors in each layer
    data_size = model_size - 8 - header_size
    header = safetensors_header(data_size, header_size, rank=rank, layers=layers)
    data = SyntheticContent(pool, name, data_size)
    model_entry = _entry(_MODEL_NAME, 0, model_size, len(config_part), is_zip64=is_zip64)
    head = JoinedContent([BytesContent(config_part), BytesContent(model_entry.local_header)])
    return ArchiveContent(size, head, JoinedContent([BytesContent(header), data]), tail, tail_size)


def _adapter_config(base_model: str, rank: int) -> bytes:
    config = {
        "base_model_name_or_path": base_model,
        "bias": "none",
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": ["q_proj", "v_proj"],
        "task_type": "CAUSAL_LM",
    }
    return json.dumps(config, indent=2).encode() + b"\n"


@attrs.frozen
class _Entry:
    local_header: bytes
    directory_header: bytes
    descriptor: bytes


def _entry(name: bytes, checksum: int, size: int, offset: int, *, is_zip64: bool) -> _Entry:
    """Write one stored entry's records. Source: the ZIP application note, sections 4.3.7, 4.3.9 and 4.3.12."""
    streamed = name == _MODEL_NAME
    flags = _HAS_DESCRIPTOR if streamed else 0
    needed = 45 if is_zip64 else 20
    local_crc, local_size = (0, 0) if streamed else (checksum, size)
    local_extra = struct.pack("<HHQQ", 1, 16, 0, 0) if is_zip64 else b""
    shown_local = _ZIP64_FROM if is_zip64 else local_size
    local = struct.pack(
        "<4sHHHHHIIIHH", b"PK\x03\x04", needed, flags, 0, 0, _DOS_DATE, local_crc, shown_local, shown_local,
        len(name), len(local_extra),
    )  # fmt: skip
    extra = struct.pack("<HHQQ", 1, 16, size, size) if is_zip64 else b""
    shown = _ZIP64_FROM if is_zip64 else size
    directory = struct.pack(
        "<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 3 << 8 | needed, needed, flags, 0, 0, _DOS_DATE, checksum, shown,
        shown, len(name), len(extra), 0, 0, 0, 0o100644 << 16, offset,
    )  # fmt: skip
    widths = "<4sIQQ" if is_zip64 else "<4sIII"
    descriptor = struct.pack(widths, b"PK\x07\x08", checksum, size, size) if streamed else b""
    return _Entry(local + name + local_extra, directory + name + extra, descriptor)


def _end_of_directory(start: int, size: int, *, is_zip64: bool) -> bytes:
    if not is_zip64:
        return struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 2, 2, size, start, 0)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 3 << 8 | 45, 45, 0, 0, 2, 2, size, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, start + size, 1)
    return record + locator + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 2, 2, size, _ZIP64_FROM, 0)
