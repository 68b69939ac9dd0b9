"""The names of providers and models as they are stored: each under the one that the book of prices gives it, with what
was sent beside it.

A name that is stored stays as it is, whatever book reads it later: sums stand under it. So a repeat of a stored call is
counted under the names that the call has in its row, which an earlier build may have given it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

import polars as pl

from costream.pricing import PriceBook

NAMES: Final = ("provider", "model")
SENT: Final = ("provider_sent", "model_sent")  # empty where it is the name that is stored
STORED: Final = ("provider_stored", "model_stored")  # beside NAMES as they were sent
PAIRS_MAX: Final = 10_000  # remembered of those stored as the book has them, and of the others: 6 MB each at most

Pair = tuple[str, str]

# Reads stored events of some ids in some hours back: request_id, NAMES as they were sent, and STORED.
FindStored = Callable[[Sequence[str], Sequence[datetime]], pl.DataFrame]


def named(frame: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """Events with NAMES as ``book`` has them, and SENT. A batch has few different pairs: each is looked up once."""
    return _named(frame, _pairs(frame), book)


def _pairs(frame: pl.DataFrame) -> list[Pair]:
    return frame.select(NAMES).unique().rows()


def _named(frame: pl.DataFrame, pairs: Sequence[Pair], book: PriceBook) -> pl.DataFrame:
    others = [
        (*sent, *name, *("" if text == new else text for text, new in zip(sent, name, strict=True)))
        for sent in pairs
        if (name := book.canonical(*sent)) != sent
    ]
    if not others:
        return frame.with_columns(pl.lit("").alias(name) for name in SENT)
    table = pl.DataFrame(others, schema=dict.fromkeys((*NAMES, *STORED, *SENT), pl.String), orient="row")
    found = frame.select(NAMES).join(table, on=NAMES, how="left", maintain_order="left")
    kept = [pl.coalesce(stored, name).alias(name) for stored, name in zip(STORED, NAMES, strict=True)]
    return frame.with_columns(*found.select(*kept, pl.col(*SENT).fill_null("")))


class StoredNames:
    """Names of calls, and of their repeats: those of the call's row.

    Nearly always these are the names of the book in force, and nobody is asked. What is stored under others is
    remembered by what was sent, and the rows of its repeats are read. So is what an earlier book of this worker named.
    """

    def __init__(self, *, find_stored: FindStored) -> None:
        self._find_stored = find_stored
        self.forget()

    def forget(self) -> None:
        self._book: PriceBook | None = None
        self._alike = _Pairs()  # that some row has under the names of the book
        self._otherwise = _Pairs()  # that some row has under others
        self._unstored: dict[int, pl.DataFrame] = {}  # calls by their flush, as long as that is on its way

    def go_by(self, book: PriceBook) -> None:
        """Name by this book from now on."""
        before, self._book = self._book, book
        if before is None or before is book:
            return
        if self._alike.too_many:
            self._otherwise.overflow()
        self._otherwise.add(pair for pair in self._alike if before.canonical(*pair) != book.canonical(*pair))

    def note(self, stored: pl.DataFrame) -> pl.DataFrame:
        """Look at rows that are read back, with NAMES as they were sent and STORED; and hand them on."""
        for provider, model, *names in stored.select(*NAMES, *STORED).unique().iter_rows():
            is_alike = self._in_force.canonical(provider, model) == tuple(names)
            (self._alike if is_alike else self._otherwise).add([(provider, model)])
        return stored

    def of_calls(self, frame: pl.DataFrame) -> pl.DataFrame:
        """``named`` by the book, of calls that are about to be stored."""
        pairs = _pairs(frame)
        self._alike.add(pairs)
        return _named(frame, pairs, self._in_force)

    def keep(self, calls: pl.DataFrame, *, flush: int) -> None:
        """These calls, with NAMES and SENT, are handed out to be stored."""
        self._unstored[flush] = calls.select("request_id", *NAMES, *SENT)

    def settle(self, flush: int) -> None:
        """This flush is stored, and so are those before it."""
        self._unstored = {number: calls for number, calls in self._unstored.items() if number > flush}

    def of_repeats(self, repeats: pl.DataFrame) -> pl.DataFrame:
        """Repeats of counted calls, as they were sent, with NAMES as the row of their call has them, or is going to.

        A call of the same batch that is not stored is named by the book in force.
        """
        pairs = _pairs(repeats)
        frame = _named(repeats, pairs, self._in_force)
        doubtful = [pair for pair in pairs if pair in self._otherwise]
        if not doubtful:
            return frame
        some = repeats.join(pl.DataFrame(doubtful, schema=NAMES, orient="row"), on=NAMES, how="semi")
        stored = self._find_stored(some["request_id"].to_list(), some["occurred_at"].to_list())
        # Of two rows with one id, a fault that the audit names, always the same one.
        called = ["request_id", *NAMES]
        rows = pl.concat([stored.select(*called, *STORED).sort(STORED), *map(_as_read_back, self._unstored.values())])
        rows = rows.unique(called, keep="first", maintain_order=True)
        told = repeats.select(called).join(rows, on=called, how="left", maintain_order="left")
        return frame.with_columns(
            told[stored].fill_null(frame[name]).alias(name) for name, stored in zip(NAMES, STORED, strict=True)
        )

    @property
    def _in_force(self) -> PriceBook:
        assert self._book is not None, "names are given by a book"
        return self._book


def _as_read_back(calls: pl.DataFrame) -> pl.DataFrame:
    """With NAMES as they were sent and STORED."""
    sent = (pl.when(pl.col(sent) == "").then(name).otherwise(sent) for sent, name in zip(SENT, NAMES, strict=True))
    return calls.select(
        "request_id",
        *(text.alias(name) for text, name in zip(sent, NAMES, strict=True)),
        *(pl.col(name).alias(stored) for name, stored in zip(NAMES, STORED, strict=True)),
    )


class _Pairs:
    """At most PAIRS_MAX pairs; beyond it every pair is taken for one of them."""

    def __init__(self) -> None:
        self._pairs: set[Pair] = set()
        self.too_many = False

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs)

    def __contains__(self, pair: Pair) -> bool:
        return self.too_many or pair in self._pairs

    def add(self, pairs: Iterable[Pair]) -> None:
        if not self.too_many:
            self._pairs.update(pairs)
            if len(self._pairs) > PAIRS_MAX:
                self.overflow()

    def overflow(self) -> None:
        self._pairs, self.too_many = set(), True
