"""Rows of a rollup in memory: known by 128 bits of a hash, and in pieces, so that a batch costs what it touches.

What a row is called may take kilobytes (seven names of 128 characters), what it counts takes 70 to 170 bytes, and who
asks for a row has its name at hand. So no name is kept. A key is known by two seeded 64-bit hashes, of seeds drawn anew
by each process: among a billion keys the chance that any two agree is below 1e-20, and nobody can aim for it.

Rows are kept as a batch left them, in pieces sorted by hash. A row that a later batch changes is put into that batch's
piece, and is dead in its old one. So the first piece has what nothing has touched for longest, which is what is let go.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stream.rollup.packed import PackedColumn

PIECES_MAX: Final = 12  # each look-up searches all of them; beyond it the two smallest neighbours become one
LIVE_MIN: Final = 0.75  # of a piece; below it the piece is written anew without its dead rows
PACKED_MIN: Final = 16_384  # rows of a piece that is packed; in smaller ones that would save nothing worth its time
HALVES: Final = ("high", "low")
SEEDS: Final = (secrets.randbits(63), secrets.randbits(63))

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]


def hashed(keys: pl.DataFrame) -> pl.DataFrame:
    """Two hashes of each key. A column has a seed of its own, so that two names cannot change places unseen."""
    halves = {
        half: pl.sum_horizontal(pl.col(name).hash(seed + at) for at, name in enumerate(keys.columns))
        for half, seed in zip(HALVES, SEEDS, strict=True)
    }
    return keys.select(**halves)


class _Rows(Protocol):
    """The columns of a piece, in one of two forms."""

    def take(self, places: Places) -> pl.DataFrame: ...

    def column(self, name: str) -> pl.Series: ...


@dataclass(frozen=True, slots=True)
class _Plain:
    """As a batch left them."""

    frame: pl.DataFrame

    def take(self, places: Places) -> pl.DataFrame:
        return self.frame[places]

    def column(self, name: str) -> pl.Series:
        return self.frame[name]


@dataclass(frozen=True, slots=True)
class _Packed:
    """Each column in as few bytes as its numbers need."""

    columns: Mapping[str, PackedColumn]

    def take(self, places: Places) -> pl.DataFrame:
        return pl.DataFrame([column.take(places).alias(name) for name, column in self.columns.items()])

    def column(self, name: str) -> pl.Series:
        return self.columns[name].all()


@dataclass(slots=True)
class _Piece:
    high: Hashes  # sorted
    low: Hashes
    rows: _Rows
    live: NDArray[np.bool_]
    batch: int  # the last one that any of its rows is of
    count: int  # of live rows

    @classmethod
    def of(cls, rows: pl.DataFrame, batch: int) -> _Piece:
        if not rows["high"].is_sorted():
            rows = rows.sort("high")
        high, low = (rows[half].to_numpy() for half in HALVES)
        frame = rows.drop(HALVES)
        if rows.height < PACKED_MIN:
            return cls._new(high, low, _Plain(frame), batch)
        return cls._new(high.copy(), low.copy(), _Packed({n: PackedColumn.of(frame[n]) for n in frame.columns}), batch)

    @classmethod
    def joined(cls, pieces: Sequence[_Piece], columns: Sequence[str]) -> _Piece:
        """The live rows of several, or of one without its dead. Column by column: little is unpacked at once."""
        batch = max(piece.batch for piece in pieces)
        if sum(piece.count for piece in pieces) < PACKED_MIN:
            return cls.of(pl.concat([piece.take(piece.places()) for piece in pieces]), batch)
        live = [pl.Series(piece.live) for piece in pieces]
        high = np.concatenate([piece.high[piece.live] for piece in pieces])
        order = np.argsort(high, kind="stable")  # of runs that are sorted: they are merged
        packed = {}
        for name in columns:
            parts = [piece.rows.column(name).filter(kept) for piece, kept in zip(pieces, live, strict=True)]
            packed[name] = PackedColumn.of(pl.concat(parts).gather(order))
        low = np.concatenate([piece.low[piece.live] for piece in pieces])
        return cls._new(high[order], low[order], _Packed(packed), batch)

    @classmethod
    def _new(cls, high: Hashes, low: Hashes, rows: _Rows, batch: int) -> _Piece:
        return cls(high, low, rows, np.ones(len(high), dtype=np.bool_), batch, len(high))

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

    def take(self, places: Places) -> pl.DataFrame:
        """Rows with their hashes in the last columns. No query of polars: each costs more than a few rows do."""
        halves = [pl.Series(name, of[places]) for name, of in zip(HALVES, (self.high, self.low), strict=True)]
        return self.rows.take(places).hstack(halves)

    def kill(self, places: Places) -> None:
        self.live[places] = False
        self.count -= len(places)

    def places(self) -> Places:
        """Of the live rows."""
        return np.flatnonzero(self.live)


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
        self._others = [name for name in schema if name not in HALVES]
        self._empty = pl.DataFrame(schema={name: schema[name] for name in (*self._others, *HALVES)})
        self._pieces: list[_Piece] = []

    def __len__(self) -> int:
        return sum(piece.count for piece in self._pieces)

    def find(self, keys: pl.DataFrame) -> Found:
        """The rows of these keys (columns high and low); changes nothing."""
        high, low = (keys[half].to_numpy() for half in HALVES)
        rows, places = [self._empty.hstack([pl.Series("at", [], dtype=pl.Int64)])], []
        for piece in self._pieces:
            where = piece.find(high, low)
            asked = np.flatnonzero(where >= 0)
            if asked.size:
                places.append((piece, where[asked]))
                rows.append(piece.take(where[asked]).hstack([pl.Series("at", asked)]))
        return Found(pl.concat(rows), tuple(places))

    def put(self, rows: pl.DataFrame, batch: int, *, oldest: bool = False) -> None:
        """Take in rows whose keys are not there; ``oldest`` are the first to go, since nothing has touched them yet."""
        if rows.height:
            self._pieces.insert(0 if oldest else len(self._pieces), _Piece.of(rows.select(self._empty.columns), batch))
        self._tidy_up()

    def take_oldest(self, count: int, *, stored: int) -> pl.DataFrame | None:
        """Let go of so many of the rows that nothing has touched for longest, or fewer; None if they are not stored up
        to that batch. There is a row."""
        oldest = self._pieces[0]
        if oldest.batch > stored:
            return None
        places = oldest.places()[:count]
        taken = oldest.take(places)
        oldest.kill(places)
        self._tidy_up()
        return taken

    def _tidy_up(self) -> None:
        self._pieces = [self._tidied(piece) for piece in self._pieces if piece.count]
        while len(self._pieces) > PIECES_MAX:
            at = int(np.argmin([a.count + b.count for a, b in zip(self._pieces, self._pieces[1:], strict=False)]))
            self._pieces[at : at + 2] = [_Piece.joined(self._pieces[at : at + 2], self._others)]

    def _tidied(self, piece: _Piece) -> _Piece:
        return piece if piece.count >= LIVE_MIN * len(piece.live) else _Piece.joined([piece], self._others)


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
