"""The home of an id: the partition that Kafka's default partitioner gives its ``request_id``.

Whoever publishes, with whatever key and partitioner, an id is counted at its home and nowhere else; so all copies of
one id meet in one place. The hash is murmur2 as in Apache Kafka (org.apache.kafka.common.utils.Utils.murmur2) and in
ClickHouse's ``kafkaMurmurHash``, computed here for a whole column at once.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

SEED = np.uint32(0x9747B28C)
MULTIPLIER = np.uint32(0x5BD1E995)


def home_partitions(request_ids: pl.Series, partition_count: int) -> NDArray[np.int64]:
    """The home partition of each id; ids are hashed as UTF-8."""
    hashes = murmur2(request_ids)
    return (hashes & np.uint32(0x7FFFFFFF)).astype(np.int64) % partition_count


def murmur2(texts: pl.Series) -> NDArray[np.uint32]:
    """Kafka's 32-bit murmur2 of the UTF-8 bytes of each text, without nulls. Texts of one length go together."""
    data, starts, lengths = _bytes_of(texts)
    hashes = np.empty(len(texts), dtype=np.uint32)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        hashes[rows] = _murmur2_rows(_matrix(data, starts[rows], length))
    return hashes


def _bytes_of(texts: pl.Series) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    array = texts.to_arrow().cast(pa.large_string())  # in one piece, of however many the column is
    _, offsets_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(data_buffer, dtype=np.uint8)
    return data, offsets[:-1], np.diff(offsets)


def _matrix(data: NDArray[np.uint8], starts: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
    """Texts of one length, a row each. Where all are, as random ids are, they stand side by side: nothing is copied."""
    first, count = starts[0], len(starts)
    if starts[-1] - first == (count - 1) * length:
        return data[first : first + count * length].reshape((count, length))
    apart: NDArray[np.uint8] = data[starts[:, None] + np.arange(length)]
    return apart


def _murmur2_rows(matrix: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """murmur2 of every row of an (n, length) byte matrix; arithmetic wraps at 32 bits, as the algorithm wants."""
    count, length = matrix.shape
    words_end = length // 4 * 4
    words = np.ascontiguousarray(matrix[:, :words_end]).view("<u4")
    hashes = np.full(count, SEED ^ np.uint32(length), dtype=np.uint32)
    with np.errstate(over="ignore"):
        for column in range(words_end // 4):
            mixed = words[:, column] * MULTIPLIER
            mixed ^= mixed >> np.uint32(24)
            mixed *= MULTIPLIER
            hashes *= MULTIPLIER
            hashes ^= mixed
        if length > words_end:
            hashes = _with_tail(hashes, matrix[:, words_end:])
        hashes = (hashes ^ (hashes >> np.uint32(13))) * MULTIPLIER
    return hashes ^ (hashes >> np.uint32(15))


def _with_tail(hashes: NDArray[np.uint32], tail: NDArray[np.uint8]) -> NDArray[np.uint32]:
    for position in range(tail.shape[1]):
        hashes = hashes ^ (tail[:, position].astype(np.uint32) << np.uint32(8 * position))
    return hashes * MULTIPLIER
