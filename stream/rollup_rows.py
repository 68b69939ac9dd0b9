"""Rows of a rollup in memory: known by 128 bits of a hash, and in pieces, so that a batch costs what it touches.

What a row is called may take kilobytes (seven names of 128 characters), what it counts takes 70 to 170 bytes, and who
asks for a row has its name at hand. So no name is kept. A key is known by two seeded 64-bit hashes, of seeds drawn anew
by each process: among a billion keys the chance that any two agree is below 1e-20, and nobody can aim for it.

Rows are kept as a batch left them, in pieces sorted by hash. A row that a later batch changes is put into that batch's
piece, and is dead in its old one. So the first piece has what nothing has touched for longest, which is what is let go.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

PIECES_MAX: Final = 12  # each look-up searches all of them; beyond it the two smallest neighbours become one
LIVE_MIN: Final = 0.75  # of a piece; below it the piece is written anew without its dead rows
SEEDS: Final = (secrets.randbits(63), secrets.randbits(63))

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]


def hashed(keys: pl.DataFrame) -> pl.DataFrame:
    """Two hashes of each key. A column has a seed of its own, so that two names cannot change places unseen."""
    halves = {
        half: pl.sum_horizontal(pl.col(name).hash(seed + at) for at, name in enumerate(keys.columns))
        for half, seed in zip(("high", "low"), SEEDS, strict=True)
    }
    return keys.select(**halves)


@dataclass(slots=True)
class _Piece:
    rows: pl.DataFrame  # sorted by high
    high: Hashes
    low: Hashes
    live: NDArray[np.bool_]
    batch: int  # the last one that any of its rows is of
    count: int  # of live rows

    @classmethod
    def of(cls, rows: pl.DataFrame, batch: int) -> _Piece:
        rows = rows.sort("high")
        high, low = (rows[half].to_numpy() for half in ("high", "low"))
        return cls(rows, high, low, np.ones(rows.height, dtype=np.bool_), batch, rows.height)

    def find(self, high: Hashes, low: Hashes) -> Places:
        """Where each key is, or -1."""
        at = np.searchsorted(self.high, high)
        found = np.full(len(high), -1, dtype=np.int64)
        looking = np.flatnonzero(at < len(self.high))
        while looking.size:  # once, but for keys that share 64 bits
            here = at[looking]
            same = self.high[here] == high[looking]
            match = same & (self.low[here] == low[looking]) & self.live[here]
            found[looking[match]] = here[match]
            looking = looking[same & ~match]
            at[looking] += 1
            looking = looking[at[looking] < len(self.high)]
        return found

    def kill(self, places: Places) -> None:
        self.live[places] = False
        self.count -= len(places)

    def alive(self) -> pl.DataFrame:
        return self.rows if self.count == self.rows.height else self.rows.filter(pl.Series(self.live))


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that were asked for: ``at`` says which question each one answers."""

    rows: pl.DataFrame
    _places: tuple[tuple[_Piece, Places], ...]

    def forget(self) -> None:
        """They are about to be put again, changed."""
        for piece, places in self._places:
            piece.kill(places)


class RowStore:
    """Rows with the columns ``high``, ``low`` and whatever else; one for each key."""

    def __init__(self, schema: pl.Schema) -> None:
        self._empty = pl.DataFrame(schema=schema)
        self._pieces: list[_Piece] = []

    def __len__(self) -> int:
        return sum(piece.count for piece in self._pieces)

    def find(self, keys: pl.DataFrame) -> Found:
        """The rows of these keys (columns high and low); changes nothing."""
        high, low = (keys[half].to_numpy() for half in ("high", "low"))
        rows, places = [self._empty.with_columns(at=pl.lit(0, pl.Int64))], []
        for piece in self._pieces:
            where = piece.find(high, low)
            asked = np.flatnonzero(where >= 0)
            if asked.size:
                places.append((piece, where[asked]))
                rows.append(piece.rows[where[asked]].with_columns(at=pl.Series(asked)))
        return Found(pl.concat(rows), tuple(places))

    def put(self, rows: pl.DataFrame, batch: int, *, oldest: bool = False) -> None:
        """Take in rows whose keys are not there; ``oldest`` are the first to go, since nothing has touched them yet."""
        if rows.height:
            self._pieces.insert(0 if oldest else len(self._pieces), _Piece.of(rows.select(self._empty.columns), batch))
        self._tidy_up()

    def take_oldest(self, *, stored: int) -> pl.DataFrame | None:
        """Let go of the rows that nothing has touched for longest; None if they are not stored up to that batch."""
        if not self._pieces or self._pieces[0].batch > stored:
            return None
        return self._pieces.pop(0).alive()

    def _tidy_up(self) -> None:
        self._pieces = [self._tidied(piece) for piece in self._pieces if piece.count]
        while len(self._pieces) > PIECES_MAX:
            at = int(np.argmin([a.count + b.count for a, b in zip(self._pieces, self._pieces[1:], strict=False)]))
            pair = self._pieces[at : at + 2]
            self._pieces[at : at + 2] = [self._joined(pair)]

    def _tidied(self, piece: _Piece) -> _Piece:
        return piece if piece.count >= LIVE_MIN * piece.rows.height else _Piece.of(piece.alive(), piece.batch)

    @staticmethod
    def _joined(pieces: Iterable[_Piece]) -> _Piece:
        pieces = list(pieces)
        return _Piece.of(pl.concat([piece.alive() for piece in pieces]), max(piece.batch for piece in pieces))


class HashSet:
    """64-bit hashes, 8 bytes each, in sorted pieces. One that is not in it but seems so costs a look-up, no more."""

    def __init__(self) -> None:
        self._pieces: list[Hashes] = []
        self._has_all = False

    def __len__(self) -> int:
        return sum(len(piece) for piece in self._pieces)

    def __bool__(self) -> bool:
        return self._has_all or bool(self._pieces)

    def forget(self) -> None:
        """Take every hash for one that is in it: that needs no memory."""
        self._pieces, self._has_all = [], True

    def add(self, hashes: Hashes) -> None:
        if self._has_all or not len(hashes):
            return
        self._pieces.append(np.unique(hashes))
        # Each at least twice as long as the next: a look-up searches a few, and a hash is sorted anew a few times.
        while len(self._pieces) > 1 and len(self._pieces[-2]) < 2 * len(self._pieces[-1]):
            self._pieces[-2:] = [np.union1d(self._pieces[-2], self._pieces[-1])]

    def has(self, hashes: Hashes) -> NDArray[np.bool_]:
        found = np.full(len(hashes), self._has_all, dtype=np.bool_)
        for piece in self._pieces:
            at = np.minimum(np.searchsorted(piece, hashes), len(piece) - 1)
            found |= piece[at] == hashes
        return found
