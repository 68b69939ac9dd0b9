"""Which calls change and what that adds up to, against plain sums: whatever their order, and the order of revisions."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.pricing import PriceBook
from sinks.clickhouse.repricings import ADJUSTMENT, Block
from stream.pricing.columns import WHY, price
from stream.repricing.changes import adjustments, as_rows, as_sent, changed
from tests.support.properties import examples

AT = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
OURS = """
[[price]]
provider = "openai"
models = ["gpt-4o-mini"]
factor = "{factor}"
source = "ours"

[[price]]
provider = "acme"
models = ["a"]
source = "ours"
rates.input_tokens = {{ price = "0.5", per = "1K" }}
"""
HALF, TWICE = (PriceBook.bundled().with_files({"own.toml": OURS.format(factor=each)}) for each in ("0.5", "2"))
LIST = PriceBook.bundled()
BOOKS = (LIST, HALF, TWICE)
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")

CALL = st.fixed_dictionaries(
    {
        "sent": st.sampled_from([("openai", "gpt-4o-mini"), ("OpenAI", "GPT-4o-mini"), ("acme", "a"), ("no", "body")]),
        "feature": st.sampled_from(["f", "g"]),
        "minutes": st.integers(-120, 120),
        "input_tokens": st.none() | st.integers(0, 10**6),
        "output_tokens": st.none() | st.integers(0, 10**6),
        "quantities": st.sampled_from(["", '{"images":"2"}']),
    }
)
CALLS = st.lists(CALL, max_size=10)


def stored(calls: list[dict[str, Any]], book: PriceBook) -> pl.DataFrame:
    """As rows of usage_events, by the prices of a book. The names of the second are stored as those of the first."""
    rows = []
    for number, call in enumerate(calls):
        provider, model = call["sent"]
        alias = provider == "OpenAI"
        rows.append(
            {
                "request_id": f"r-{number}",
                "occurred_at": AT + timedelta(minutes=call["minutes"]),
                "provider": provider.lower(),
                "model": model.lower(),
                "provider_sent": provider if alias else "",
                "model_sent": model if alias else "",
                **dict.fromkeys(("service_tier", "inference_geo", "unit_prices"), ""),
                **{name: call[name] for name in ("feature", "input_tokens", "output_tokens", "quantities")},
                **dict.fromkeys(COUNTS[2:]),
                "operation": "chat",
                "status": "ok",
                "price_rev": 0,
                "cost_usd": None,
                **dict.fromkeys(WHY, ""),
            }
        )
    kinds: dict[str, Any] = {"occurred_at": pl.Datetime("ms", "UTC"), "price_rev": pl.UInt16()}
    kinds |= {"cost_usd": pl.Decimal(18, 12), **dict.fromkeys(COUNTS, pl.UInt32())}
    columns = ("request_id", "provider", "model", "provider_sent", "model_sent", "feature", "quantities", "operation")
    texts = dict.fromkeys((*columns, "status", "service_tier", "inference_geo", "unit_prices", *WHY), pl.String())
    frame = pl.DataFrame(rows, schema={**texts, **kinds}, orient="row")
    return repriced(frame, book, number=0)


def repriced(calls: pl.DataFrame, book: PriceBook, *, number: int) -> pl.DataFrame:
    """Calls with what changes put in its place."""
    rows = as_rows(changed(calls, book), repricing=number)
    return pl.concat([calls.join(rows, on="request_id", how="anti"), rows.select(calls.columns)])


def costs(calls: pl.DataFrame) -> dict[str, tuple[Any, ...]]:
    return {row[0]: row[1:] for row in calls.select("request_id", "cost_usd", *WHY).iter_rows()}


@given(CALLS, st.sampled_from(list(permutations(BOOKS, 2))))
@examples(200)
def test_every_call_has_the_price_of_the_book_then_and_a_second_time_nothing_changes(
    calls: list[dict[str, Any]], books: tuple[PriceBook, PriceBook]
) -> None:
    old, new = books
    before = stored(calls, old)
    after = repriced(before, new, number=3)
    given = as_sent(before).with_columns(pl.col(COUNTS).cast(pl.Int64))
    plain = price(given.drop("price_rev", "cost_usd", *WHY), new)
    told = {row["request_id"]: row for row in plain.iter_rows(named=True)}
    for row in after.iter_rows(named=True):
        expected = told[row["request_id"]]
        pico = expected["cost_pico"]
        assert row["cost_usd"] == (None if pico is None else Decimal(pico) / 10**12)
        assert [row[name] for name in WHY] == [expected[name] for name in WHY]
    assert changed(after, new).is_empty()
    same = before.columns[: before.columns.index("cost_status")]
    untouched = [name for name in same if name not in ("cost_usd", "price_rev")]
    assert after.select(untouched).sort("request_id").equals(before.select(untouched).sort("request_id"))


@pytest.mark.slow
@given(CALLS, st.permutations(BOOKS), st.randoms())
@examples(100)
def test_neither_the_order_of_calls_nor_that_of_revisions_before_the_last_matters(
    calls: list[dict[str, Any]], books: list[PriceBook], dice: Any
) -> None:
    last = books[-1]
    one = stored(calls, LIST)
    for number, book in enumerate(books, start=1):
        one = repriced(one, book, number=number)
    shuffled = stored(calls, LIST).sample(fraction=1, shuffle=True, seed=dice.randrange(99))
    other = repriced(shuffled, last, number=1)
    assert costs(one) == costs(other) == costs(stored(calls, last))


@given(CALLS, st.sampled_from(list(permutations(BOOKS, 2))))
@examples(150)
def test_adjustments_are_the_plain_sums_of_the_calls_that_change(
    calls: list[dict[str, Any]], books: tuple[PriceBook, PriceBook]
) -> None:
    old, new = books
    before = stored(calls, old)
    changes = changed(before, new)
    told = adjustments(changes, repricing=7, block=Block(0, 0, part=1, parts=2), now=AT)
    assert told.schema == ADJUSTMENT
    was, becomes = costs(before), costs(repriced(before, new, number=7))
    sums: dict[tuple[Any, ...], list[Any]] = defaultdict(lambda: [0, Decimal(0), Decimal(0), 0, 0, 0, 0])
    for row in before.iter_rows(named=True):
        one, other = was[row["request_id"]], becomes[row["request_id"]]
        if one == other:
            continue
        hour = row["occurred_at"].replace(minute=0)
        cell = sums[hour, row["provider"], row["model"], row["feature"], 7, 0, 1, 2]
        added = [1, one[0] or 0, other[0] or 0]
        added += [int(side[1] == status) for status in ("unpriced", "partial") for side in (one, other)]
        sums[hour, row["provider"], row["model"], row["feature"], 7, 0, 1, 2] = [
            a + b for a, b in zip(cell, added, strict=True)
        ]
    keys = ("hour", "provider", "model", "feature", "repricing", "price_rev_before", "part", "parts")
    measures = ("calls", "cost_usd_before", "cost_usd", "unpriced_calls_before", "unpriced_calls")
    measures += ("partial_calls_before", "partial_calls")
    rows = {tuple(row[name] for name in keys): [row[name] for name in measures] for row in told.to_dicts()}
    assert rows == dict(sums)
    assert set(told["adjusted_at"]) <= {AT}


def test_money_beyond_sixty_four_bits_of_picodollars_is_exact() -> None:
    """Ten calls of the most that one can cost."""
    one = {"sent": ("acme", "a"), "feature": "f", "minutes": 0, "input_tokens": 7, "output_tokens": 0, "quantities": ""}
    most = pl.lit(10**18 - 1, pl.Int64)
    changes = changed(stored([one] * 10, LIST), HALF).with_columns(stored_cost_pico=most, cost_pico=most)
    (told,) = adjustments(changes, repricing=1, block=Block(0, 0), now=AT).to_dicts()
    assert (told["calls"], told["cost_usd_before"], told["cost_usd"]) == (10, *[Decimal("9999999.99999999999")] * 2)


def test_a_call_is_priced_by_the_name_that_was_sent_and_keeps_the_one_that_is_stored() -> None:
    """The table of the build that stored it may have had another name for what was sent."""
    call = {"sent": ("openai", "m"), "feature": "f", "minutes": 0, "quantities": ""}
    call |= {"input_tokens": 7, "output_tokens": 0}
    stored_otherwise = stored([call], LIST).with_columns(
        provider=pl.lit("old"), model=pl.lit("name"), provider_sent=pl.lit("acme"), model_sent=pl.lit("a")
    )
    (row,) = as_rows(changed(stored_otherwise, HALF), repricing=1).to_dicts()
    assert (row["provider"], row["model"], row["cost_usd"]) == ("old", "name", Decimal("0.0035"))
