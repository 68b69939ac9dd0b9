"""Prices in other currencies: by the rate of their time, exact, and unknown where there is none."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.pricing import PICO, Linear, NoPrice, PriceBook, Sku
from costream.pricing.entries import PricesRefused
from costream.pricing.exchange import load_all, shipped_in_use, shipped_rates
from costream.pricing.quote import Call, Priced, quote
from costream.pricing.reasons import Reason

ACME = Sku("acme", "m")
BUNDLED = PriceBook.bundled()
START = datetime(2026, 1, 1, tzinfo=UTC)


def price(currency: str, amount: str = "0.92", more: str = "") -> str:
    return (
        f'[[price]]\nprovider = "acme"\nmodels = ["m"]\nsource = "s"\ncurrency = "{currency}"\n'
        f'rates.requests = {{ price = "{amount}" }}\n{more}\n'
    )


def rate(currency: str, per_usd: str, since: str = "") -> str:
    valid = f"valid_from = {since}\n" if since else ""
    return f'[[exchange_rate]]\ncurrency = "{currency}"\nper_usd = "{per_usd}"\n{valid}source = "a bank"\n'


def book(*texts: str) -> PriceBook:
    return BUNDLED.with_files({f"{number}.toml": text for number, text in enumerate(texts)})


def fee(prices: PriceBook, at: datetime = START) -> Fraction | None:
    """USD of one request; None where it is unknown."""
    found = prices.at(ACME, at)
    return Fraction(found.brackets[0].prices()["requests"]) / PICO if isinstance(found, Linear) else None


@pytest.mark.parametrize(
    ("currency", "amount"), [("EUR", "0.92"), ("GBP", "0.79"), ("JPY", "149.5"), ("CNY", "7.24"), ("USD", "1")]
)
def test_the_shipped_rates_make_one_dollar_of_what_it_is_worth(currency: str, amount: str) -> None:
    assert fee(book(price(currency, amount))) == 1


def test_a_quotient_without_end_is_rounded_once_with_the_cost() -> None:
    """1 EUR is 1.08695652173913... USD; three of them 3.260869565217391..., and not three times the rounded one."""
    found = book(price("EUR", "1")).at(ACME, START)
    assert isinstance(found, Linear)
    assert found.brackets[0].prices()["requests"] == Fraction(100 * PICO, 92)
    answer = quote(found, Call("chat", failed=False, amounts={"requests": 3 * PICO}))
    assert isinstance(answer, Priced)
    exact = (Decimal(3) / Decimal("0.92")).quantize(Decimal("1e-12"), ROUND_HALF_EVEN)
    assert Decimal(answer.cost_pico) / PICO == exact


def test_a_currency_without_any_rate_is_refused_and_never_one_to_one() -> None:
    with pytest.raises(PricesRefused, match="there is no exchange rate of KRW: add an"):
        book(price("KRW"))
    assert "KRW" not in {each.currency for each in shipped_rates()}


def test_before_its_first_rate_a_price_is_unknown_and_says_why() -> None:
    prices = book(price("KRW", "1400"), rate("KRW", "1400", "2026-02-01"))
    found = prices.at(ACME, START)
    assert isinstance(found, NoPrice)
    assert (found.note.reason, found.note.detail) == (
        Reason.NO_EXCHANGE_RATE,
        "a price in KRW, and no exchange rate of that time is known",
    )
    assert fee(prices, datetime(2026, 2, 1, tzinfo=UTC)) == 1


def test_a_rate_of_your_own_takes_the_place_of_a_shipped_one_from_its_date_on() -> None:
    prices = book(price("EUR", "0.92"), rate("EUR", "0.46", "2026-03-01T12:00:00Z"))
    turn = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (fee(prices, turn - timedelta(milliseconds=1)), fee(prices, turn)) == (1, 2)
    assert fee(book(price("EUR", "0.92"), rate("EUR", "0.46")), START) == 2, "one without a date, at all times"


def test_a_contract_may_fix_a_rate_of_its_own() -> None:
    fixed = price("EUR", "0.5", 'exchange_rate = "0.25"')
    assert fee(book(fixed, rate("EUR", "0.9", "2026-01-01"))) == 2
    assert fee(book(price("KRW", "10", 'exchange_rate = "5"'))) == 2


def test_rates_stand_in_any_file_and_for_prices_of_all() -> None:
    assert fee(book(rate("EUR", "0.46"), price("EUR", "0.92"))) == 2


def test_a_file_may_have_exchange_rates_alone() -> None:
    assert load_all({"rates.toml": rate("EUR", "0.5")}) == {"rates.toml": ()}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (rate("USD", "1"), "exchange rate 1 (USD): one USD is one USD"),
        (rate("EUR", "0"), "exchange rate 1 (EUR): per_usd: it must be above 0"),
        (rate("eur", "1"), "exchange rate 1 (eur): currency: 'eur' is no currency: three capital letters, such as EUR"),
        (rate("EUR", "1e3"), "exchange rate 1 (EUR): per_usd: '1e3' is not decimal text"),
        ('[[exchange_rate]]\ncurrency = "EUR"\nper_usd = "1"\n', "exchange rate 1 (EUR): source: it is required"),
        ("", "there is no [[price]], no [[exchange_rate]], no [[credit_price]] and no [[feature_credits]]"),
    ],
)
def test_a_fault_of_a_rate_names_it(text: str, fault: str) -> None:
    with pytest.raises(PricesRefused) as refused:
        load_all({"rates.toml": text})
    (told,) = refused.value.faults
    assert told.startswith(f"rates.toml: {fault}")


def test_a_price_tells_the_currency_and_the_rate_that_it_was_made_by() -> None:
    prices = book(price("EUR", "0.46"), rate("EUR", "0.46", "2026-02-01"))
    found = prices.at(ACME, datetime(2026, 2, 2, tzinfo=UTC))
    assert isinstance(found, Linear)
    (entry,) = prices.entries(found.version)
    assert (entry["currency"], entry["exchange_rate"]) == ("EUR", "0.46")
    assert entry["valid_from"] == "2026-02-01T00:00:00Z"


DAYS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 999)), max_size=5, unique_by=lambda pair: pair[0])


@given(DAYS, st.integers(0, 61), st.booleans())
def test_at_any_moment_the_last_rate_before_it_counts(
    rates: list[tuple[int, int]], day: int, in_two_files: bool
) -> None:
    texts = [rate("SEK", f"{per}.5", f"{START.date() + timedelta(days=since)}") for since, per in rates]
    texts.append(rate("SEK", "1000", "2030-01-01"))
    files = [price("SEK", "100"), *texts] if in_two_files else ["\n".join([price("SEK", "100"), *texts])]
    held = [per for since, per in sorted(rates) if since <= day]
    expected = Fraction(100) / (Fraction(held[-1]) + Fraction(1, 2)) if held else None
    assert fee(book(*files), START + timedelta(days=day)) == expected


@given(DAYS, st.integers(0, 61), st.integers(62, 99))
def test_a_new_rate_changes_nothing_before_it(rates: list[tuple[int, int]], day: int, later: int) -> None:
    texts = [rate("SEK", f"{per}", f"{START.date() + timedelta(days=since)}") for since, per in rates]
    before = book(price("SEK"), rate("SEK", "3"), *texts)
    after = book(price("SEK"), rate("SEK", "3"), *texts, rate("SEK", "77", f"{START.date() + timedelta(days=later)}"))
    moment = START + timedelta(days=day)
    assert fee(before, moment) == fee(after, moment)
    ids = [prices.at(ACME, START + timedelta(days=min(day, 61))) for prices in (before, after)]
    assert all(isinstance(each, Linear) for each in ids)


def test_a_price_of_a_credit_in_a_currency_without_any_rate_is_refused_too() -> None:
    credit = '[[credit_price]]\nprice = "{}"\ncurrency = "{}"\nsource = "s"\n'
    with pytest.raises(PricesRefused) as refused:
        load_all({"credits.toml": credit.format("0.01", "EUR") + credit.format("14", "KRW")})
    assert refused.value.faults == (
        "credits.toml: credit price 2: currency: there is no exchange rate of KRW: add an [[exchange_rate]] of it",
    )


def test_what_has_no_dates_is_one_entry_without_dates() -> None:
    (entry,) = load_all({"f": price("EUR") + rate("EUR", "0.5")})["f"]
    assert (entry.valid_from, entry.valid_to, entry.exchange_rate) == (None, None, Decimal("0.5"))


def test_a_rate_from_the_day_on_which_a_price_ends_is_none_of_that_price() -> None:
    text = price("EUR", "1", "valid_to = 2026-02-01") + rate("EUR", "0.5") + rate("EUR", "0.6", "2026-02-01")
    assert [entry.exchange_rate for entry in load_all({"f": text})["f"]] == [Decimal("0.5")]


def test_the_shipped_rates_in_use_are_those_of_currencies_for_which_the_files_have_none() -> None:
    def used(*texts: str) -> list[str]:
        return [rate.currency for rate in shipped_in_use({f"{at}.toml": text for at, text in enumerate(texts)})]

    credit = '[[credit_price]]\nprice = "1"\ncurrency = "JPY"\nsource = "s"\n'
    assert used(price("EUR"), credit) == ["EUR", "JPY"]
    assert used(price("EUR"), credit, rate("EUR", "0.9", "2030-01-01")) == ["JPY"]
    assert used(price("EUR", more='exchange_rate = "0.9"')) == []
    assert used(price("USD")) == []


def test_an_entry_becomes_one_for_each_rate_within_its_own_dates() -> None:
    text = price("EUR", "1", "valid_from = 2026-01-10\nvalid_to = 2026-03-10")
    days = (date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1), date(2026, 4, 1))
    rates = [rate("EUR", f"0.{number}", f"{day}") for number, day in enumerate(days, start=1)]
    entries = load_all({"f": "\n".join([text, *rates])})["f"]
    spans = [(entry.valid_from, entry.valid_to, entry.exchange_rate) for entry in entries]
    ends = [datetime(2026, month, day, tzinfo=UTC) for month, day in ((1, 10), (2, 1), (3, 1), (3, 10))]
    assert spans == [(*span, Decimal(f"0.{at}")) for at, span in enumerate(pairwise(ends), start=1)]
