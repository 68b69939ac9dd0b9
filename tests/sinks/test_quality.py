"""What the figures of a day leave out, or only guess, counted by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from tests.sinks.test_dashboards import answer
from tests.support.grafana import View
from tests.support.warehouse_rows import MOMENT, store_calls, store_hours, this_hour, units

NOON: Final = (this_hour() - timedelta(days=2)).replace(hour=12)
REPORT: Final = {"provider": "costream", "model": "dropped-events", "unpriced_calls": 1, "cost_pico": 0}
COUNTS: Final = ("calls", "unpriced_calls", "partial_calls", "estimated_calls", "missing_calls", "dead_letters")


def refused(*moments: datetime) -> pl.DataFrame:
    letters = [
        {"source": "t", "source_offset": number, "received_at": moment, "kind": "invalid"}
        for number, moment in enumerate(moments)
    ]
    return pl.DataFrame(letters).cast({"received_at": MOMENT})


def call(name: str, at: datetime, **more: Any) -> dict[str, Any]:
    return {"request_id": name, "occurred_at": at} | more


def told(reader: Reader, view: str) -> dict[Any, tuple[Any, ...]]:
    found = reader.frame(f"SELECT * FROM {view}").to_dicts()
    return {row["day"]: tuple(row[name] for name in (*COUNTS, "dropped_events")) for row in found}


def fill(writer: Writer) -> None:
    unpriced = {"cost_pico": None, "cost_status": "unpriced", "cost_reason": "unknown_model"}
    store_calls(
        writer,
        [
            call("plain", NOON),
            call("estimated", NOON, usage_status="estimated"),
            call("missing", NOON, usage_status="missing", **unpriced),
            call("partial", NOON + timedelta(days=1), cost_status="partial", cost_reason="no price for audio"),
            call("evening", NOON.replace(hour=20), usage_status="estimated"),
        ],
    )
    writer.insert("dead_letters", refused(NOON, NOON.replace(hour=20), NOON + timedelta(days=1)))
    store_hours(writer, [REPORT | {"hour": NOON}])
    writer.insert("usage_hourly_units", units([REPORT | {"hour": NOON, "quantities": {"dropped_events": Decimal(7)}}]))


def test_what_a_day_leaves_out_or_guesses_is_counted(writer: Writer, reader: Reader) -> None:
    fill(writer)
    day, next_day = NOON.date(), NOON.date() + timedelta(days=1)
    expected = {day: (5, 2, 0, 2, 1, 2, 7), next_day: (1, 0, 1, 0, 0, 1, 0)}
    assert told(reader, "data_quality") == expected
    span = f"from = '{day}', to = '{day + timedelta(days=2)}', currency = 'USD'"
    assert told(reader, f"data_quality_between({span}, zone = 'UTC')") == expected


def test_a_day_is_one_of_the_zone_that_is_asked_for(writer: Writer, reader: Reader) -> None:
    """20:00 UTC is the next day in Seoul."""
    fill(writer)
    day, next_day = NOON.date(), NOON.date() + timedelta(days=1)
    span = f"from = '{day}', to = '{day + timedelta(days=2)}', currency = 'USD'"
    assert told(reader, f"data_quality_between({span}, zone = 'Asia/Seoul')") == {
        day: (4, 2, 0, 1, 1, 1, 7),
        next_day: (2, 0, 1, 1, 0, 2, 0),
    }


def test_what_may_have_expired_is_unknown_and_what_is_kept_longer_is_told(writer: Writer, reader: Reader) -> None:
    store_hours(writer, [REPORT | {"hour": NOON - timedelta(days=100), "calls": 3}])
    day = (NOON - timedelta(days=100)).date()
    span = f"from = '{day}', to = '{day + timedelta(days=1)}', zone = 'UTC', currency = 'USD'"
    assert told(reader, f"data_quality_between({span})") == {day: (3, 1, 0, None, None, None, 0)}


def test_a_span_that_cuts_an_hour_counts_what_was_dropped_by_single_reports(writer: Writer, reader: Reader) -> None:
    fill(writer)
    report = {"provider": "costream", "model": "dropped-events", "cost_pico": None, "cost_status": "unpriced"}
    quantities = '{"dropped_events":"5"}'
    store_calls(writer, [call("report", NOON + timedelta(hours=2, minutes=40), quantities=quantities, **report)])
    for minutes, dropped in ((30, []), (50, [5])):
        end = NOON + timedelta(hours=2, minutes=minutes)
        span = f"from = '{NOON + timedelta(hours=1):%F %T}', to = '{end:%F %T}', zone = 'UTC', currency = 'USD'"
        assert [row[-1] for row in told(reader, f"data_quality_between({span})").values()] == dropped


def test_the_board_about_the_pipeline_tells_it_day_by_day(writer: Writer, reader: Reader) -> None:
    fill(writer)
    start = NOON.replace(hour=0)
    rows = answer(reader, "How far the figures can be trusted", View(start=start, end=start + timedelta(days=2)))
    days = {row["day"]: tuple(row[name] for name in (*COUNTS, "dropped_events")) for row in rows}
    assert days == {NOON.date() + timedelta(days=1): (1, 0, 1, 0, 0, 1, 0), NOON.date(): (5, 2, 0, 2, 1, 2, 7)}
