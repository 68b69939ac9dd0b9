"""Rows for the warehouse's tests: whole frames with sensible values, of which a test names only what it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import polars as pl

from sinks.clickhouse.rows import to_decimal
from sinks.clickhouse.writer import Writer

MOMENT: Final = pl.Datetime("ms", "UTC")
PICO: Final = Decimal("0.000000000001")
UNIT_KEYS: Final = (
    *("hour", "provider", "model", "operation", "feature", "task_type", "source", "source_partition", "version"),
)


def this_hour() -> datetime:
    """Rows date from now, because older ones expire in the background."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def events(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """``usage_events``; ``cost_pico`` and its like become the Decimal columns they are stored as."""
    usual = {
        "request_id": "r-1",
        "occurred_at": this_hour(),
        "provider": "openai",
        "model": "gpt-4o-mini",
        "operation": "chat",
        "feature": "chatbot",
        "status": "ok",
        "usage_status": "reported",
        "input_tokens": 100,
        "output_tokens": 10,
        "cost_pico": 1_000_000,
        "cost_status": "priced",
        "cost_reason": "",
        "source": "topic-1",
        "source_partition": 0,
        "source_offset": 0,
    }
    whole = [usual | dict(row) for row in rows]
    names = sorted({name for row in whole for name in row})
    frame = pl.DataFrame({name: [row.get(name) for row in whole] for name in names}, strict=False)
    return _stored(frame.with_columns(pl.col("occurred_at").cast(MOMENT)))


def hourly(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """``usage_hourly``: one call priced at 1e-6 USD, unless a row says otherwise."""
    usual = {
        "hour": this_hour(),
        "provider": "openai",
        "model": "gpt-4o-mini",
        "operation": "chat",
        "feature": "chatbot",
        "task_type": "",
        "team": "",
        "source": "topic-1",
        "source_partition": 0,
        "calls": 1,
        "errors": 0,
        "unpriced_calls": 0,
        "partial_calls": 0,
        "input_tokens": 100,
        "output_tokens": 10,
        "cost_pico": 1_000_000,
        "revenue_pico": 0,
        "duration_ms": 0,
        "duration_calls": 0,
        "version": 1,
    }
    whole = [usual | dict(row) for row in rows]
    frame = pl.DataFrame(
        {name: [row.get(name, usual.get(name)) for row in whole] for name in usual},
        schema_overrides={"cost_pico": pl.Int128, "revenue_pico": pl.Int128},
    )
    return _stored(frame.with_columns(pl.col("hour").cast(MOMENT)))


def daily(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """``usage_daily``, of rows as ``hourly`` takes them: the sums of the latest state of each."""
    hours = hourly(rows)
    sums = ("calls", "errors", "unpriced_calls", "partial_calls", "input_tokens", "output_tokens")
    sums += ("cost_usd", "revenue_usd", "duration_ms", "duration_calls")
    series = [name for name in hours.columns if name not in (*sums, "version")]
    latest = hours.sort("version").unique(series, keep="last", maintain_order=True)
    days = latest.with_columns(day=pl.col("hour").dt.date()).drop("hour")
    keys = ["day", *(name for name in series if name != "hour")]
    return days.group_by(keys, maintain_order=True).agg(pl.col(*sums).sum(), pl.col("version").max())


def store_hours(writer: Writer, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as ``hourly`` takes them, and the days they make."""
    writer.insert("usage_hourly", hourly(rows))
    writer.insert("usage_daily", daily(rows))


def store_calls(writer: Writer, calls: Sequence[Mapping[str, Any]]) -> None:
    """Rows as ``events`` takes them, and the hours, days and days of users that a worker makes of them."""
    writer.insert("usage_events", events(calls))
    store_hours(writer, _added_up(calls, by=("hour", "provider", "model", "feature")))
    days = user_daily(_added_up(calls, by=("day", "user_id")))
    writer.insert("usage_user_daily", days.with_columns(pl.col("day").cast(pl.Date)))


def _added_up(calls: Sequence[Mapping[str, Any]], *, by: Sequence[str]) -> list[dict[str, Any]]:
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for call in calls:
        moment: datetime = call["occurred_at"]
        hour = moment.replace(minute=0, second=0, microsecond=0)
        place = {"hour": hour, "day": moment.date()} | dict(call)
        key = {name: place[name] for name in by if name in place}
        row = sums.setdefault(tuple(key.values()), key | dict.fromkeys(_counted({}), 0))
        for name, amount in _counted(call).items():
            row[name] += amount
    return list(sums.values())


def _counted(call: Mapping[str, Any]) -> dict[str, int]:
    """What one call adds to a row of sums."""
    return {
        "calls": 1,
        "errors": int(call.get("status") == "error"),
        "unpriced_calls": int(call.get("cost_status") == "unpriced"),
        "partial_calls": int(call.get("cost_status") == "partial"),
        "input_tokens": call.get("input_tokens") or 0,
        "output_tokens": call.get("output_tokens") or 0,
        "cost_pico": call.get("cost_pico") or 0,
        "revenue_pico": call.get("revenue_pico") or 0,
    }


def units(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """``usage_hourly_units``, of rows as ``hourly`` takes them: one for each of their ``quantities``."""
    keys = [name for name in hourly([]).columns if name in UNIT_KEYS]
    of_hours = hourly(rows).select(keys).to_dicts()
    amounts = [
        row | {"unit": unit, "amount_whole": amount // 1, "amount_pico": amount % 1 / PICO}
        for row, given in zip(of_hours, rows, strict=True)
        for unit, amount in given.get("quantities", {}).items()
    ]
    kinds = dict.fromkeys(("amount_whole", "amount_pico"), pl.Decimal(38, 0))
    return pl.DataFrame(amounts, schema_overrides=kinds | {"hour": MOMENT})


def user_daily(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """``usage_user_daily``: one call priced at 1e-6 USD, unless a row says otherwise."""
    usual = {
        "day": this_hour().date(),
        "user_id": "u-1",
        "source": "topic-1",
        "source_partition": 0,
        "calls": 1,
        "unpriced_calls": 0,
        "cost_pico": 1_000_000,
        "version": 1,
    }
    whole = [usual | dict(row) for row in rows]
    frame = pl.DataFrame(whole, schema_overrides={"cost_pico": pl.Int128})
    return _stored(frame)


def _stored(frame: pl.DataFrame) -> pl.DataFrame:
    money = [name for name in frame.columns if name.endswith("_pico")]
    exact = [to_decimal(pl.col(name)).alias(name.replace("_pico", "_usd")) for name in money]
    return frame.with_columns(exact).drop(money)
