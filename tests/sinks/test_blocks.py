"""ClickHouse's own framing of compressed bytes."""

from __future__ import annotations

import struct

import pytest
import zstandard
from clickhouse_cityhash.cityhash import CityHash128
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse.embedded.blocks import BLOCK_BYTES_MAX, LZ4, NONE, ZSTD, BlocksBroken, pack, unpack

# A block whose checksum the drivers of Java and Node's readers accept (tests/sinks/test_readers.py).
HELLO = pack(b"hello")


def block(method: int, packed: bytes, length: int) -> bytes:
    checked = struct.pack("<BII", method, 9 + len(packed), length) + packed
    high, low = divmod(CityHash128(checked), 1 << 64)
    return struct.pack("<QQ", high, low) + checked


@given(st.binary(max_size=300), st.integers(0, 3))
def test_what_is_packed_is_unpacked_as_it_was(piece: bytes, whole_blocks: int) -> None:
    clear = bytes(whole_blocks * BLOCK_BYTES_MAX) + piece
    assert unpack(pack(clear), len(clear)) == clear


def test_no_block_is_larger_than_readers_reserve() -> None:
    first = pack(bytes(BLOCK_BYTES_MAX + 1))
    assert struct.unpack_from("<I", first, 21) == (BLOCK_BYTES_MAX,)


@pytest.mark.parametrize(("method", "packed"), [(NONE, b"hello"), (ZSTD, zstandard.compress(b"hello"))])
def test_blocks_that_are_not_lz4_are_read_too(method: int, packed: bytes) -> None:
    assert unpack(block(method, packed, 5) + pack(b" world"), 100) == b"hello world"


@pytest.mark.parametrize("at", range(len(HELLO)))
def test_a_changed_byte_is_noticed(at: int) -> None:
    with pytest.raises(BlocksBroken):
        unpack(HELLO[:at] + bytes([HELLO[at] ^ 1]) + HELLO[at + 1 :], 100)


@pytest.mark.parametrize("length", range(1, len(HELLO)))
def test_a_block_that_is_cut_off_is_noticed(length: int) -> None:
    with pytest.raises(BlocksBroken, match=r"too few for a block|says 15 bytes"):
        unpack(HELLO[:length], 100)


@pytest.mark.parametrize(
    ("method", "packed", "length", "told"),
    [
        (0x91, b"hello", 5, "the method 0x91"),
        (NONE, b"hello", 4, "5 bytes in the clear and says 4"),
        (ZSTD, zstandard.compress(b"hello"), 4, "5 bytes in the clear and says 4"),
        (ZSTD, b"hello", 5, "cannot be decompressed"),
        (LZ4, b"hello", 5, "cannot be decompressed"),
    ],
)
def test_a_block_that_is_not_what_it_says_is_named(method: int, packed: bytes, length: int, told: str) -> None:
    with pytest.raises(BlocksBroken, match=told):
        unpack(block(method, packed, length), 100)


def test_a_block_that_claims_more_than_the_limit_is_not_decompressed() -> None:
    """2 GB are claimed: to decompress that would ask for as much memory."""
    assert len(unpack(HELLO + block(LZ4, b"hello", 2_000_000_000), 100)) == 101
