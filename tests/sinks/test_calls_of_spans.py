"""Single calls of a span in its currency, and what they were reported to cost."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseRefused
from tests.sinks.test_dashboards import answer
from tests.support.grafana import View
from tests.support.warehouse_rows import events, this_hour

CENT: Final = 10_000_000_000  # in 1e-12 USD
HOUR: Final = (this_hour() - timedelta(days=2)).replace(hour=6)
UNPRICED: Final = {"cost_pico": None, "cost_status": "unpriced", "cost_reason": "unknown_model"}


def publish_won(reader: Reader, writer: Writer) -> None:
    """1,400 won for a dollar from the day of ``HOUR`` on; before it no rate is known."""
    rate = f'[[exchange_rate]]\ncurrency = "KRW"\nper_usd = "1400"\nvalid_from = {HOUR.date()}\nsource = "a bank"\n'
    told = {"published_by": "ann", "note": "", "build": "t"}
    PRICES.publish(reader, writer, {"won": rate}, new_id=lambda: "p", pause=lambda: None, **told)


def asked(reader: Reader, view: str, hours: tuple[int, int], currency: str = "USD") -> list[dict[str, Any]]:
    start, end = (HOUR + timedelta(hours=each) for each in hours)
    span = f"from = '{start:%F %T}', to = '{end:%F %T}', zone = 'UTC', currency = '{currency}'"
    return reader.frame(f"SELECT * FROM {view}({span})").to_dicts()


def test_calls_of_a_span_are_told_one_by_one_in_its_currency(writer: Writer, reader: Reader) -> None:
    publish_won(reader, writer)
    calls: list[dict[str, Any]] = [
        {"request_id": "first", "occurred_at": HOUR, "cost_pico": 2 * CENT, "user_id": "ann", "session_id": "s"},
        {"request_id": "unpriced", "occurred_at": HOUR + timedelta(minutes=1), **UNPRICED},
        {"request_id": "free", "occurred_at": HOUR + timedelta(minutes=2), "cost_pico": 0},
        {"request_id": "the day before", "occurred_at": HOUR - timedelta(hours=12), "cost_pico": CENT},
        {"request_id": "at the end", "occurred_at": HOUR + timedelta(hours=1)},
    ]
    writer.insert("usage_events", events(calls))
    found = {row["request_id"]: row for row in asked(reader, "calls_between", (-24, 1), "KRW")}
    assert {name: (row["cost_usd"], row["cost"], row["currency"]) for name, row in found.items()} == {
        "first": (Decimal("0.02"), Decimal(28), "KRW"),
        "unpriced": (None, None, "KRW"),
        "free": (Decimal(0), Decimal(0), "KRW"),
        "the day before": (Decimal("0.01"), None, "KRW"),
    }
    assert (found["first"]["user_id"], found["first"]["session_id"]) == ("ann", "s")
    assert found["unpriced"]["cost_reason"] == "unknown_model"


def test_reported_costs_of_a_span_stand_beside_those_that_count(writer: Writer, reader: Reader) -> None:
    publish_won(reader, writer)
    calls: list[dict[str, Any]] = [
        {"cost_pico": 4 * CENT, "reported_cost_pico": 5 * CENT},
        {"cost_pico": 7 * CENT, "reported_cost_pico": 7 * CENT},
        {**UNPRICED, "reported_cost_pico": 100 * CENT},
        {"cost_pico": 1_000 * CENT},
        {**UNPRICED, "reported_cost_pico": 9 * CENT, "model": "other"},
        {"cost_pico": 1, "reported_cost_pico": 2, "occurred_at": HOUR + timedelta(hours=1)},
        {"cost_pico": CENT, "reported_cost_pico": CENT, "occurred_at": HOUR - timedelta(days=1)},
    ]
    numbered = [{"occurred_at": HOUR} | call | {"request_id": f"r-{n}"} for n, call in enumerate(calls)]
    writer.insert("usage_events", events(numbered))
    one, other = asked(reader, "reported_costs_between", (0, 1), "KRW")
    assert (one["provider"], one["model"], one["calls"], one["differing_calls"], one["unpriced_calls"]) == (
        *("openai", "gpt-4o-mini"),
        *(3, 1, 1),
    )
    assert (one["reported_cost_usd"], one["cost_usd"], one["difference_usd"]) == tuple(
        Decimal(text) for text in ("0.12", "0.11", "0.01")
    )
    assert (one["reported_cost"], one["cost"], one["difference"]) == (168, 154, 14)
    assert (other["model"], other["unpriced_calls"]) == ("other", 1)
    assert {other[name] for name in ("reported_cost_usd", "cost_usd", "difference_usd", "cost", "difference")} == {None}
    with_the_day_before = asked(reader, "reported_costs_between", (-24, 1), "KRW")[0]
    assert with_the_day_before["reported_cost_usd"] == Decimal("0.13")
    assert {with_the_day_before[name] for name in ("reported_cost", "cost", "difference")} == {None}


def test_what_was_reported_for_calls_that_may_have_expired_is_refused(reader: Reader) -> None:
    assert asked(reader, "reported_costs_between", (-24 * 80, 1)) == []
    with pytest.raises(WarehouseRefused, match="may have expired: ask for a later span"):
        asked(reader, "reported_costs_between", (-24 * 100, 1))


def test_the_board_about_models_tells_what_differs_most_first(writer: Writer, reader: Reader) -> None:
    calls = [
        {"model": model, "cost_pico": 10 * CENT, "reported_cost_pico": reported * CENT}
        for model, reported in (("a", 11), ("b", 3), ("c", 10))
    ]
    writer.insert(
        "usage_events", events([{"occurred_at": HOUR, "request_id": f"r-{n}"} | c for n, c in enumerate(calls)])
    )
    view = View(start=HOUR, end=HOUR + timedelta(hours=1))
    told = [(row["model"], row["difference"]) for row in answer(reader, "Reported and computed", view)]
    assert told == [("b", Decimal("-0.07")), ("a", Decimal("0.01")), ("c", 0)]
