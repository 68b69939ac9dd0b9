"""The names of providers and models as they are stored: each under the one that the book of prices gives it, with what
was sent beside it.

A name that is stored stays as it is, whatever book reads it later: sums stand under it. So a repeat of a stored call is
counted under the names that the call has in its row, which an earlier build may have given it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import polars as pl

from costream.pricing import PriceBook

NAMES: Final = ("provider", "model")
SENT: Final = ("provider_sent", "model_sent")  # empty where it is the name that is stored
STORED: Final = ("provider_stored", "model_stored")  # beside NAMES as they were sent
PAIRS_MAX: Final = 10_000  # remembered of those that are stored under other names than this book's: 6 MB at most

# Reads stored events of some ids in some hours back: request_id, NAMES as they were sent, and STORED.
FindStored = Callable[[Sequence[str], Sequence[datetime]], pl.DataFrame]


def named(frame: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """Events with NAMES as ``book`` has them, and SENT. A batch has few different pairs: each is looked up once."""
    pairs = frame.select(NAMES)
    others = [
        (*sent, *name, *("" if text == new else text for text, new in zip(sent, name, strict=True)))
        for sent in pairs.unique().iter_rows()
        if (name := book.canonical(*sent)) != sent
    ]
    if not others:
        return frame.with_columns(pl.lit("").alias(name) for name in SENT)
    table = pl.DataFrame(others, schema=dict.fromkeys((*NAMES, *STORED, *SENT), pl.String), orient="row")
    found = pairs.join(table, on=NAMES, how="left", maintain_order="left")
    kept = [pl.coalesce(stored, name).alias(name) for stored, name in zip(STORED, NAMES, strict=True)]
    return frame.with_columns(*found.select(*kept, pl.col(*SENT).fill_null("")))


class StoredNames:
    """Under which names repeats of stored calls are counted: those of the call's row.

    Nearly always they are the names of this book, and nobody is asked. Only what is stored under others is remembered,
    by what was sent, and the rows of its repeats are read.
    """

    def __init__(self, book: PriceBook, *, find_stored: FindStored) -> None:
        self._book, self._find_stored = book, find_stored
        self.forget()

    def forget(self) -> None:
        self._otherwise: set[tuple[str, str]] = set()
        self._too_many = False  # then every repeat is asked for

    def note(self, stored: pl.DataFrame) -> pl.DataFrame:
        """Look at rows that are read back, with NAMES as they were sent and STORED; and hand them on."""
        for provider, model, *names in stored.select(*NAMES, *STORED).unique().iter_rows():
            if not self._too_many and self._book.canonical(provider, model) != tuple(names):
                self._otherwise.add((provider, model))
                self._too_many = len(self._otherwise) > PAIRS_MAX
        if self._too_many:
            self._otherwise.clear()
        return stored

    def of_repeats(self, repeats: pl.DataFrame) -> pl.DataFrame:
        """Repeats of counted calls, as they were sent, with NAMES as the row of their call has them. One that is not
        stored yet was named by this book, a moment ago."""
        frame = named(repeats, self._book)
        pairs = repeats.select(NAMES).unique()
        doubtful = [pair for pair in pairs.iter_rows() if self._too_many or pair in self._otherwise]
        if not doubtful:
            return frame
        some = repeats.join(pl.DataFrame(doubtful, schema=pairs.schema, orient="row"), on=NAMES, how="semi")
        stored = self._find_stored(some["request_id"].to_list(), some["occurred_at"].to_list())
        # Of two rows with one id, a fault that the audit names, always the same one.
        called = ["request_id", *NAMES]
        rows = stored.select(*called, *STORED).sort(STORED).unique(called, keep="first")
        told = repeats.select(called).join(rows, on=called, how="left", maintain_order="left")
        return frame.with_columns(
            told[stored].fill_null(frame[name]).alias(name) for name, stored in zip(NAMES, STORED, strict=True)
        )
