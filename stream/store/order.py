"""Writing a flush: what guarantee 1 and 2 hang on is the order of these lines."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Final

import polars as pl

from costream.topics import DEADLETTER, EVENTS, ROLLUPS, USER_ROLLUPS
from sinks.clickhouse.vocabulary import DIMENSIONS
from sinks.clickhouse.writer import Writer
from stream.runtime.settings import Settings
from stream.store.flush import Flush, Outgoing
from stream.store.letters import dead_letter_message
from stream.store.outbox import Outbox

# Key and value of the largest record of a rollup: seven names of 128 characters, a unit of 64, the sums, and the price
# versions, which the price table bounds. Far below what a topic takes: publishing a row never fails for its size.
ROW_BYTES_MAX: Final = 16_384
ENCODED_ROWS: Final = 16_384  # made JSON at once: a batch of invented units has hundreds of thousands of rows


class Store:
    """Puts a flush where it belongs; a repeat after a failure half-way changes nothing."""

    def __init__(self, *, writer: Writer, outbox: Outbox, settings: Settings) -> None:
        self._writer = writer
        self._outbox = outbox
        self._topic = settings.topic

    def save(self, flush: Flush, *, source: str) -> None:
        """Rows first, then the topics that tell of them, and only then may the caller acknowledge the batch. Of the
        rows the texts of prices come first: no row names a price that cannot be looked up. Dead letters and events come
        next: nothing of a flush is stored without what was judged of its records, and a redelivery may go by that.

        A crash anywhere in between repeats all of it: rows replace their equals, a rollup row that has applied an
        offset applies it no second time, and readers of the topics know a repeat by key and version. Never acknowledge
        before the last line: what Kafka forgets and ClickHouse does not have is lost.
        """
        insert_rows(self._writer, flush)
        self._outbox.publish(self._topic(ROLLUPS), chain(hourly_messages(flush), unit_messages(flush)))
        self._outbox.publish(self._topic(USER_ROLLUPS), user_messages(flush))
        self._outbox.publish(self._topic(EVENTS), flush.forwards)
        self._outbox.publish(
            self._topic(DEADLETTER), (dead_letter_message(refusal, source=source) for refusal in flush.refusals)
        )


def insert_rows(writer: Writer, flush: Flush) -> None:
    """All rows of a flush, in the order that ``Store.save`` explains."""
    writer.insert("prices", flush.prices)
    writer.insert("dead_letters", flush.dead_letters)
    writer.insert("usage_events", flush.events)
    writer.insert("usage_hourly", flush.hourly)
    writer.insert("usage_hourly_units", flush.units)
    writer.insert("usage_daily", flush.daily)
    writer.insert("usage_user_daily", flush.user_daily)
    writer.insert("budget_spend", flush.budget_spend)
    writer.insert("ingest_ledger", flush.ledger)


def hourly_messages(flush: Flush) -> Iterable[Outgoing]:
    """The changed rows of usage_hourly as JSON, keyed by row so that compaction keeps its last state.

    polars writes a Decimal as text, so money leaves exact.
    """
    return _row_messages("usage_hourly", flush.hourly, ("hour", *DIMENSIONS))


def unit_messages(flush: Flush) -> Iterable[Outgoing]:
    """The changed rows of usage_hourly_units: a record a unit, so that none grows with what a producer invents."""
    rows = flush.units.with_columns(amount=exact_text(pl.col("amount_whole"), pl.col("amount_pico")))
    rows = rows.drop("amount_whole", "amount_pico")
    return _row_messages("usage_hourly_units", rows, ("hour", *DIMENSIONS, "unit"))


def exact_text(whole: pl.Expr, pico: pl.Expr) -> pl.Expr:
    """Decimal text of whole units and 1e-12ths beside them, of which there may be more than make a whole one."""
    whole, pico = whole.cast(pl.Int128), pico.cast(pl.Int128)
    units, rest = whole + pico // 10**12, (pico % 10**12).cast(pl.Int64)
    return pl.concat_str(units.cast(pl.String), pl.lit("."), rest.cast(pl.String).str.zfill(12))


def user_messages(flush: Flush) -> Iterable[Outgoing]:
    """The same of usage_user_daily, on a topic of its own: there are many, and the watch need not read them."""
    return _row_messages("usage_user_daily", flush.user_daily, ("day", "user_id"))


def _row_messages(table: str, rows: pl.DataFrame, series: tuple[str, ...]) -> Iterable[Outgoing]:
    """A slice of rows at a time is in memory as JSON."""
    times = [
        pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%SZ") for name, kind in rows.schema.items() if kind == pl.Datetime
    ]
    key, value = pl.struct("source", "source_partition", *series), pl.struct("table", *rows.columns)
    for some in rows.iter_slices(ENCODED_ROWS):
        encoded = some.with_columns(pl.lit(table).alias("table"), *times).select(
            key=key.struct.json_encode().cast(pl.Binary), value=value.struct.json_encode().cast(pl.Binary)
        )
        for name, row in zip(encoded["key"].to_list(), encoded["value"].to_list(), strict=True):
            yield Outgoing(name, row, [])
