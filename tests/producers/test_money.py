"""What money is worth by day, as files of own prices say it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.pricing.entries import PricesRefused, read
from costream.pricing.exchange import shipped_rates
from costream.pricing.money import BEGINNING, DayRates, MoneyDifference, RateOfDays, differences, first_day, told
from tests.support.properties import examples

SEOUL = timezone(timedelta(hours=9))


def credits_of(*entries: str) -> list[tuple[str, date, Decimal | None]]:
    text = "\n".join(f'[[feature_credits]]\nfeature = "chat"\n{entry}' for entry in entries)
    return [(one.feature, one.first_day, one.credits) for one in told({"f": text}).feature_credits]


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (None, BEGINNING),
        (datetime(2026, 11, 1, tzinfo=UTC), date(2026, 11, 1)),
        (datetime(2026, 11, 1, 0, 0, 0, 1, tzinfo=UTC), date(2026, 11, 2)),
        (datetime(2026, 10, 31, 15, tzinfo=UTC), date(2026, 11, 1)),  # midnight in Seoul
        (datetime(2026, 11, 1, tzinfo=SEOUL), date(2026, 11, 1)),
        (datetime(2026, 11, 1, 9, tzinfo=SEOUL), date(2026, 11, 1)),  # midnight in UTC
        (datetime(1950, 1, 1, 12, tzinfo=UTC), BEGINNING),
    ],
)
def test_a_day_goes_by_what_holds_at_its_first_moment(moment: datetime | None, day: date) -> None:
    assert first_day(moment) == day


@given(moment=st.integers(86_400, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)))
@examples(100)
def test_the_first_day_of_a_moment_is_the_first_that_begins_at_it_or_after(moment: datetime) -> None:
    begins = datetime.combine(first_day(moment), datetime.min.time(), UTC)
    assert begins - timedelta(days=1) < moment <= begins


def test_rates_are_by_currency_and_day_and_of_two_on_one_day_the_later_one_counts() -> None:
    text = """
    exchange_rate = [
      { currency = "KRW", per_usd = "3", valid_from = 2026-11-01T18:00:00Z, source = "s" },
      { currency = "KRW", per_usd = "2", valid_from = 2026-11-01T09:00:00Z, source = "s" },
      { currency = "EUR", per_usd = "0.9", source = "s" },
      { currency = "KRW", per_usd = "1", source = "s" },
    ]"""
    again = 'exchange_rate = [{ currency = "EUR", per_usd = "0.8", source = "t" }]'
    found = told({"a": text, "b": again}).exchange_rates
    assert [(rate.currency, rate.first_day, rate.per_usd, rate.source) for rate in found] == [
        ("EUR", BEGINNING, Decimal("0.8"), "t"),
        ("KRW", BEGINNING, Decimal(1), "s"),
        ("KRW", date(2026, 11, 2), Decimal(3), "s"),
    ]


def test_rates_come_in_the_order_of_their_currencies_and_days_whatever_that_of_the_file() -> None:
    text = """
    exchange_rate = [
      { currency = "KRW", per_usd = "2", source = "s" },
      { currency = "EUR", per_usd = "0.8", valid_from = 2026-11-02, source = "s" },
      { currency = "EUR", per_usd = "0.9", source = "s" },
    ]"""
    assert [(rate.currency, rate.first_day) for rate in told({"f": text}).exchange_rates] == [
        *(("EUR", BEGINNING), ("EUR", date(2026, 11, 2)), ("KRW", BEGINNING)),
    ]


def test_a_credit_has_its_price_and_its_currency() -> None:
    text = """
    credit_price = [
      { price = "0.01", source = "s" },
      { price = "12", currency = "KRW", valid_from = 2026-12-01, source = "t" },
    ]"""
    found = told({"a": text}).credit_prices
    assert [(one.first_day, one.price, one.currency, one.source) for one in found] == [
        (BEGINNING, Decimal("0.01"), "USD", "s"),
        (date(2026, 12, 1), Decimal(12), "KRW", "t"),
    ]


def test_of_two_prices_of_a_credit_that_begin_on_one_day_the_later_one_counts() -> None:
    text = """
    credit_price = [
      { price = "3", valid_from = 2026-11-01T18:00:00Z, source = "s" },
      { price = "2", valid_from = 2026-11-01T09:00:00Z, source = "s" },
    ]"""
    assert [(one.first_day, one.price) for one in told({"a": text}).credit_prices] == [(date(2026, 11, 2), Decimal(3))]


def test_the_credits_of_one_feature_say_nothing_of_another() -> None:
    text = """
    feature_credits = [
      { feature = "search", credits = "5", valid_from = 2026-11-01 },
      { feature = "chat", credits = "2", valid_from = 2026-12-01 },
    ]"""
    assert [(one.feature, one.first_day, one.credits) for one in told({"f": text}).feature_credits] == [
        ("chat", date(2026, 12, 1), Decimal(2)),
        ("search", date(2026, 11, 1), Decimal(5)),
    ]


def test_credits_hold_until_their_end_and_of_several_the_one_that_stands_last() -> None:
    assert credits_of('credits = "2"') == [("chat", BEGINNING, Decimal(2))]
    assert credits_of('credits = "2"\nvalid_from = 2026-11-01\nvalid_to = 2026-12-01') == [
        ("chat", date(2026, 11, 1), Decimal(2)),
        ("chat", date(2026, 12, 1), None),
    ]
    assert credits_of('credits = "2"', 'credits = "3"\nvalid_from = 2026-11-01\nvalid_to = 2026-12-01') == [
        ("chat", BEGINNING, Decimal(2)),
        ("chat", date(2026, 11, 1), Decimal(3)),
        ("chat", date(2026, 12, 1), Decimal(2)),
    ]
    assert credits_of('credits = "2"\nvalid_from = 2026-11-01', 'credits = "2"\nvalid_from = 2026-12-01') == [
        ("chat", date(2026, 11, 1), Decimal(2))
    ]
    assert credits_of('credits = "0"') == [("chat", BEGINNING, Decimal(0))], "sold for nothing is not unknown"


@given(spans=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=6))
@examples(100)
def test_of_each_day_the_last_entry_that_holds_counts(spans: list[tuple[int, int, int]]) -> None:
    first = date(2026, 11, 1)
    entries = [
        f'credits = "{credits_}"\nvalid_from = {first + timedelta(start)}\nvalid_to = {first + timedelta(start + days)}'
        for start, days, credits_ in spans
    ]
    found = credits_of(*entries)
    for offset in range(-1, 16):
        holding = [credits_ for start, days, credits_ in spans if start <= offset < start + days]
        known = [amount for _, day, amount in found if day <= first + timedelta(offset)]
        assert (known[-1] if known else None) == (Decimal(holding[-1]) if holding else None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[[credit_price]]\nprice = "0.01"', "f: credit price 1: source: it is required"),
        ('[[credit_price]]\nprice = 0.01\nsource = "s"', "f: credit price 1: price: 0.01 is not decimal text"),
        (
            '[[credit_price]]\nprice = "1"\ncurrency = "won"\nsource = "s"',
            "f: credit price 1: currency: 'won' is no currency",
        ),
        ('[[feature_credits]]\nfeature = "chat"\ncredits = "-1"', "f: feature credits 1 (chat): credits: '-1' is not"),
        ('[[feature_credits]]\ncredits = "1"', "f: feature credits 1 (?): feature: it is required"),
        ("feature_credits = [{}]", "f: feature credits 1 (?): credits: it is required"),
        (
            '[[feature_credits]]\nfeature = "chat"\ncredits = "1"\nvalid_from = 2026-11-02\nvalid_to = 2026-11-01',
            "f: feature credits 1 (chat): valid_to must be after valid_from",
        ),
        ("", "f: there is no [[price]], no [[exchange_rate]], no [[credit_price]] and no [[feature_credits]]"),
    ],
)
def test_a_fault_names_the_entry_and_the_rule(text: str, fault: str) -> None:
    with pytest.raises(PricesRefused) as refused:
        told({"f": text})
    assert any(line.startswith(fault) for line in refused.value.faults), refused.value.faults


def test_a_file_of_money_alone_changes_no_price() -> None:
    from costream.pricing import PriceBook

    text = '[[credit_price]]\nprice = "0.01"\nsource = "s"\n[[feature_credits]]\nfeature = "chat"\ncredits = "1"'
    book: Any = PriceBook.bundled()
    assert book.with_files({"f": text}).version == book.version


# --- what changes ----------------------------------------------------------------------------------------------------


def money(text: str) -> Any:
    return told({"f": text})


RATES = 'exchange_rate = [{{ currency = "KRW", per_usd = "{0}", valid_from = 2026-11-01, source = "s" }}]'


def test_what_changes_is_told_from_each_day_at_which_it_is_another_change() -> None:
    nothing = told({})
    assert differences(nothing, nothing, shipped=shipped_rates()) == []
    rates = money(RATES.format(1400))
    assert differences(rates, rates, shipped=shipped_rates()) == []
    assert differences(nothing, rates) == [MoneyDifference("exchange_rate", "KRW", date(2026, 11, 1), None, "1400")]
    assert differences(rates, money(RATES.format(1500))) == [
        MoneyDifference("exchange_rate", "KRW", date(2026, 11, 1), "1400", "1500")
    ]
    euro = money('exchange_rate = [{ currency = "EUR", per_usd = "0.9", source = "s" }]')
    assert differences(nothing, euro, shipped=shipped_rates()) == [
        MoneyDifference("exchange_rate", "EUR", BEGINNING, "0.92", "0.9")
    ]
    assert differences(euro, nothing, shipped=shipped_rates()) == [
        MoneyDifference("exchange_rate", "EUR", BEGINNING, "0.9", "0.92")
    ]


def test_what_ends_and_what_is_sold_for_other_credits_is_told() -> None:
    until = 'feature_credits = [{ feature = "chat", credits = "2", valid_from = 2026-11-01, valid_to = 2026-12-01 }]'
    longer = until.replace("2026-12-01", "2027-01-01")
    assert differences(money(until), money(longer)) == [
        MoneyDifference("feature_credits", "chat", date(2026, 12, 1), None, "2")
    ]
    assert differences(money(longer), money(until)) == [
        MoneyDifference("feature_credits", "chat", date(2026, 12, 1), "2", None)
    ]
    dear = 'credit_price = [{ price = "10", currency = "KRW", valid_from = 2026-11-01, source = "s" }]'
    assert differences(told({}), money(dear)) == [
        MoneyDifference("credit_price", "", date(2026, 11, 1), None, "10 KRW")
    ]


def test_changes_of_rates_come_first_then_those_of_the_credit_and_of_features_each_by_name_and_day() -> None:
    text = """
    feature_credits = [{ feature = "b", credits = "2" }, { feature = "a", credits = "1", valid_from = 2026-12-01 }]
    credit_price = [{ price = "0.01", source = "s" }]
    exchange_rate = [
      { currency = "KRW", per_usd = "1400", valid_from = 2026-11-01, source = "s" },
      { currency = "KRW", per_usd = "1500", valid_from = 2026-12-01, source = "s" },
      { currency = "EUR", per_usd = "0.9", source = "s" },
    ]"""
    assert [(one.kind, one.name, one.first_day) for one in differences(told({}), money(text))] == [
        ("exchange_rate", "EUR", BEGINNING),
        ("exchange_rate", "KRW", date(2026, 11, 1)),
        ("exchange_rate", "KRW", date(2026, 12, 1)),
        ("credit_price", "", BEGINNING),
        ("feature_credits", "a", date(2026, 12, 1)),
        ("feature_credits", "b", BEGINNING),
    ]


@given(
    sides=st.tuples(*[st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.integers(0, 3)), max_size=4)] * 2),
)
@examples(100)
def test_the_differences_lead_from_one_side_to_the_other(sides: tuple[list[tuple[int, int, int]], ...]) -> None:
    first = date(2026, 11, 1)
    texts = [
        "\n".join(
            f'[[feature_credits]]\nfeature = "chat"\ncredits = "{amount}"\n'
            f"valid_from = {first + timedelta(start)}\nvalid_to = {first + timedelta(start + days)}"
            for start, days, amount in spans
        )
        or "price = []"
        for spans in sides
    ]
    before, after = (money(text) for text in texts)
    found = {one.first_day: (one.old, one.new) for one in differences(before, after)}

    def at(side: Any, day: date) -> str | None:
        known = [one.credits for one in side.feature_credits if one.first_day <= day]
        return None if not known or known[-1] is None else str(known[-1])

    last: tuple[str | None, str | None] = (None, None)
    for offset in range(-1, 16):
        day = first + timedelta(offset)
        now = at(before, day), at(after, day)
        assert found.pop(day, None) == (now if now[0] != now[1] and now != last else None)
        last = now
    assert not found


def test_the_rate_of_a_day_is_the_last_one_up_to_it_and_own_ones_stand_over_those_that_are_shipped() -> None:
    text = '[[exchange_rate]]\ncurrency = "{}"\nper_usd = "{}"\nsource = "s"\n'
    shipped = read(text.format("KRW", "1300") + text.format("EUR", "0.9"), file="f").exchange_rate
    own = [RateOfDays("KRW", date(2026, 3, day), Decimal(1_400 + day), "own") for day in (2, 5)]
    rates = DayRates(own, shipped=shipped)
    found = [rates("KRW", date(2026, 3, day)) for day in (1, 2, 4, 5, 9)]
    assert found == [Decimal(rate) for rate in (1_300, 1_402, 1_402, 1_405, 1_405)]
    assert rates("EUR", date(1999, 1, 1)) == Decimal("0.9")
    assert DayRates(own)("KRW", date(2026, 3, 1)) is None
    assert rates("JPY", date(2026, 3, 1)) is None
    assert rates.currencies == {"KRW", "EUR"}
    shipped_today = DayRates([RateOfDays("KRW", BEGINNING, Decimal(1), "own")], shipped=shipped)
    assert shipped_today("KRW", date(2026, 3, 1)) == 1
