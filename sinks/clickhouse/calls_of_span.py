"""The single calls of a span, as pricing takes them, with what they were stored to cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.rows import to_integers
from sinks.clickhouse.state import SENT_AS, STORED_AS, runs_of_hours

IN_SPAN: Final = """
  occurred_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
  AND occurred_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
  AND ({provider:String} = '' OR provider = {provider:String})
  AND ({model:String} = '' OR model = {model:String})
  AND ({feature:String} = '' OR feature = {feature:String})"""
HOURS: Final = f"""
  SELECT toInt64(toUnixTimestamp(toStartOfHour(occurred_at))) * 1000 AS hour, toInt64(count()) AS calls
  FROM usage_events_rows WHERE {IN_SPAN} GROUP BY hour ORDER BY hour"""  # noqa: S608 - written here
# By the names that were sent: a name of today's is found by them as well as by the one that is stored.
CALLS: Final = f"""
  SELECT occurred_at, {SENT_AS["provider"]}, {SENT_AS["model"]}, {STORED_AS},
    operation, feature, status, service_tier, inference_geo, toInt64(input_tokens) AS input_tokens,
    toInt64(output_tokens) AS output_tokens, toInt64(cache_read_tokens) AS cache_read_tokens,
    toInt64(cache_write_tokens) AS cache_write_tokens, toInt64(reasoning_tokens) AS reasoning_tokens,
    quantities, unit_prices, cost_usd AS cost_stored_pico, cost_status AS cost_status_stored
  FROM (SELECT * FROM usage_events_rows FINAL WHERE {IN_SPAN}) AS e
  SETTINGS do_not_merge_across_partitions_select_final = 1"""  # noqa: S608 - written here


@dataclass(frozen=True, slots=True)
class Span:
    """From ``start`` until before ``end``; of a provider, model or feature by its stored name alone, where one is
    given."""

    start: datetime
    end: datetime
    provider: str = ""
    model: str = ""
    feature: str = ""

    @property
    def days(self) -> tuple[date, date]:
        """From the first day to before the second: the days that it has something of."""
        last = self.end - timedelta(milliseconds=1)
        return self.start.date(), last.date() + timedelta(days=1)

    def asked(self) -> dict[str, Any]:
        names = {"provider": self.provider, "model": self.model, "feature": self.feature}
        return names | {"start": _ms(self.start), "end": _ms(self.end)}


def blocks_of(reader: Reader, span: Span) -> list[tuple[int, int]]:
    """Bounds in milliseconds of parts of the span, without a gap."""
    filled = reader.frame(HOURS, **span.asked())
    return list(runs_of_hours(filled, start=_ms(span.start), end=_ms(span.end)))


def calls_in(reader: Reader, span: Span, blocks: list[tuple[int, int]]) -> Iterator[pl.DataFrame]:
    """The calls of each block: what ``stream.pricing.price`` reads, and ``provider_stored``, ``model_stored``,
    ``cost_stored_pico`` (1e-12 USD, null where it is unknown) and ``cost_status_stored``."""
    for start, end in blocks:
        yield to_integers(reader.frame(CALLS, **span.asked() | {"start": start, "end": end}), pl.Int64)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000)
