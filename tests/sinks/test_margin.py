"""Revenue and margin of features: by credits that have a price from a day on, or as events report it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from tests.support.properties import examples
from tests.support.warehouse import Embedded
from tests.support.warehouse_rows import store_calls

CENT: Final = 10**10  # in 1e-12 USD
FIRST: Final = datetime(2099, 10, 30, tzinfo=UTC)  # far ahead: what the real clock calls expired, the engine drops
DAYS: Final = 6


def publish(reader: Reader, writer: Writer, text: str) -> None:
    told = {"published_by": "ann", "note": "", "build": "t"}
    PRICES.publish(reader, writer, {"money": text}, new_id=lambda: "p", pause=lambda: None, **told)


def credit(price: str, more: str = "") -> str:
    return f'[[credit_price]]\nprice = "{price}"\nsource = "the price list"\n{more}\n'


def credits_of(feature: str, amount: str, more: str = "") -> str:
    return f'[[feature_credits]]\nfeature = "{feature}"\ncredits = "{amount}"\n{more}\n'


def call(name: str, feature: str, cents: int | None, **more: Any) -> dict[str, Any]:
    unpriced = {"cost_status": "unpriced", "cost_reason": "unknown_model"} if cents is None else {}
    of = {"request_id": name, "feature": feature, "cost_pico": None if cents is None else cents * CENT}
    return {"occurred_at": FIRST} | of | unpriced | more


def margins(reader: Reader, span: str = "") -> dict[str, dict[str, Any]]:
    days = "from = '2099-10-30', to = '2099-11-05', zone = 'UTC'"
    answer = reader.frame(f"SELECT * FROM feature_margin_between({span or days + ', currency = ' + repr('USD')})")
    return {row["feature"]: row for row in answer.to_dicts()}


def test_below_zero_is_a_loss_zero_is_none_and_without_revenue_nothing_is_said(writer: Writer, reader: Reader) -> None:
    """The cases of requirement B-28."""
    store_calls(
        writer,
        [
            call("a", "loss", 101),
            call("b", "even", 100),
            call("c", "free", 100),
            call("d", "unpriced", None),
            call("e", "half known", 60),
            call("f", "half known", None),
        ],
    )
    costs = {"loss": "100", "even": "100", "unpriced": "100", "half known": "50"}
    publish(reader, writer, credit("0.01") + "".join(credits_of(feature, amount) for feature, amount in costs.items()))
    found = margins(reader)
    told = ("revenue_usd", "cost_usd", "margin_usd", "margin_percent", "is_loss", "unpriced_calls")
    assert {feature: tuple(row[name] for name in told) for feature, row in found.items()} == {
        "loss": (Decimal(1), Decimal("1.01"), Decimal("-0.01"), Decimal(-1), 1, 0),
        "even": (Decimal(1), Decimal(1), Decimal(0), Decimal(0), 0, 0),
        "free": (Decimal(0), Decimal(1), Decimal(-1), None, None, 0),
        "unpriced": (Decimal(1), None, None, None, None, 1),
        "half known": (Decimal(1), Decimal("0.6"), Decimal("0.4"), Decimal(40), 0, 1),
    }
    worst_first = reader.frame("SELECT feature FROM feature_margin")["feature"].to_list()
    assert worst_first == ["free", "loss", "even", "half known", "unpriced"]


def test_credits_of_another_amount_from_a_day_on_change_the_margin_from_that_day_alone(
    writer: Writer, reader: Reader
) -> None:
    """Requirement P-22."""
    store_calls(writer, [call(f"r-{day}", "chat", 1, occurred_at=FIRST + timedelta(days=day)) for day in range(4)])
    publish(reader, writer, credit("0.10") + credits_of("chat", "1"))
    by_day = "from = '2099-10-{0}', to = '2099-10-{0} 23:59:59.999', zone = 'UTC', currency = 'USD'"
    before = [margins(reader, by_day.format(day))["chat"]["margin_usd"] for day in (30, 31)]
    assert margins(reader)["chat"]["revenue_usd"] == Decimal("0.4")
    publish(
        reader, writer, credit("0.10") + credits_of("chat", "1") + credits_of("chat", "3", "valid_from = 2099-11-01")
    )
    assert [margins(reader, by_day.format(day))["chat"]["margin_usd"] for day in (30, 31)] == before
    assert margins(reader)["chat"]["revenue_usd"] == Decimal("0.2") + 2 * Decimal("0.3")


def test_a_failed_call_is_sold_for_nothing_and_what_events_report_counts_where_there_are_no_credits(
    writer: Writer, reader: Reader
) -> None:
    dollar = {"revenue_pico": 100 * CENT}
    next_day = {"occurred_at": FIRST + timedelta(days=1)}
    store_calls(
        writer,
        [
            call("a", "sold", 1),
            call("b", "sold", 1, status="error"),
            call("c", "reported", 1, **dollar),
            call("d", "both", 1, **dollar),
            call("e", "both", 1, **dollar, **next_day),
        ],
    )
    ended = "valid_to = 2099-10-31"
    publish(reader, writer, credit("0.10") + credits_of("sold", "5") + credits_of("both", "2", ended))
    found = {feature: (row["revenue_usd"], row["reported_revenue_usd"]) for feature, row in margins(reader).items()}
    assert found == {
        "sold": (Decimal("0.5"), Decimal(0)),
        "reported": (Decimal(1), Decimal(1)),
        "both": (Decimal("0.2") + Decimal(1), Decimal(2)),
    }


def test_a_credit_without_a_price_or_a_rate_is_unknown_revenue_and_never_zero(writer: Writer, reader: Reader) -> None:
    next_day = {"occurred_at": FIRST + timedelta(days=1)}
    store_calls(writer, [call("a", "chat", 1), call("b", "given away", 1), call("c", "chat", 1, **next_day)])
    given = credits_of("given away", "0")
    krw = 'currency = "KRW"\n'
    rate = '[[exchange_rate]]\ncurrency = "KRW"\nper_usd = "1000"\nsource = "s"\n'
    later = "valid_from = 2099-10-31\n"
    for text, revenue in (
        (credits_of("chat", "1") + given, None),
        (credit("100", krw) + credits_of("chat", "1") + given, None),
        (credit("100", krw + later) + rate + credits_of("chat", "1") + given, None),  # of one of its two days
        (credit("100", krw) + rate + credits_of("chat", "1") + given, Decimal("0.2")),
    ):
        publish(reader, writer, text)
        found = margins(reader)
        assert found["chat"]["revenue_usd"] == revenue, text
        assert (found["chat"]["margin_percent"] is None) == (revenue is None)
        assert found["given away"]["revenue_usd"] == 0


# --- against a plain recount -----------------------------------------------------------------------------------------

KRW: Final = {date.min: Decimal("1300.5"), date(2099, 11, 1): Decimal(1400)}
CREDIT_PRICES: Final = {date.min: (Decimal(13), "KRW"), date(2099, 11, 2): (Decimal("0.011"), "USD")}
CREDITS: Final = {"f-0": {date.min: Decimal(2)}, "f-1": {date(2099, 10, 31): Decimal("0.7"), date(2099, 11, 3): None}}
TEXT: Final = (
    credit("13", 'currency = "KRW"')
    + credit("0.011", "valid_from = 2099-11-02")
    + credits_of("f-0", "2")
    + credits_of("f-1", "0.7", "valid_from = 2099-10-31\nvalid_to = 2099-11-03")
    + '[[exchange_rate]]\ncurrency = "KRW"\nper_usd = "1400"\nvalid_from = 2099-11-01\nsource = "s"\n'
    + '[[exchange_rate]]\ncurrency = "KRW"\nper_usd = "1300.5"\nsource = "s"\n'
)


def a_call(number: int, dice: random.Random) -> dict[str, Any]:
    return call(
        f"r-{number}",
        f"f-{dice.randrange(3)}",
        dice.choice([None, 1, 2, 3, 5]),
        occurred_at=FIRST + timedelta(milliseconds=dice.randrange(DAYS * 86_400_000)),
        status=dice.choice(["ok", "ok", "error"]),
        revenue_pico=dice.choice([None, 7 * CENT]),
        source_offset=number,
    )


CALLS: Final = [a_call(number, random.Random(number)) for number in range(300)]


def at(of_days: dict[date, Any], day: date) -> Any:
    known = [value for since, value in sorted(of_days.items()) if since <= day]
    return known[-1] if known else None


def earned(calls: list[dict[str, Any]], currency: str) -> tuple[Decimal, Decimal | None]:
    """Revenue and cost in the currency, by fractions, each rounded once."""
    revenue, cost = Fraction(0), Fraction(0)
    for one in calls:
        day = one["occurred_at"].date()
        rate = Fraction(at(KRW, day)) if currency == "KRW" else Fraction(1)
        cost += Fraction(one["cost_pico"] or 0) * rate
        amount = at(CREDITS.get(one["feature"], {}), day)
        if amount is None:
            revenue += Fraction(one["revenue_pico"] or 0) * rate
        elif one["status"] != "error":
            price, of = at(CREDIT_PRICES, day)
            revenue += (
                Fraction(amount) * Fraction(price) / (Fraction(at(KRW, day)) if of == "KRW" else 1) * rate * 10**12
            )
    priced = any(one["cost_pico"] is not None for one in calls)
    return rounded(revenue), rounded(cost) if priced else None


def rounded(pico: Fraction) -> Decimal:
    return Decimal(int(pico + Fraction(1, 2))).scaleb(-12)


@pytest.fixture(scope="module")
def sold(clickhouse_embedded: Embedded) -> Iterator[Reader]:
    address = clickhouse_embedded.fresh()
    with closing(Writer(address)) as writer, closing(Reader(address)) as reader:
        store_calls(writer, CALLS)
        publish(reader, writer, TEXT)
        yield reader


MINUTES: Final = st.integers(-100, 1440 * (DAYS + 1))


@given(
    currency=st.sampled_from(["USD", "KRW"]), zone=st.sampled_from(["UTC", "Asia/Seoul"]), one=MINUTES, other=MINUTES
)
@examples(60, at_least=3)
def test_margin_of_any_span_is_what_its_calls_earn_and_cost(
    sold: Reader, currency: str, zone: str, one: int, other: int
) -> None:
    start, end = (FIRST + timedelta(minutes=minutes) for minutes in sorted((one, other + (one == other))))
    inside = [each for each in CALLS if start <= each["occurred_at"] < end]
    span = f"from = '{start.isoformat()}', to = '{end.isoformat()}', zone = '{zone}', currency = '{currency}'"
    found = {feature: (row["revenue"], row["cost"]) for feature, row in margins(sold, span).items()}
    by_feature: dict[str, list[dict[str, Any]]] = {}
    for each in inside:
        by_feature.setdefault(each["feature"], []).append(each)
    assert found == {feature: earned(calls, currency) for feature, calls in by_feature.items()}
    for row in margins(sold, span).values():
        if row["cost"] is not None:
            assert row["margin"] == row["revenue"] - row["cost"]
            assert row["margin_usd"] == row["revenue_usd"] - row["cost_usd"]
        if currency == "USD":
            assert (row["revenue"], row["cost"]) == (row["revenue_usd"], row["cost_usd"])
