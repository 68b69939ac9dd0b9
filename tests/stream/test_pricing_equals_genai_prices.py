"""Every model of the bundled table costs here what genai-prices says it costs, to the last digit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from genai_prices import Usage
from genai_prices.data import providers
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ClauseEquals,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from hypothesis import given
from hypothesis import strategies as st

from costream.events import TOKENS_MAX
from costream.pricing import (
    PICO,
    BundledPrices,
    Call,
    Linear,
    NoPrice,
    Partial,
    PriceBook,
    Priced,
    Sku,
    Unpriced,
    quote,
)
from costream.pricing.units import TOKEN_UNITS
from stream.pricing import price
from tests.support.properties import examples
from tests.support.usage_frames import usage_frame

# By names of our own: many a model's id is hidden behind another's pattern.
MODELS = {
    (provider.id, f"#{at}"): (provider, model) for provider in providers for at, model in enumerate(provider.models)
}
UNITS = sorted(unit_data.keys() - {"requests"})
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def _numbered(provider: Provider) -> Provider:
    """The provider with every model under its name in MODELS, and no other."""
    models = [replace(model, match=ClauseEquals(equals=f"#{at}")) for at, model in enumerate(provider.models)]
    return replace(provider, models=models, fallback_model_providers=None)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook([BundledPrices([_numbered(provider) for provider in providers])])


def _price_sets(model: ModelInfo) -> list[ModelPrice]:
    return [model.prices] if isinstance(model.prices, ModelPrice) else [entry.prices for entry in model.prices]


def _rates(prices: ModelPrice) -> dict[str, Decimal | TieredPrices]:
    return {key: value for key, value in vars(prices).items() if value is not None}


def _moments(model: ModelInfo) -> Iterator[datetime]:
    """Both sides of everything that changes a price, and an ordinary noon."""
    yield NOON
    tick = timedelta(milliseconds=1)
    for entry in () if isinstance(model.prices, ModelPrice) else model.prices:
        if isinstance(entry.constraint, StartDateConstraint):
            start = datetime.combine(entry.constraint.start_date, time.min, UTC)
            yield from (start - tick, start)
        if isinstance(entry.constraint, TimeOfDateConstraint):
            for moment in (entry.constraint.start_time, entry.constraint.end_time):
                change = datetime.combine(NOON.date(), moment)
                yield from (change - tick, change, change + tick)


def _token_usages(model: ModelInfo) -> Iterator[dict[str, int]]:
    """No more, some and the most tokens, and both sides of every tier; without and with every detail."""
    rates = [rate for prices in _price_sets(model) for rate in _rates(prices).values()]
    starts = {tier.start for rate in rates if isinstance(rate, TieredPrices) for tier in rate.tiers}
    for size in sorted({0, 1, 1_001, TOKENS_MAX} | {start + step for start in starts for step in (-1, 0, 1)}):
        yield {"input_tokens": size, "output_tokens": min(size, 777)}
        details = {"cache_read_tokens": size // 3, "cache_write_tokens": size // 4, "reasoning_tokens": 333}
        yield {"input_tokens": size, "output_tokens": 1_000, **details}
    yield {"input_tokens": TOKENS_MAX, "output_tokens": TOKENS_MAX}


def _theirs(provider: Provider, model: ModelInfo, moment: datetime, amounts: Mapping[str, int | Decimal]) -> int:
    total = model.calc_price(Usage(**amounts), provider, genai_request_timestamp=moment).total_price
    return int(total.quantize(Decimal("1e-12"), ROUND_HALF_EVEN) * 10**12)


def _units(event: Mapping[str, Any]) -> dict[str, int]:
    return {unit: event[field] for field, unit in TOKEN_UNITS.items() if field in event}


# What of a unit leaves the rate of its total as it is.
NO_DEARER = {("modality", "text"), ("token_type", "reasoning"), ("token_type", "tool"), ("cache_ttl", "5m")}


def _unsure(model: ModelInfo, moment: datetime, amounts: Mapping[str, int]) -> bool:
    """Whether a unit that was used has neither a rate of its own nor one that is known to be its own, or the output may
    be of a kind that costs otherwise."""
    prices = _rates(model.get_prices(moment))
    priced = [unit["dimensions"].items() for unit in unit_data.values() if unit["price_key"] in prices]
    used = [dict(unit_data[unit]["dimensions"]).items() for unit, amount in amounts.items() if amount]
    without = [one for one in used if not any(own <= one and one - own <= NO_DEARER for own in priced)]
    kinds = {dict(own).get("modality") for own in priced if ("direction", "output") in own}
    split = any({"direction", "modality"} == unit_data[unit]["dimensions"].keys() - {"family"} for unit in amounts)
    unsplit = bool(amounts.get("output_tokens")) and bool(kinds & {"image", "audio", "video"}) and not split
    return bool(without) or unsplit


def _events() -> Iterator[dict[str, Any]]:
    for (provider_id, name), (_, model) in MODELS.items():
        for moment in sorted(set(_moments(model))):
            for usage in _token_usages(model):
                yield {"provider": provider_id, "model": name, "occurred_at": moment, **usage}


def test_every_model_costs_what_genai_prices_says_in_every_tier_and_at_every_date(book: PriceBook) -> None:
    events = list(_events())
    priced = price(usage_frame(events), book)
    compared = 0
    for event, row in zip(events, priced.iter_rows(named=True), strict=True):
        provider, model = MODELS[event["provider"], event["model"]]
        amounts, moment = _units(event), event["occurred_at"]
        if row["cost_status"] == "unpriced":
            assert row["cost_pico"] is None
            assert row["cost_reason"] in ("no_rate", "quantity_unpriced")
            assert _theirs(provider, model, moment, amounts) == 0
            continue
        assert row["cost_pico"] == _theirs(provider, model, moment, amounts), (provider.id, model.id, event)
        unsure = _unsure(model, moment, amounts)
        assert (row["cost_status"] == "partial") == unsure or model.id.endswith(":free"), (provider.id, model.id, event)
        compared += 1
    assert compared > 20_000


def test_every_tier_of_every_model_costs_what_genai_prices_says_from_its_first_day_on(book: PriceBook) -> None:
    compared = 0
    for (provider_id, name), (provider, model) in MODELS.items():
        for variant in model.price_variants or ():
            ((key, tier),) = variant.when.items()
            if key not in ("service_tier", "processing", "speed") or tier == "default":
                continue
            starts = variant.constraint.start_date if isinstance(variant.constraint, StartDateConstraint) else NOON
            moment = datetime(starts.year, starts.month, starts.day, tzinfo=UTC)
            usages = list(_token_usages(model))
            events = [
                {"provider": provider_id, "model": name, "occurred_at": moment, "service_tier": tier, **usage}
                for usage in usages
            ]
            priced = price(usage_frame(events), book)
            for usage, row in zip(usages, priced.iter_rows(named=True), strict=True):
                total = model.calc_price(
                    Usage(**_units(usage)), provider, genai_request_timestamp=moment, price_context={key: tier}
                ).total_price
                if row["cost_status"] == "unpriced":
                    assert (total, row["cost_reason"]) == (0, "quantity_unpriced")
                    continue
                assert row["cost_pico"] == int(total.quantize(Decimal("1e-12"), ROUND_HALF_EVEN) * 10**12)
                label = f"/{tier}:" if _rates(variant.prices) else "@"  # one without rates costs what the standard does
                assert label in row["price_version"]
                compared += 1
    assert compared > 1_000


@pytest.mark.slow
def test_no_model_is_priced_in_any_kind_without_a_rate_that_is_known_to_be_its_own(book: PriceBook) -> None:
    """Each kind of the table at each model, beside its totals."""
    kinds = sorted(unit for unit in UNITS if ("family", "tokens") in unit_data[unit]["dimensions"].items())
    priced, partial = 0, 0
    for key, (_, model) in MODELS.items():
        price_of_model = book.at(Sku(*key), NOON)
        if isinstance(price_of_model, NoPrice):
            continue
        for kind in kinds:
            own = unit_data[kind]["dimensions"].items()
            totals = {unit for unit in UNITS if unit_data[unit]["dimensions"].items() <= own}
            amounts = dict.fromkeys(totals | {"input_tokens", "output_tokens"}, PICO)
            answer = quote(price_of_model, Call("chat", failed=False, amounts=amounts))
            if isinstance(answer, Priced):
                assert model.id.endswith(":free") or not _unsure(model, NOON, amounts), (key, model.id, kind)
                priced += 1
            elif isinstance(answer, Partial):
                assert answer.note.reason in ("quantity_unpriced", "split_missing")
                partial += 1
    assert min(priced, partial) > 5_000


def test_no_price_of_the_table_is_left_to_the_slow_way_by_its_size(book: PriceBook) -> None:
    """The dearest call within the contract stays below a million USD at every price of the table."""
    events = [event for event in _events() if event["output_tokens"] == TOKENS_MAX]
    assert price(usage_frame(events), book).filter(pl.col("cost_reason").str.contains("999,999")).is_empty()


METERED = [
    key for key, (_, model) in MODELS.items() if _rates(model.get_prices(NOON)).keys() - {"input_mtok", "output_mtok"}
]


AMOUNTS = st.one_of(st.integers(0, 50).map(Decimal), st.integers(0, 10**9).map(lambda n: Decimal(n).scaleb(-3)))


@st.composite
def _metered_calls(draw: st.DrawFn) -> tuple[tuple[str, str], dict[str, Decimal]]:
    """Amounts of the units that the model prices, and now and then of one that it may not."""
    key = draw(st.sampled_from(METERED))
    _, model = MODELS[key]
    units = [unit for unit in UNITS if unit_data[unit]["price_key"] in _rates(model.get_prices(NOON))]
    used = draw(st.lists(st.sampled_from(units), unique=True)) + draw(st.lists(st.sampled_from(UNITS), max_size=1))
    return key, {unit: draw(AMOUNTS) for unit in used}


@examples(600)
@given(_metered_calls())
def test_any_mix_of_quantities_costs_what_genai_prices_says_or_is_refused_where_it_refuses(
    book: PriceBook, call: tuple[tuple[str, str], dict[str, Decimal]]
) -> None:
    key, amounts = call
    provider, model = MODELS[key]
    ours = book.at(Sku(*key), NOON)
    assert isinstance(ours, Linear)
    exact = {unit: int(Fraction(amount) * PICO) for unit, amount in amounts.items()}
    answer = quote(ours, Call("api", failed=True, amounts=exact))
    try:
        theirs = _theirs(provider, model, NOON, amounts)
    except ValueError:
        assert isinstance(answer, Unpriced)
        assert answer.note.reason == "usage_contradictory"
        return
    if isinstance(answer, Unpriced):
        nothing_priced = theirs == 0 and answer.note.reason == "quantity_unpriced"
        parts_beyond = answer.note.reason == "usage_contradictory" and "exceed" in answer.note.detail
        assert nothing_priced or parts_beyond or (not amounts and answer.note.reason == "usage_missing")
    elif any(amounts.values()):
        assert answer.cost_pico == theirs
    else:
        assert answer == Priced(0), "a failed call that used nothing owes no fee"


def test_seconds_of_audio_cost_what_genai_prices_says_at_every_model_with_audio(book: PriceBook) -> None:
    """Groq charges ten seconds at least; others price hours that no second divides without a rest."""
    keys = {"audio_hours", "input_audio_hours"}
    audible = [key for key, (_, model) in MODELS.items() if keys & _rates(model.get_prices(NOON)).keys()]
    assert len(audible) > 10
    for seconds in ("0", "0.1", "1", "9.999", "10", "10.001", "90.5", "3600", "86399.999"):
        event = {"operation": "transcription", "quantities": json.dumps({"audio_seconds": seconds})}
        frame = usage_frame({**event, "provider": provider_id, "model": name} for provider_id, name in audible)
        priced = price(frame, book)
        theirs = [_theirs(*MODELS[key], NOON, {"audio_seconds": Decimal(seconds)}) for key in audible]
        assert priced["cost_pico"].to_list() == theirs
        assert set(priced["cost_status"]) == {"priced"}


@st.composite
def _contract_tokens(draw: st.DrawFn) -> dict[str, int]:
    total_in, total_out = draw(st.integers(0, 2_000_000)), draw(st.integers(0, 200_000))
    cache_read = draw(st.integers(0, total_in))
    return {
        "input_tokens": total_in,
        "output_tokens": total_out,
        "cache_read_tokens": cache_read,
        "cache_write_tokens": draw(st.integers(0, total_in - cache_read)),
        "reasoning_tokens": draw(st.integers(0, total_out)),
    }


MOMENTS = st.integers(0, 900 * 86_400_000).map(lambda ms: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))


@examples(60)
@given(st.lists(st.tuples(st.sampled_from(sorted(MODELS)), MOMENTS, _contract_tokens()), min_size=1, max_size=20))
def test_any_tokens_at_any_moment_cost_what_genai_prices_says(
    book: PriceBook, calls: list[tuple[tuple[str, str], datetime, dict[str, int]]]
) -> None:
    events = [{"provider": key[0], "model": key[1], "occurred_at": at, **tokens} for key, at, tokens in calls]
    costs = price(usage_frame(events), book)["cost_pico"]
    for (key, moment, tokens), cost_pico in zip(calls, costs, strict=True):
        assert cost_pico in (None, _theirs(*MODELS[key], moment, _units(tokens)))


def test_names_find_the_model_that_genai_prices_finds() -> None:
    source = BundledPrices.load()
    for provider in providers:
        for model in provider.models:
            found = provider.find_model(model.id, all_providers=providers)
            if found is None:
                continue
            ours = source.resolve(Sku(provider.id, model.id), date(2020, 1, 1))
            theirs = BundledPrices([replace(provider, models=[replace(found, match=ClauseEquals(equals="x"))])])
            expected = theirs.resolve(Sku(provider.id, "x"), date(2020, 1, 1))
            assert getattr(ours, "brackets", None) == getattr(expected, "brackets", None), (provider.id, model.id)


def test_the_price_version_of_every_row_leads_back_to_its_cost(book: PriceBook) -> None:
    for row in price(usage_frame(_events()), book).filter(pl.col("cost_pico").is_not_null()).iter_rows(named=True):
        used = book.lookup(row["price_version"], Sku(row["provider"], row["model"]))
        assert isinstance(used, Linear)
        amounts = {unit: row[field] * PICO for field, unit in TOKEN_UNITS.items() if row[field] is not None}
        answer = quote(used, Call(row["operation"], failed=False, amounts=amounts))
        assert isinstance(answer, Priced | Partial)
        assert answer.cost_pico == row["cost_pico"]
