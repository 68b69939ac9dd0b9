"""A column of whole numbers in as few bytes as they need: what each has above the least of them, and nothing where all
are the same. Most of what is counted is zero or small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

NARROW: Final = {1: pl.UInt8, 2: pl.UInt16, 4: pl.UInt32, 8: pl.UInt64}  # by their bytes


@dataclass(frozen=True, slots=True)
class PackedColumn:
    """Whole numbers, dates or times; at least one. What is null is null in ``above``, which takes a bit each."""

    count: int
    kind: pl.DataType
    least: pl.Series  # one number, or null
    above: pl.Series | None  # None: each is the least

    @classmethod
    def of(cls, column: pl.Series) -> PackedColumn:
        numbers = column.to_physical()
        if numbers.null_count() == len(numbers):
            return cls(len(column), column.dtype, numbers[:1], None)
        low, high = int(numbers.min()), int(numbers.max())  # type: ignore[arg-type]  # one is not null
        least = pl.Series([low], dtype=numbers.dtype)
        if low == high and not numbers.has_nulls():
            return cls(len(column), column.dtype, least, None)
        above = numbers - least  # beyond the width of the column it wraps, and so does the sum that undoes it
        for size, narrow in NARROW.items():
            if high - low < 256**size and size < least.estimated_size():
                return cls(len(column), column.dtype, least, above.cast(narrow))
        return cls(len(column), column.dtype, least, above)

    def take(self, places: NDArray[np.int64]) -> pl.Series:
        return self._unpacked(len(places), None if self.above is None else self.above.gather(places))

    def all(self) -> pl.Series:
        return self._unpacked(self.count, self.above)

    def _unpacked(self, count: int, above: pl.Series | None) -> pl.Series:
        if above is None:
            return self.least.new_from_index(0, count).cast(self.kind)
        return (above.cast(self.least.dtype) + self.least).cast(self.kind)
