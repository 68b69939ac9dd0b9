"""The views named *_between: any span in any zone, against a plain recount of the calls."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse import retention
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseRefused
from tests.support.properties import examples
from tests.support.warehouse import Embedded
from tests.support.warehouse_rows import store_calls

FIRST: Final = datetime(2099, 10, 30, tzinfo=UTC)  # far ahead: what the real clock calls expired, the engine drops
DAYS: Final = 6
ZONES: Final = (
    "UTC",
    "Asia/Kolkata",  # half an hour off
    "Asia/Kathmandu",  # a quarter of an hour off
    "Asia/Tokyo",
    "America/New_York",  # its clocks go back on 1 November 2099
    "Europe/London",  # no offset in winter
    "Australia/Lord_Howe",  # its summer time is half an hour
)
EVERYTHING: Final = ("calls", "errors", "unpriced_calls", "partial_calls", "input_tokens", "output_tokens", "cost_usd")


def a_call(number: int, dice: random.Random) -> dict[str, Any]:
    at = FIRST + timedelta(milliseconds=dice.randrange(DAYS * 86_400_000))
    if number % 5 == 0:  # often on the edge of an hour
        at = at.replace(minute=0, second=0, microsecond=0) - timedelta(milliseconds=dice.choice([0, 1]))
    status = dice.choice(["priced"] * 4 + ["partial", "unpriced"])
    return {
        "request_id": f"r-{number}",
        "occurred_at": max(at, FIRST),
        "model": f"m-{number % 3}",
        "feature": f"f-{number % 2}",
        "user_id": f"u-{number % 4}",
        "status": dice.choice(["ok", "ok", "error"]),
        "cost_status": status,
        "cost_pico": None if status == "unpriced" else dice.randrange(10**9),
        "input_tokens": dice.randrange(1000),
        "output_tokens": dice.choice([None, 7]),
        "source_offset": number,
    }


def counted(call: dict[str, Any]) -> dict[str, Any]:
    """What one call adds to a row of sums."""
    return {
        "calls": 1,
        "errors": int(call["status"] == "error"),
        "unpriced_calls": int(call["cost_status"] == "unpriced"),
        "partial_calls": int(call["cost_status"] == "partial"),
        "input_tokens": call["input_tokens"],
        "output_tokens": call["output_tokens"] or 0,
        "cost_pico": call["cost_pico"] or 0,
    }


def summed(calls: Sequence[dict[str, Any]], key: Callable[[dict[str, Any]], tuple[Any, ...]]) -> dict[Any, Any]:
    """By key, the sums; of the cost NULL where nothing has a price."""
    sums: dict[Any, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for call in calls:
        for name, amount in counted(call).items():
            sums[key(call)][name] += amount
    return {
        of: {name: amount for name, amount in row.items() if name != "cost_pico"}
        | {"cost_usd": Decimal(row["cost_pico"]).scaleb(-12) if row["calls"] > row["unpriced_calls"] else None}
        for of, row in sums.items()
    }


CALLS: Final = [a_call(number, random.Random(number)) for number in range(400)]


# By currency, the days (UTC) from which a rate holds. That of KRW from the 3rd at noon holds from the 4th on; of XTS
# there is none before the 2nd; EUR is shipped.
RATES: Final = {
    "USD": {date.min: Decimal(1)},
    "EUR": {date.min: Decimal("0.92")},
    "KRW": {date.min: Decimal("1300.5"), date(2099, 11, 1): Decimal(1400), date(2099, 11, 4): Decimal("1512.25")},
    "XTS": {date(2099, 11, 2): Decimal("0.333333333333")},
}
RATES_FILE: Final = """
exchange_rate = [
  { currency = "KRW", per_usd = "1400", valid_from = 2099-11-01, source = "the bank" },
  { currency = "KRW", per_usd = "1512.25", valid_from = 2099-11-03T12:00:00Z, source = "the bank" },
  { currency = "KRW", per_usd = "1300.5", source = "the bank" },
  { currency = "XTS", per_usd = "0.333333333333", valid_from = 2099-11-02, source = "the bank" },
]
"""


@pytest.fixture(scope="module")
def spans(clickhouse_embedded: Embedded) -> Iterator[Reader]:
    """A warehouse with these calls, the hours and days that a worker makes of them, and exchange rates."""
    address = clickhouse_embedded.fresh()
    with closing(Writer(address)) as writer, closing(Reader(address)) as reader:
        store_calls(writer, CALLS)
        told = {"published_by": "ann", "note": "", "build": "t"}
        PRICES.publish(reader, writer, {"rates": RATES_FILE}, new_id=lambda: "p", pause=lambda: None, **told)
        yield reader


MOMENTS: Final = st.one_of(
    st.integers(-2, DAYS + 2).map(lambda days: timedelta(days=days)),
    st.integers(-24, 24 * (DAYS + 1)).map(lambda hours: timedelta(hours=hours)),
    st.integers(-100, 1440 * (DAYS + 1)).map(lambda minutes: timedelta(minutes=minutes)),
    st.sampled_from([call["occurred_at"] - FIRST for call in CALLS]),
)


@given(zone=st.sampled_from(ZONES), one=MOMENTS, other=MOMENTS)
@examples(60, at_least=3)
def test_a_span_in_any_zone_is_the_sum_of_its_calls(spans: Reader, zone: str, one: timedelta, other: timedelta) -> None:
    start, end = sorted((one, other))
    if start == end:
        end += timedelta(milliseconds=1)
    inside = [call for call in CALLS if FIRST + start <= call["occurred_at"] < FIRST + end]
    span = asked(FIRST + start, FIRST + end, zone)
    for view, keys in (
        ("usage_between", ("model", "feature")),
        ("feature_cost_summary_between", ("feature",)),
        ("model_performance_comparison_between", ("model",)),
        ("user_cost_summary_between", ("user_id",)),
        ("usage_daily_between", ("day", "model", "feature")),
        ("daily_cost_between", ("day",)),
    ):
        expected = summed(inside, lambda call, keys=keys: tuple(told(call, name, zone) for name in keys))  # type: ignore[misc]  # a default
        answer = spans.frame(f"SELECT * FROM {view}{span}")
        columns = [name for name in EVERYTHING if name in answer.columns]
        found = {tuple(row[name] for name in keys): {name: row[name] for name in columns} for row in answer.to_dicts()}
        assert found == {key: {name: row[name] for name in columns} for key, row in expected.items()}, view


def asked(start: datetime, end: datetime, zone: str, currency: str = "USD") -> str:
    return f"(from = '{start.isoformat()}', to = '{end.isoformat()}', zone = '{zone}', currency = '{currency}')"


def told(call: dict[str, Any], name: str, zone: str) -> Any:
    if name != "day":
        return call[name]
    day: date = call["occurred_at"].astimezone(ZoneInfo(zone)).date()
    return day


# --- in another currency ---------------------------------------------------------------------------------------------


def in_currency(calls: Sequence[dict[str, Any]], currency: str) -> Decimal | None:
    """What these calls cost in it: each by the rate of its day (UTC), added up, and rounded once."""
    priced = [call for call in calls if call["cost_pico"] is not None]
    total = Decimal(0)
    for call in priced:
        rates = [rate for day, rate in sorted(RATES[currency].items()) if day <= call["occurred_at"].date()]
        if call["cost_pico"] and not rates:
            return None
        total += call["cost_pico"] * rates[-1] if rates else 0
    return total.quantize(Decimal(1), ROUND_HALF_UP).scaleb(-12) if priced else None


def rows_in_currency(
    calls: Sequence[dict[str, Any]], currency: str, keys: Sequence[str], cell: Sequence[str], zone: str
) -> dict[Any, Decimal | None]:
    """By keys, the sums of cells: a sum is not known where one of its cells has a cost, and no rate."""
    cells: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for call in calls:
        cells[tuple(told(call, name, zone) for name in dict.fromkeys((*keys, *cell)))].append(call)
    sums: dict[Any, list[Decimal | None]] = defaultdict(list)
    for of, inside in cells.items():
        if any(call["cost_pico"] is not None for call in inside):
            sums[of[: len(keys)]].append(in_currency(inside, currency))
        else:
            sums[of[: len(keys)]] += []
    return {
        of: None if None in costs or not costs else sum((cost for cost in costs if cost is not None), Decimal(0))
        for of, costs in sums.items()
    }


@given(currency=st.sampled_from([*RATES]), zone=st.sampled_from(ZONES), one=MOMENTS, other=MOMENTS)
@examples(60, at_least=3)
def test_a_cost_in_a_currency_is_that_of_each_day_by_its_rate_and_unknown_without_one(
    spans: Reader, currency: str, zone: str, one: timedelta, other: timedelta
) -> None:
    start, end = sorted((one, other))
    end += timedelta(milliseconds=start == end)
    inside = [call for call in CALLS if FIRST + start <= call["occurred_at"] < FIRST + end]
    span = asked(FIRST + start, FIRST + end, zone, currency)
    cell = ("model", "feature")
    for view, keys, of in (
        ("usage_between", ("model", "feature"), cell),
        ("feature_cost_summary_between", ("feature",), cell),
        ("model_performance_comparison_between", ("model",), cell),
        ("user_cost_summary_between", ("user_id",), ()),
        ("usage_daily_between", ("day", "model", "feature"), cell),
        ("daily_cost_by_model_between", ("day", "model"), cell),
    ):
        answer = spans.frame(f"SELECT * FROM {view}{span}").to_dicts()
        found = {tuple(row[name] for name in keys): row["cost"] for row in answer}
        assert found == rows_in_currency(inside, currency, keys, of, zone), view
        assert {row["currency"] for row in answer if "currency" in row} <= {currency}
        for row in answer:
            if row.get("avg_cost") is not None:
                assert abs(row["avg_cost"] * (row["calls"] - row["unpriced_calls"]) - row["cost"]) < Decimal("1e-9")


def test_a_sum_is_unknown_in_a_currency_where_one_of_its_cells_is(writer: Writer, reader: Reader) -> None:
    """One model is called on a day without a rate, the other on one with it."""
    told = {"published_by": "ann", "note": "", "build": "t"}
    PRICES.publish(reader, writer, {"rates": RATES_FILE}, new_id=lambda: "p", pause=lambda: None, **told)
    days = {"before": datetime(2099, 11, 1, tzinfo=UTC), "after": datetime(2099, 11, 2, tzinfo=UTC)}
    usual = {"feature": "f", "user_id": "u", "cost_pico": 3 * 10**12}
    store_calls(writer, [usual | {"request_id": name, "model": name, "occurred_at": at} for name, at in days.items()])
    span = asked(FIRST, FIRST + timedelta(days=DAYS), "UTC", "XTS")

    def costs(view: str, key: str) -> dict[Any, Any]:
        return dict(reader.frame(f"SELECT {key}, cost FROM {view}{span}").iter_rows())

    known = Decimal("0.999999999999")
    assert costs("usage_between", "model") == {"before": None, "after": known}
    assert costs("model_performance_comparison_between", "model") == {"before": None, "after": known}
    assert costs("daily_cost_between", "day") == {date(2099, 11, 1): None, date(2099, 11, 2): known}
    assert costs("feature_cost_summary_between", "feature") == {"f": None}
    assert costs("feature_performance_summary_between", "feature") == {"f": None}
    assert costs("feature_margin_between", "feature") == {"f": None}
    assert costs("user_cost_summary_between", "user_id") == {"u": None}


@pytest.mark.parametrize("currency", [*RATES])
def test_hours_that_begin_in_a_span_are_told_in_a_currency(spans: Reader, currency: str) -> None:
    start, end = datetime(2099, 10, 31, 22, 30, tzinfo=UTC), datetime(2099, 11, 2, 1, tzinfo=UTC)
    answer = spans.frame(f"SELECT * FROM usage_hourly_between{asked(start, end, 'UTC', currency)}").to_dicts()
    cells: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for call in CALLS:
        hour = call["occurred_at"].replace(minute=0, second=0, microsecond=0)
        if start <= hour < end:
            cells[hour, call["model"], call["feature"]].append(call)
    found = {(row["hour"], row["model"], row["feature"]): (row["calls"], row["cost"]) for row in answer}
    assert found == {of: (len(calls), in_currency(calls, currency)) for of, calls in cells.items()}


@pytest.mark.parametrize(
    "view", ["usage_between", "usage_daily_between", "usage_hourly_between", "feature_margin_between"]
)
def test_a_currency_that_no_rate_is_known_of_is_refused_and_not_one_to_one(spans: Reader, view: str) -> None:
    for currency in ("ZZZ", "krw", "it''s"):
        span = asked(FIRST, FIRST + timedelta(days=3), "UTC", currency)
        with pytest.raises(WarehouseRefused, match="there is no exchange rate of"):
            spans.frame(f"SELECT * FROM {view}{span}")


@pytest.mark.parametrize("zone", ZONES)
def test_a_day_without_an_offset_begins_where_the_zone_says(spans: Reader, zone: str) -> None:
    midnight = datetime(2099, 11, 1, tzinfo=ZoneInfo(zone))
    after = datetime(2099, 11, 2, tzinfo=ZoneInfo(zone))
    expected = sum(midnight <= call["occurred_at"] < after for call in CALLS)
    span = f"(from = '2099-11-01', to = '2099-11-02', zone = '{zone}', currency = 'USD')"
    rows = spans.frame(f"SELECT toString(day) AS day, calls FROM daily_cost_between{span}").rows()
    assert rows == [("2099-11-01", expected)]
    assert spans.frame(f"SELECT sum(calls) FROM usage_between{span}").item() == expected


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["usage_between", "usage_daily_between", "user_cost_summary_between"])
def test_a_span_that_is_empty_or_the_wrong_way_round_is_refused(spans: Reader, view: str) -> None:
    for start, end in (("2099-11-02", "2099-11-01"), ("2099-11-01", "2099-11-01")):
        with pytest.raises(WarehouseRefused, match="the span is empty: `from` must be before `to`"):
            spans.frame(f"SELECT * FROM {view}(from = '{start}', to = '{end}', zone = 'UTC', currency = 'USD')")


@pytest.mark.parametrize(
    ("view", "start", "zone", "refused"),
    [
        ("usage_between", "2020-01-01", "UTC", ""),
        ("usage_between", "2020-01-01 07:00:00", "UTC", ""),
        ("usage_between", "2020-01-01 07:20:00", "UTC", "parts of hours"),
        ("usage_between", "2020-01-01", "Asia/Kolkata", "parts of hours"),
        ("usage_daily_between", "2020-01-01", "America/New_York", ""),
        ("usage_daily_between", "2020-01-01", "Asia/Kolkata", "parts of hours"),
        ("user_cost_summary_between", "2020-01-01", "UTC", ""),
        ("user_cost_summary_between", "2020-01-01", "America/New_York", "whole days of UTC"),
    ],
)
def test_a_span_that_needs_single_calls_that_may_have_expired_is_refused(
    spans: Reader, view: str, start: str, zone: str, refused: str
) -> None:
    sql = f"SELECT * FROM {view}(from = '{start}', to = '2099-11-01', zone = '{zone}', currency = 'USD')"
    if not refused:
        spans.frame(sql)
        return
    with pytest.raises(WarehouseRefused, match=f"{refused}.* from before raw_kept_since"):
        spans.frame(sql)


def test_single_calls_are_kept_since_the_moment_that_the_audit_knows_too(address: ClickHouseAddress) -> None:
    now = datetime.now(UTC)
    with closing(Reader(address)) as reader:
        changes = ((timedelta(days=30), now - timedelta(days=20)), (timedelta(days=60), now - timedelta(days=5)))
        for kept, changed_at in (None, now), *changes:
            if kept is not None:
                retention.apply(address, kept, now=changed_at)
            since = reader.frame("SELECT since FROM raw_kept_since").item()
            assert abs(since - retention.raw_since(reader, now=datetime.now(UTC))) < timedelta(minutes=1)
