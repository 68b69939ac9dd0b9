"""ClickHouse's own framing of compressed bytes: drivers ask for it by ``compress=1`` and send it by ``decompress=1``.

A block is the checksum of all that follows, the method, the length of the block without its checksum, the length of the
bytes in the clear, and the compressed bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import lz4.block
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

BLOCK_BYTES_MAX: Final = 1024 * 1024  # what a server puts in one block; readers reserve as much
LZ4: Final = 0x82
ZSTD: Final = 0x90
NONE: Final = 0x02  # not compressed

_HEAD: Final = struct.Struct("<BII")
_CHECKSUM_BYTES: Final = 16


class BlocksBroken(ValueError):
    """The bytes are not whole blocks of this framing; the text says where they stop being so."""


def pack(clear: bytes) -> bytes:
    """``clear`` as blocks of LZ4; nothing is no block."""
    pieces = (clear[at : at + BLOCK_BYTES_MAX] for at in range(0, len(clear), BLOCK_BYTES_MAX))
    return b"".join(_block(piece) for piece in pieces)


def _block(piece: bytes) -> bytes:
    packed: bytes = lz4.block.compress(piece, store_size=False)
    checked = _HEAD.pack(LZ4, _HEAD.size + len(packed), len(piece)) + packed
    return _checksum(checked) + checked


def unpack(blocks: bytes, limit: int) -> bytes:
    """The bytes in the clear. Reading ends with the block that passes ``limit``, before that one takes memory."""
    clear = bytearray()
    for method, packed, length in _blocks(blocks):
        if len(clear) + length > limit:
            return bytes(clear) + bytes(limit + 1 - len(clear))
        clear += _clear(method, packed, length)
    return bytes(clear)


def _blocks(blocks: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Method, compressed bytes and clear length of each block, its checksum held against what is there."""
    at = 0
    while at < len(blocks):
        start = at + _CHECKSUM_BYTES
        if start + _HEAD.size > len(blocks):
            raise BlocksBroken(f"{len(blocks) - at} bytes at offset {at} are too few for a block")
        method, size, length = _HEAD.unpack_from(blocks, start)
        end = start + size
        if size < _HEAD.size or end > len(blocks):
            raise BlocksBroken(f"the block at offset {at} says {size} bytes, and {len(blocks) - start} follow")
        if _checksum(blocks[start:end]) != blocks[at:start]:
            raise BlocksBroken(f"the block at offset {at} does not match its checksum")
        yield method, blocks[start + _HEAD.size : end], length
        at = end


def _clear(method: int, packed: bytes, length: int) -> bytes:
    clear: bytes
    try:
        if method == LZ4:
            clear = lz4.block.decompress(packed, uncompressed_size=length)
        elif method == ZSTD:
            clear = _zstd(packed, length)
        elif method == NONE:
            clear = packed
        else:
            raise BlocksBroken(f"a block has the method {method:#04x}; LZ4, ZSTD and none are read")
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise BlocksBroken(f"a block matches its checksum and cannot be decompressed: {error}") from error
    if len(clear) != length:
        raise BlocksBroken(f"a block has {len(clear)} bytes in the clear and says {length}")
    return clear


def _zstd(packed: bytes, length: int) -> bytes:
    """A frame may say a size of its own, and that one is not believed."""
    with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
        return reader.read(length + 1)


def _checksum(checked: bytes) -> bytes:
    """The hash is two numbers of 64 bits; the library makes one of them. On the wire each has its lowest byte first."""
    high, low = divmod(int(CityHash128(checked)), 1 << 64)
    return high.to_bytes(8, "little") + low.to_bytes(8, "little")
