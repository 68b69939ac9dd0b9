"""Prices a batch in columns: one sum of products in Int64 for the plain calls, one exact quote for each of the rest.

A call is plain when nothing needs thought: tokens only, both totals there, every rate whole in 1e-12 USD, every token
kind priced. Whatever is not plain is quoted on its own by the same prices, so both ways give the same cost.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any, Final, TypeAlias, assert_never

import msgspec
import polars as pl

from costream.events import TOKENS_MAX
from costream.pricing.book import PriceBook
from costream.pricing.rates import (
    COST_PICO_MAX,
    PICO,
    TOKEN_UNITS,
    Bracket,
    Call,
    Exact,
    Linear,
    NoPrice,
    Partial,
    Priced,
    Quote,
    Unpriced,
    quote,
)

# Short names for quantities that the table knows by longer ones.
QUANTITY_ALIASES: Final[Mapping[str, str]] = {
    "characters": "input_characters",
    "pages": "input_document_pages",
    "reasoning_tokens": "output_reasoning_tokens",
}
USED: Final = ("operation", "status", *TOKEN_UNITS, "quantities")
RATES: Final = ("per_call", *(f"{field}_rate" for field in TOKEN_UNITS))

COSTS: Final = {"cost_pico": pl.Int64, "cost_status": pl.String, "cost_reason": pl.String, "price_version": pl.String}
ANSWERS: Final = {"status_if_not_plain": pl.String, "reason": pl.String, "version": pl.String}

SPAN: Final = 1 << 30  # the brackets of price i start at i * SPAN
assert SPAN > TOKENS_MAX, "a call could reach the brackets of the next price"

Price: TypeAlias = Linear | NoPrice
Row: TypeAlias = dict[str, Any]


def price(frame: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """Adds ``cost_pico``, ``cost_status``, ``cost_reason``, ``price_version`` and ``price_rev`` to accepted events."""
    prices, asked = _in_force(frame, book)
    costs = _plain(frame, prices, asked)
    odd = costs["cost_status"].is_null().arg_true()
    if len(odd):
        quoted = _one_by_one(frame[odd], [prices[i] for i in asked[odd]])
        costs = costs.with_row_index("row").update(quoted.with_columns(row=odd), on="row").drop("row")
    return frame.with_columns(*costs, price_rev=pl.lit(book.price_rev, pl.Int64))


def _in_force(frame: pl.DataFrame, book: PriceBook) -> tuple[list[Price], pl.Series]:
    """The prices that the batch needs, each resolved once, and which of them each row takes.

    A price may change within the day, but only at the times that the book names; between two of them none does.
    """
    moment = pl.col("occurred_at")
    part = sum(((moment.dt.time() >= change).cast(pl.Int8) for change in book.changes), start=pl.lit(0, pl.Int8))
    calls = frame.select("provider", "model", day=moment.dt.date(), part=part)
    keys = calls.unique().with_row_index("asked")
    asked = calls.join(keys, on=calls.columns, how="left", maintain_order="left")["asked"].cast(pl.Int64)
    starts = (time.min, *book.changes)
    moments = ((*name, datetime.combine(day, starts[part], UTC)) for _, *name, day, part in keys.iter_rows())
    return [book.at(*key) for key in moments], asked


def _plain(frame: pl.DataFrame, prices: Sequence[Price], asked: pl.Series) -> pl.DataFrame:
    """The answers that need no thought. A row that needs a quote of its own has no status yet."""
    answers = pl.DataFrame([_answer(price) for price in prices], schema=ANSWERS, orient="row")[asked]
    rates = _rates(prices, asked, frame["input_tokens"])
    cost = pl.when(_is_plain()).then(_cost())
    return pl.concat([frame.select(USED), rates, answers], how="horizontal").select(
        cost_pico=cost,
        cost_status=pl.when(cost.is_not_null()).then(pl.lit("priced")).otherwise(pl.col("status_if_not_plain")),
        cost_reason="reason",
        price_version="version",
    )


def _answer(price: Price) -> tuple[str | None, str, str]:
    match price:
        case Linear():
            return None, "", price.version
        case NoPrice():
            return "unpriced", price.reason, ""
        case _:
            assert_never(price)


def _rates(prices: Sequence[Price], asked: pl.Series, input_tokens: pl.Series) -> pl.DataFrame:
    """The rates of the bracket that each row falls into; the brackets of all prices lie on one line, end to end."""
    rows = [(i * SPAN + start, *rates) for i, price in enumerate(prices) for start, rates in _brackets(price)]
    brackets = pl.DataFrame(rows, schema={"start": pl.Int64, **dict.fromkeys(RATES, pl.Int64)}, orient="row")
    bracket = brackets["start"].search_sorted(asked * SPAN + input_tokens.fill_null(0), side="right")
    return brackets.select(RATES)[bracket - 1]


@lru_cache(maxsize=4_096)  # more than all prices of the bundled table
def _brackets(price: Price) -> Sequence[tuple[int, Sequence[int | None]]]:
    """Where each bracket starts, and its RATES.

    A rate is absent where the kind has no price, or one that is not whole, or none that is plain: a row that needs it
    is left without a cost, so that it is quoted.
    """
    if not isinstance(price, Linear) or price.caveat:
        return [(0, [None] * len(RATES))]
    return [(bracket.above + 1, _token_rates(price, bracket)) for bracket in price.brackets]


def _token_rates(price: Linear, bracket: Bracket) -> Sequence[int | None]:
    rates: list[Exact | None] = [bracket.per_call]
    for unit in TOKEN_UNITS.values():
        rates.append(bracket.rates.get(unit, 0 if price.covers(unit) else None))
    # No call within the bounds of the contract may leave Int64, or Decimal(18, 12): polars would wrap in silence.
    most = bracket.per_call + TOKENS_MAX * sum(abs(Fraction(rate or 0)) for rate in rates[1:])
    return [rate if isinstance(rate, int) and most <= COST_PICO_MAX else None for rate in rates]


def _is_plain() -> pl.Expr:
    """Sure signs only: a row that could be plain but does not look it is quoted on its own, at the same cost."""
    has_output = (pl.col("output_tokens") <= TOKENS_MAX) | (pl.col("operation") == "embedding")
    return (pl.col("input_tokens") <= TOKENS_MAX) & has_output & (pl.col("quantities") == "")


def _cost() -> pl.Expr:
    terms = (pl.when(pl.col(f) > 0).then(pl.col(f) * pl.col(f"{f}_rate")).otherwise(0) for f in TOKEN_UNITS)
    return reduce(operator.add, terms, pl.col("per_call"))


def _one_by_one(frame: pl.DataFrame, prices: Sequence[Price]) -> pl.DataFrame:
    rows = frame.select(USED).iter_rows(named=True)
    quotes = [_quoted(row, price) for row, price in zip(rows, prices, strict=True)]
    return pl.DataFrame(quotes, schema=COSTS, orient="row")


def _quoted(row: Row, price: Price) -> tuple[int | None, str, str, str]:
    assert isinstance(price, Linear), "a row without a price has its answer already"
    answer = _quote(row, price)
    match answer:
        case Priced():
            return answer.cost_pico, "priced", "", price.version
        case Partial():
            return answer.cost_pico, "partial", answer.reason, price.version
        case Unpriced():
            return None, "unpriced", answer.reason, ""
        case _:
            assert_never(answer)


def _quote(row: Row, price: Linear) -> Quote:
    amounts = {unit: row[field] * PICO for field, unit in TOKEN_UNITS.items() if row[field] is not None}
    for name, text in _quantities(row["quantities"] or "{}").items():
        unit = QUANTITY_ALIASES.get(name, name)
        if unit in amounts:
            return Unpriced(f"{unit} reported twice")
        amounts[unit] = _pico(text)
    return quote(price, Call(row["operation"], failed=row["status"] == "error", amounts=amounts))


_quantities: Final = msgspec.json.Decoder(dict[str, str]).decode


def _pico(amount: str) -> int:
    """Plain decimal text, with at most 12 digits after the point, in 1e-12."""
    whole, _, fraction = amount.partition(".")
    return int(whole + fraction.ljust(12, "0"))
