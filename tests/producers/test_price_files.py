"""Prices in files: what they may say, every fault at once, and how they stand over the table at every moment."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.pricing import PICO, Call, Linear, NoPrice, Partial, PriceBook, Priced, Reason, Sku, TimeOfDay, quote
from costream.pricing.bundled import BundledPrices
from costream.pricing.entries import PricesRefused
from costream.pricing.exchange import load_all
from costream.pricing.layers import Layer, shipped
from tests.support.price_tables import Table
from tests.support.properties import examples

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
UNDER = Table("table", ["m", "other"], rate=10)


def entry(text: str, *, provider: str = "acme", model: str = "m") -> str:
    return f'[[price]]\nprovider = "{provider}"\nmodels = ["{model}"]\nsource = "our contract"\n{text}\n'


def layer(*texts: str) -> Layer:
    return Layer("own", load_all({"own.toml": "\n".join(texts)}), under=UNDER)


def at(prices: Layer, moment: datetime = AT, **sku: str) -> Linear | NoPrice:
    return PriceBook([prices]).at(Sku(**({"provider": "acme", "model": "m"} | sku)), moment)


def cost(price: Linear | NoPrice, operation: str = "api", **amounts: int) -> Any:
    assert isinstance(price, Linear), price
    return quote(price, Call(operation, failed=False, amounts={unit: n * PICO for unit, n in amounts.items()}))


RATES = 'rates.input_tokens = { price = "0.15", per = "1M" }'


# --- what a file may say ---------------------------------------------------------------------------------------------


def test_one_price_costs_the_same_however_its_unit_is_written() -> None:
    written = [("0.00000015", "1"), ("0.00015", "1K"), ("0.15", "1M"), ("150", "1B")]
    found = [
        cost(at(layer(entry(f'rates.images = {{ price = "{p}", per = "{per}" }}'))), images=7) for p, per in written
    ]
    assert found == [Priced(7 * 150_000)] * 4
    by_time = [("0.01", "second"), ("0.6", "minute"), ("36", "hour")]
    seconds = [
        cost(at(layer(entry(f'rates.video_seconds = {{ price = "{p}", per = "{per}" }}'))), video_seconds=3)
        for p, per in by_time
    ]
    assert seconds == [Priced(3 * PICO // 100)] * 3
    hours = [
        cost(at(layer(entry(f'rates.gpu_hours = {{ price = "{p}", per = "{per}" }}'))), gpu_hours=2)
        for p, per in [("36", "hour"), ("0.6", "minute"), ("0.01", "second")]
    ]
    assert hours == [Priced(72 * PICO)] * 3


def test_two_and_a_half_hours_of_a_server_cost_what_its_card_says() -> None:
    card = layer(entry('rates.gpu_hours = { price = "0.40", per = "hour" }', model="g5.xlarge"))
    price = at(card, model="g5.xlarge")
    assert isinstance(price, Linear)
    found = quote(price, Call("gpu", failed=False, amounts={"gpu_hours": 5 * PICO // 2}))
    assert (found, price.source) == (Priced(PICO), "rate_card")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rates.input_tokens = { price = 0.15 }", "rates.input_tokens.price: 0.15 is not decimal text such as"),
        ('rates.input_tokens = { price = "-1" }', "rates.input_tokens.price: '-1' is not decimal text such as"),
        ('rates.input_tokens = { price = "1e-7" }', "rates.input_tokens.price: '1e-7' is not decimal text"),
        ("rates.input_tokens = {}", "rates.input_tokens.price: it is required"),
        ('rates.input_tokens = { price = "1", per = "2K" }', "rates.input_tokens.per: it must be '1', '1K'"),
        ('rates.images = { price = "1", per = "hour" }', "rates: images: a price per hour is for units that end in"),
        ('rates.Images = { price = "1" }', "rates: 'Images' is no unit: small letters, digits and _"),
        (RATES + '\ncurrency = "EURO"', "currency: 'EURO' is no currency: three capital letters, such as EUR"),
        (RATES + '\ncurrency = "KRW"', "currency: there is no exchange rate of KRW: add an [[exchange_rate]] of it"),
        (RATES + '\nexchange_rate = "0.9"', "an exchange_rate is for a price in another currency than USD"),
        (RATES + '\ncurrency = "EUR"\nexchange_rate = "0"', "exchange_rate: it must be above 0"),
        ('factor = "0.9"\ncurrency = "EUR"', "a factor has no currency"),
        (RATES + "\nvalid_from = 2026-01-02\nvalid_to = 2026-01-02", "valid_to must be after valid_from"),
        (RATES + "\nvalid_from = 2026-01-02T00:00:00", "valid_from: 2026-01-02T00:00:00 has no zone: write"),
        (RATES + '\nvalid_from = "2026-01-02"', "valid_from: it must be a date, or a time with a zone, without quotes"),
        (RATES + '\nfactor = "0.9"', "an entry has either rates or a factor"),
        ("", "an entry has either rates or a factor"),
        (RATES + "\ncolour = 1", "colour: there is no such field"),
        (RATES + '\nwhen.zone = "Europe/Berlin"', "when.zone: the clocks of 'Europe/Berlin' change within the year"),
        (RATES + '\nwhen.zone = "Mars"', "when.zone: 'Mars' is no time zone such as Asia/Shanghai"),
        (RATES + '\nwhen.windows = [["09:00", "9"]]', "when: '9' is no time of day such as 09:30"),
        (RATES + '\nwhen.windows = [["09:00", "09:00"]]', "when: the window from 09:00 to 09:00 holds no moment"),
        (
            f"[[price.tiers]]\nabove = 9\n{RATES}\n[[price.tiers]]\nabove = 5\n{RATES}",
            "tiers must be in the order of `above`, each once",
        ),
    ],
)
def test_a_fault_names_the_file_the_entry_the_field_and_the_rule(text: str, fault: str) -> None:
    with pytest.raises(PricesRefused) as refused:
        load_all({"own.toml": entry(text)})["own.toml"]
    (told,) = refused.value.faults
    assert told.startswith("own.toml: entry 1 (acme/m): ")
    assert fault in told


@pytest.mark.parametrize(
    ("said", "instead", "fault"),
    [
        ('"our contract"', '""', "source: it must not be empty"),
        ('"our contract"', "7", "source: it must be text"),
        ('["m"]', "[]", "models: it must not be empty"),
        ('["m"]', '"m"', "models: it must be a list"),
        ('["m"]', '["m"]\ntiers = [{ above = "9" }]', "tiers.0.above: it must be a whole number"),
        ('["m"]', '["m"]\ntiers = [{ above = -1 }]', "tiers.0.above: it must be at least 0"),
        ('["m"]', '["m"]\ntiers = [9]', "tiers.0: it must be a table"),
        ('["m"]', '["m"]\nsame = 9', "same: it must be a table"),
    ],
)
def test_a_value_of_another_kind_is_told_by_what_it_must_be(said: str, instead: str, fault: str) -> None:
    with pytest.raises(PricesRefused) as refused:
        load_all({"own.toml": entry(RATES).replace(said, instead)})
    assert any(told.startswith("own.toml: entry 1 (acme") and told.endswith(fault) for told in refused.value.faults)


def test_every_fault_of_a_file_is_told_at_once() -> None:
    faulty = (
        entry('currency = "euro"\n' + RATES) + '[[price]]\nprovider = "acme"\n' + entry("x = 1\n" + RATES, model="n")
    )
    with pytest.raises(PricesRefused) as refused:
        load_all({"own.toml": faulty})["own.toml"]
    assert refused.value.faults == (
        "own.toml: entry 1 (acme/m): currency: 'euro' is no currency: three capital letters, such as EUR",
        "own.toml: entry 2 (acme): models: it is required",
        "own.toml: entry 2 (acme): source: it is required",
        "own.toml: entry 3 (acme/n): x: there is no such field",
    )


@pytest.mark.parametrize("text", ["", "[[price]", "price = 1", "[[prices]]\na = 1"])
def test_what_is_no_file_of_prices_is_refused_in_a_line_that_names_it(text: str) -> None:
    with pytest.raises(PricesRefused, match=r"^own\.toml: "):
        load_all({"own.toml": text})["own.toml"]


def test_an_entry_that_says_anything_else_has_another_digest() -> None:
    same, note = entry(RATES), entry(RATES + '\nnote = "x"')
    digests = [load_all({"a": text})["a"][0].digest for text in (same, note)]
    assert load_all({"b": same})["b"][0].digest == digests[0] != digests[1]


# --- how entries stand over the table --------------------------------------------------------------------------------


def test_an_entry_changes_the_rates_that_it_names_and_leaves_the_others() -> None:
    price = at(layer(entry('rates.input_tokens = { price = "0.000000000003" }')))
    assert cost(price, input_tokens=1, output_tokens=1) == Priced(3 + 10)
    assert isinstance(price, Linear) and price.source == "override"
    assert at(layer(entry(RATES)), model="other") == at(layer(entry(RATES, model="n")), model="other")


def test_what_the_table_does_not_know_is_priced_by_a_card_alone() -> None:
    price = at(layer(entry(RATES, model="new")), model="new")
    assert isinstance(price, Linear) and price.source == "rate_card"
    assert isinstance(cost(price, input_tokens=1, images=1), Partial)


def test_of_two_entries_the_later_one_stands_over_the_earlier() -> None:
    one, two = (entry(f'rates.input_tokens = {{ price = "0.00000000000{n}" }}') for n in (1, 2))
    assert cost(at(layer(one, two)), input_tokens=1, output_tokens=0) == Priced(2)
    assert cost(at(layer(two, one)), input_tokens=1, output_tokens=0) == Priced(1)


def test_a_star_stands_for_any_rest_of_a_name_in_any_case() -> None:
    starred = layer(entry(RATES, model="GPT-9*"))
    assert isinstance(at(starred, model="gpt-9-mini"), Linear)
    assert isinstance(at(starred, model="acme/gpt-9"), Linear)
    assert isinstance(at(starred, model="gpt-8"), NoPrice)


def test_an_entry_for_a_short_name_is_not_for_what_the_table_knows_by_the_long_one() -> None:
    """perplexity/sonar is a product of its own beside sonar, with other rates and without its fee."""
    book = PriceBook.bundled()
    fees = {}
    for model in ("sonar", "perplexity/sonar"):
        price = book.at(Sku("perplexity", model), AT)
        assert isinstance(price, Linear)
        fees[model] = price.brackets[0].per_call
    assert fees == {"sonar": 5 * PICO // 1_000, "perplexity/sonar": 0}


def test_a_factor_scales_all_rates_and_says_nothing_of_what_has_none() -> None:
    cheaper = layer(entry('factor = "0.85"', model="*"))
    assert cost(at(cheaper), input_tokens=2, output_tokens=2) == Priced(34)
    assert isinstance(at(cheaper, model="unknown"), NoPrice)


def test_tiers_take_the_whole_call_and_keep_what_they_do_not_name() -> None:
    text = (
        'rates.input_tokens = { price = "0.000000000001" }\n'
        '[[price.tiers]]\nabove = 100\nrates.input_tokens = { price = "0.000000000002" }\n'
        '[[price.tiers]]\nabove = 200\nrates.output_tokens = { price = "0.000000000005" }'
    )
    price = at(layer(entry(text)))
    found = [cost(price, input_tokens=n, output_tokens=1) for n in (100, 101, 200, 201)]
    assert found == [Priced(100 + 10), Priced(202 + 10), Priced(400 + 10), Priced(402 + 5)]


def test_an_entry_for_all_calls_leaves_what_it_does_not_name_in_the_tiers_under_it() -> None:
    tiers = "\n".join(
        f'[[price.tiers]]\nabove = {above}\nrates.output_tokens = {{ price = "0.00000000000{rate}" }}'
        for above, rate in ((100, 2), (300, 3))
    )
    tiered = entry(f'rates.output_tokens = {{ price = "0.000000000001" }}\n{tiers}')
    over = entry(
        'rates.images = { price = "0.000000000007" }\n'
        '[[price.tiers]]\nabove = 200\nrates.input_tokens = { price = "0.000000000005" }'
    )
    price = at(layer(tiered, over))
    found = [cost(price, input_tokens=n, output_tokens=1, images=1) for n in (100, 101, 200, 201, 300, 301)]
    assert [one.cost_pico for one in found] == [
        *(1_000 + 1 + 7, 1_010 + 2 + 7, 2_000 + 2 + 7),
        *(1_005 + 2 + 7, 1_500 + 2 + 7, 1_505 + 3 + 7),
    ]


def test_whole_rates_are_whole_numbers_however_they_were_worked_out() -> None:
    """A sum of them is ten times faster than one of fractions."""
    third = 'currency = "EUR"\nexchange_rate = "3"\nrates.{} = {{ price = "0.000000000006" }}'
    price = at(layer(entry(third.format("requests")), entry(third.format("input_tokens")), entry('factor = "0.5"')))
    assert isinstance(price, Linear)
    (bracket,) = price.brackets
    assert (bracket.per_call, bracket.rates) == (1, {"input_tokens": 1, "output_tokens": 5})
    assert {type(rate) for rate in (bracket.per_call, *bracket.rates.values())} == {int}


def test_an_entry_holds_from_its_instant_and_until_its_end_whatever_the_hour() -> None:
    span = "valid_from = 2026-11-25T08:30:00+02:00\nvalid_to = 2026-11-26"
    text = f'rates.input_tokens = {{ price = "0.000000000001" }}\n{span}'
    prices = layer(entry(text))
    moments = {
        datetime(2026, 11, 25, 6, 29, 59, tzinfo=UTC): 10,
        datetime(2026, 11, 25, 6, 30, tzinfo=UTC): 1,
        datetime(2026, 11, 25, 23, 59, 59, tzinfo=UTC): 1,
        datetime(2026, 11, 26, tzinfo=UTC): 10,
    }
    assert {m: cost(at(prices, m), input_tokens=1, output_tokens=0) for m in moments} == {
        m: Priced(rate) for m, rate in moments.items()
    }
    assert time(6, 30) in prices.changes, "a batch asks once for each part of a day between changes"


def test_before_the_first_price_of_a_card_there_is_none_and_that_is_said() -> None:
    card = layer(entry(RATES + "\nvalid_from = 2026-11-25T12:00:00Z", model="new"))
    before = at(card, AT - timedelta(seconds=1), model="new")
    assert before == NoPrice.of(
        Reason.NO_PRICE_AT_THAT_TIME,
        "no price known for model 'new' of provider 'acme' at 2026-11-25 00:00 UTC; "
        "the first known is of 2026-11-25 12:00 UTC",
    )
    assert isinstance(at(card, AT, model="new"), Linear)


def test_after_the_last_price_of_a_card_there_is_none_and_no_first_one_is_told() -> None:
    ended = at(layer(entry(RATES + "\nvalid_to = 2026-11-25", model="new")), model="new")
    assert isinstance(ended, NoPrice)
    assert ended.note.detail == "no price known for model 'new' of provider 'acme' at 2026-11-25 00:00 UTC"


def test_a_layer_changes_whenever_what_is_under_it_does() -> None:
    table = BundledPrices.load()
    assert table.changes
    assert {*table.changes} <= {*Layer("own", load_all({"f": entry(RATES)}), under=table).changes}


def test_over_a_price_that_changes_within_the_day_an_entry_leaves_the_changes() -> None:
    text = entry('rates.images = { price = "1" }', provider="deepseek", model="deepseek-chat")
    prices = Layer("own", load_all({"f": text}), under=BundledPrices.load())
    found = {
        clock: cost(
            at(prices, datetime.combine(date(2026, 11, 1), clock, UTC), provider="deepseek", model="deepseek-chat"),
            images=1,
            input_tokens=1_000_000,
            output_tokens=0,
        )
        for clock in (time(0, 29), time(0, 30), time(16, 29), time(16, 30))
    }
    off_peak, peak = Priced(PICO + 135 * PICO // 1_000), Priced(PICO + 27 * PICO // 100)
    assert [*found.values()] == [off_peak, peak, peak, off_peak]


@pytest.mark.parametrize(
    ("moment", "peak"),
    [
        ("2026-11-25T00:59:59", False),  # Wednesday, 08:59:59 in Shanghai
        ("2026-11-25T01:00:00", True),
        ("2026-11-25T03:59:59", True),
        ("2026-11-25T04:00:00", False),
        ("2026-11-22T02:00:00", False),  # Sunday
        ("2026-10-01T02:00:00", False),  # a holiday
        ("2026-11-25T15:59:59", True),  # the night that began at 23:00
        ("2026-11-25T16:00:00", True),  # past midnight there: Thursday
        ("2026-11-27T16:30:00", False),  # past midnight there: Saturday
    ],
)
def test_hours_and_days_are_those_of_the_zone(moment: str, *, peak: bool) -> None:
    text = (
        'rates.input_tokens = { price = "0.000000000001" }\nwhen.zone = "Asia/Shanghai"\n'
        'when.windows = [["09:00", "12:00"], ["23:00", "01:00"]]\n'
        'when.weekdays = ["mon", "tue", "wed", "thu", "fri"]\nwhen.not_on_holidays = "cn"'
    )
    found = cost(at(layer(entry(text)), datetime.fromisoformat(f"{moment}+00:00")), input_tokens=1, output_tokens=0)
    assert found == Priced(1 if peak else 10)


@pytest.mark.parametrize(
    ("when", "moment", "held"),
    [
        ('windows = [["09:00", "12:00"]]', "2026-11-22T09:00:00", True),  # Sunday
        ('windows = [["09:00", "12:00"]]', "2026-11-22T12:00:00", False),
        ('weekdays = ["sun"]', "2026-11-22T23:59:59", True),
        ('weekdays = ["sun"]', "2026-11-23T00:00:00", False),
        ('weekdays = ["mon"]', "2026-11-23T00:00:00", True),
    ],
)
def test_hours_alone_are_those_of_every_day_and_days_alone_are_whole_in_utc(
    when: str, moment: str, *, held: bool
) -> None:
    text = f'rates.input_tokens = {{ price = "0.000000000001" }}\nwhen.{when}'
    found = cost(at(layer(entry(text)), datetime.fromisoformat(f"{moment}+00:00")), input_tokens=1, output_tokens=0)
    assert found == Priced(1 if held else 10)


def test_a_calendar_is_sure_of_its_last_day_and_of_no_later_one() -> None:
    prices = layer(entry(f'when.zone = "Asia/Shanghai"\nwhen.not_on_holidays = "cn"\n{RATES}'))
    last, next_one = (datetime(2026, 12, 31, hour, 30, tzinfo=UTC) for hour in (15, 16))  # midnight is at 16 in UTC
    sure, unsure = at(prices, last), at(prices, next_one)
    assert isinstance(sure, Linear) and sure.caveats == ()
    assert isinstance(unsure, Linear)
    assert [note.detail for note in unsure.caveats] == ["the holidays after 2026-12-31 are not known"]


def test_a_layer_knows_the_models_of_its_entries_and_of_what_lies_under_it_and_no_others() -> None:
    prices = layer(entry(RATES, model="new"))
    spelled = [prices.spelling(Sku("acme", model)) for model in ("m", "new", "nobody")]
    assert spelled == ["m", "new", None]


def test_an_entry_of_no_tier_is_for_a_tier_that_is_charged_as_the_standard_one_alone() -> None:
    text = entry('rates.input_tokens = { price = "0.000000000001" }', provider="openai", model="o3")
    book, table = PriceBook.bundled().with_files({"f": text}), PriceBook.bundled()
    amounts = {"input_tokens": 1_000, "output_tokens": 0}
    without_one = cost(book.at(Sku.of("openai", "o3", "no-such-tier"), AT), **amounts)
    assert isinstance(without_one, Partial)
    assert without_one.cost_pico == 1_000
    flex = Sku("openai", "o3", "flex")
    assert cost(book.at(flex, AT), **amounts) == cost(table.at(flex, AT), **amounts)


def test_an_entry_of_a_tier_that_the_table_does_not_know_settles_the_doubt_about_it() -> None:
    both = (
        'rates.input_tokens = { price = "0.000000000001" }\nrates.output_tokens = { price = "0.000000000002" }\n'
        'service_tier = "no-such-tier"'
    )
    book = PriceBook.bundled().with_files({"f": entry(both, provider="openai", model="o3")})
    price = book.at(Sku.of("openai", "o3", "no-such-tier"), AT)
    assert isinstance(price, Linear) and price.caveats == ()
    assert cost(price, "chat", input_tokens=3, output_tokens=1) == Priced(5)


def test_a_price_of_a_tier_or_a_place_is_for_that_alone_and_settles_the_doubt() -> None:
    texts = [
        entry(
            'rates.input_tokens = { price = "0.000000000001" }\nservice_tier = "batch"', provider="openai", model="o3"
        ),
        entry('factor = "1.1"\ninference_geo = "eu"', provider="openai", model="*"),
    ]
    book = PriceBook.bundled().with_files({"f": "\n".join(texts)})
    amounts = {"input_tokens": 1_000_000, "output_tokens": 0}
    standard = book.at(Sku("openai", "o3"), AT)
    batch = book.at(Sku("openai", "o3", "batch"), AT)
    european = book.at(Sku("openai", "o3", "", "eu"), AT)
    assert (cost(standard, **amounts), cost(batch, **amounts)) == (Priced(2 * PICO), Priced(1_000_000))
    assert cost(european, **amounts) == Priced(22 * PICO // 10)
    assert isinstance(cost(book.at(Sku("openai", "o3", "", "us"), AT), **amounts), Partial)


def test_a_card_of_no_tier_and_no_place_is_a_doubt_in_any() -> None:
    card = layer(entry(RATES, model="new"))
    price = at(card, model="new", service_tier="batch", inference_geo="eu")
    assert isinstance(price, Linear)
    assert [note.reason for note in price.caveats] == [Reason.SERVICE_TIER_UNPRICED, Reason.INFERENCE_GEO_UNPRICED]
    named = layer(entry(RATES, model="new"), entry('service_tier = "batch"\n' + RATES, model="new"))
    for tier in ("", "batch"):
        price = at(named, model="new", service_tier=tier)
        assert isinstance(price, Linear) and price.caveats == ()


def test_a_doubt_about_a_calendar_stands_beside_the_others() -> None:
    text = entry(f'when.not_on_holidays = "cn"\n{RATES}', provider="openai", model="ft:gpt-4o-mini*")
    book = PriceBook.bundled().with_files({"f": text})
    price = book.at(Sku("openai", "ft:gpt-4o-mini:acme::abc"), datetime(2027, 1, 5, 2, tzinfo=UTC))
    assert isinstance(price, Linear)
    assert [note.reason for note in price.caveats] == [Reason.BASE_MODEL_PRICE, Reason.NO_PRICE_AT_THAT_TIME]


def test_beside_what_is_named_the_rates_of_another_provider_stay_in_doubt() -> None:
    text = entry(RATES, provider="azure", model="kimi-k2-0905-preview")
    book = PriceBook.bundled().with_files({"f": text})
    price = book.at(Sku("azure", "kimi-k2-0905-preview"), AT)
    assert isinstance(price, Linear) and price.caveats == ()
    assert isinstance(cost(price, "embedding", input_tokens=5), Priced)
    assert isinstance(cost(price, "chat", input_tokens=5, output_tokens=5), Partial)


@pytest.mark.parametrize(("operation", "direction"), [("chat", "output"), ("transcription", "input")])
def test_a_total_alone_is_text_so_a_rate_of_text_leaves_no_doubt_and_one_of_sound_does(
    operation: str, direction: str
) -> None:
    used = {"input_tokens": 5, "output_tokens": 5}
    rate = '{ price = "0.60", per = "1M" }'
    text = at(layer(entry(f"rates.{direction}_text_tokens = {rate}")))
    sound = at(layer(entry(f"rates.{direction}_audio_tokens = {rate}")))
    assert isinstance(cost(text, operation, **used), Priced)
    assert isinstance(cost(sound, operation, **used), Partial)


def test_a_book_names_a_layer_of_its_own_entries_only_where_there_are_some() -> None:
    without, having = (
        PriceBook.bundled().with_files({"own.toml": "price = []"}),
        PriceBook.bundled().with_files({"own.toml": entry(RATES)}),
    )
    assert [part.split("/")[0] for part in without.version.split("+")] == ["genai-prices", "shipped"]
    assert having.version.startswith(f"{without.version}+own/")


def test_the_version_of_a_price_leads_back_to_it_and_to_no_other() -> None:
    prices = layer(entry(RATES), entry('factor = "0.5"', model="*"))
    used = at(prices)
    assert isinstance(used, Linear)
    assert used.version == "table@base+" + "+".join(f"own/{one.digest}" for one in prices.entries)
    again = PriceBook([prices]).lookup(used.version, Sku("acme", "m"))
    assert isinstance(again, Linear) and again.brackets == used.brackets
    card = at(layer(entry(RATES, model="new")), model="new")
    assert isinstance(card, Linear) and card.version.startswith("own/")
    unknown = PriceBook([prices]).lookup("table@base+own/000000000000", Sku("acme", "m"))
    assert isinstance(unknown, NoPrice)
    assert "has no price 'own/000000000000'" in unknown.note.detail
    of_another_table = used.version.replace("table@", "another@")
    assert prices.lookup(of_another_table, Sku("acme", "m")) is None


def test_the_entries_of_a_price_are_told_from_the_table_upwards_each_with_its_file() -> None:
    own = entry('rates.requests = { price = "1" }', provider="perplexity", model="sonar")
    book = PriceBook.bundled().with_files({"own.toml": own})
    price = book.at(Sku("perplexity", "sonar"), AT)
    assert isinstance(price, Linear)
    told = book.entries(price.version)
    assert [one["file"] for one in told] == ["overrides.toml"] * (len(told) - 1) + ["own.toml"]
    assert len(told) > 1
    assert [one["id"] for one in told] == price.version.split("+")[1:]


def test_a_version_that_names_one_of_two_entries_leads_to_that_one_alone() -> None:
    prices = layer(*(entry(f'rates.input_tokens = {{ price = "0.00000000000{rate}" }}') for rate in (1, 2)))
    first, second = (f"own/{one.digest}" for one in prices.entries)
    for version, rate in ((first, 1), (second, 2), (f"{second}+{first}", 2)):
        found = prices.lookup(f"table@base+{version}", Sku("acme", "m"))
        assert isinstance(found, Linear)
        assert cost(found, input_tokens=1, output_tokens=0) == Priced(rate)


def test_a_model_that_only_an_entry_knows_has_the_name_that_stands_there() -> None:
    prices = layer(entry(RATES, model="New-One"), entry(RATES, model="star*"))
    assert [prices.name_of("acme", sent) for sent in ("new-one", "m", "star-1", "nobody")] == [
        *("New-One", "m", None, None)
    ]


def test_a_model_has_the_name_of_the_first_source_that_knows_it_and_none_of_a_later_one() -> None:
    class Nameless(Table):
        def name_of(self, provider: str, model: str) -> str | None:
            return None

    own = layer(entry(RATES, model="New-One"))
    assert PriceBook([Table("first", ["m"], rate=1), own]).canonical("Acme", "new-one") == ("acme", "New-One")
    assert PriceBook([Nameless("first", ["new-one"], rate=1), own]).canonical("acme", "new-one") == ("acme", "new-one")


def test_a_book_changes_at_the_turns_of_a_day_and_midnight_is_none_of_them() -> None:
    night = entry(RATES + '\nwhen.windows = [["22:00", "06:30"]]\nvalid_from = 2026-01-01')
    assert PriceBook([layer(night)]).changes == [time(6, 30), time(22)]


def test_a_day_without_a_change_has_one_price() -> None:
    prices = layer(entry(RATES + "\nvalid_from = 2026-11-25T08:30:00Z"))
    assert isinstance(prices.resolve(Sku("acme", "m"), date(2026, 11, 24)), Linear)
    assert isinstance(prices.resolve(Sku("acme", "m"), date(2026, 11, 25)), TimeOfDay)
    assert isinstance(prices.resolve(Sku("acme", "m"), date(2026, 11, 26)), Linear)


@examples(100)
@given(
    st.lists(st.tuples(st.integers(0, 6 * 24 * 60), st.integers(1, 3 * 24 * 60), st.integers(1, 99)), max_size=6),
    st.integers(0, 9 * 24 * 60),
)
def test_at_any_moment_the_last_entry_that_holds_is_the_price(spans: list[tuple[int, int, int]], minute: int) -> None:
    start = datetime(2026, 11, 20, tzinfo=UTC)
    texts = [
        entry(
            f'rates.input_tokens = {{ price = "{Decimal(rate).scaleb(-12):f}" }}\n'
            f"valid_from = {start + timedelta(minutes=first):%Y-%m-%dT%H:%M:%SZ}\n"
            f"valid_to = {start + timedelta(minutes=first + length):%Y-%m-%dT%H:%M:%SZ}"
        )
        for first, length, rate in spans
    ]
    prices: Any = layer(*texts) if texts else UNDER
    holding = [rate for first, length, rate in spans if first <= minute < first + length]
    moment = start + timedelta(minutes=minute)
    assert cost(at(prices, moment), input_tokens=1, output_tokens=0) == Priced(holding[-1] if holding else 10)


# --- what is shipped -------------------------------------------------------------------------------------------------


def test_every_entry_that_is_shipped_says_where_it_was_read_and_on_which_day() -> None:
    entries = shipped()
    assert len(entries) > 100
    assert not [one for one in entries if "20" not in one.source]
    assert len({one.digest for one in entries}) == len(entries)
