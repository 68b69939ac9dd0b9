"""Prices a batch in columns: one sum of products in Int64 for calls of tokens, one exact quote for each of the rest.

What can be said of a call hangs on its price, and on which counts it reports and uses. A batch has few such *shapes*,
so each is judged once, and by the same verdict as a single call. What has quantities, prices of its own, or a rate that
is not whole in 1e-12 USD is quoted on its own, by the same prices. So both ways give the same cost.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from datetime import UTC, datetime, time
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any, Final, TypeAlias, assert_never, get_args

import msgspec
import polars as pl

from costream.events import TOKENS_MAX, Operation
from costream.pricing.book import PriceBook
from costream.pricing.quote import (
    COST_PICO_MAX,
    Call,
    Partial,
    Priced,
    Unpriced,
    Verdict,
    quote,
    verdict,
)
from costream.pricing.rates import CALLER, Bracket, Exact, Linear, NoPrice, completed
from costream.pricing.reasons import Note
from costream.pricing.sku import Sku
from costream.pricing.texts import price_id
from costream.pricing.units import TOKEN_UNITS
from costream.pricing.usage import amounts_of, prices_of

USED: Final = ("operation", "status", *TOKEN_UNITS, "quantities", "unit_prices")
ASKED: Final = ("provider", "model", "service_tier", "inference_geo")  # in the order of Sku
RATES: Final = ("per_call", *(f"{field}_rate" for field in TOKEN_UNITS))
WHY: Final = ("cost_status", "cost_reason", "cost_detail", "price_version", "price_source", "price_id")
COSTS: Final = {"cost_pico": pl.Int64, **dict.fromkeys(WHY, pl.String)}

SPAN: Final = 1 << 30  # the brackets of price i start at i * SPAN
assert SPAN > TOKENS_MAX, "a call could reach the brackets of the next price"

OPERATIONS: Final = get_args(Operation)
# The bits of a shape: the counts that are reported, those above zero, whether the call failed, its operation and price.
REPORTED, COUNTED, FAILED = 0, len(TOKEN_UNITS), 2 * len(TOKEN_UNITS)
OPERATION: Final = FAILED + 1
PRICE: Final = OPERATION + len(OPERATIONS).bit_length()

Price: TypeAlias = Linear | NoPrice
Answer: TypeAlias = tuple[int | None, str, str, str, str, str, str]  # the columns of COSTS


def price(frame: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """Adds the columns of COSTS and ``price_rev`` to accepted events."""
    prices, asked = _in_force(frame, book)
    costs = _of_tokens(frame, prices, asked)
    odd = costs["cost_status"].is_null().arg_true()
    if len(odd):
        quoted = _one_by_one(frame[odd], [prices[i] for i in asked[odd]])
        costs = costs.with_row_index("row").update(quoted.with_columns(row=odd), on="row").drop("row")
    return frame.with_columns(*costs, price_rev=pl.lit(book.price_rev, pl.Int64))


def _in_force(frame: pl.DataFrame, book: PriceBook) -> tuple[list[Price], pl.Series]:
    """The prices that the batch needs, each resolved once, and which of them each row takes.

    A price may change within the day, but only at the times that the book names; between two of them none does.
    """
    changes = pl.Series(book.changes, dtype=pl.Time).cast(pl.Int64)
    part = changes.search_sorted(frame["occurred_at"].dt.time().cast(pl.Int64), side="right")
    calls = frame.select(ASKED, day=pl.col("occurred_at").dt.date(), part=part)
    keys = calls.unique().with_row_index("asked")
    asked = calls.join(keys, on=calls.columns, how="left", maintain_order="left")["asked"].cast(pl.Int64)
    starts = (time.min, *book.changes)
    moments = ((Sku.of(*sku), datetime.combine(day, starts[part], UTC)) for _, *sku, day, part in keys.iter_rows())
    return [book.at(*key) for key in moments], asked


# --- in columns ------------------------------------------------------------------------------------------------------


def _of_tokens(frame: pl.DataFrame, prices: Sequence[Price], asked: pl.Series) -> pl.DataFrame:
    """The answers to calls of tokens. A row that needs a quote of its own has no status yet."""
    shapes = frame.select(_shape(asked)).to_series()
    different = shapes.unique().sort()
    judged = pl.DataFrame([_judged(shape, prices) for shape in different], schema=JUDGED, orient="row")
    rates = _rates(prices, asked, frame["input_tokens"])
    known = pl.concat([frame.select(USED), rates, judged[different.search_sorted(shapes)]], how="horizontal")
    tokens_alone = (pl.col("quantities") == "") & (pl.col("unit_prices") == "")
    has_cost = pl.col("cost_status") != "unpriced"
    cost = pl.when(tokens_alone & has_cost).then(_cost())
    answered = tokens_alone & (cost.is_not_null() | ~has_cost)
    return known.select(cost_pico=cost, cost_status=pl.when(answered).then("cost_status"), **{n: n for n in WHY[1:]})


JUDGED: Final = {**dict.fromkeys(WHY, pl.String), "owes_fee": pl.Boolean}


def _shape(asked: pl.Series) -> pl.Expr:
    """Everything that a verdict hangs on, in one number."""
    fields = [pl.col(field) for field in TOKEN_UNITS]
    parts = [
        *((field.is_not_null(), REPORTED + at) for at, field in enumerate(fields)),
        *((field.fill_null(0) > 0, COUNTED + at) for at, field in enumerate(fields)),
        (pl.col("status") == "error", FAILED),
        (pl.col("operation").cast(pl.Enum(OPERATIONS)).to_physical(), OPERATION),
        (pl.lit(asked), PRICE),
    ]
    return reduce(operator.add, (part.cast(pl.Int64) * (1 << bit) for part, bit in parts))


def _judged(shape: int, prices: Sequence[Price]) -> tuple[str, str, str, str, str, str, bool]:
    price = prices[shape >> PRICE]
    if isinstance(price, NoPrice):
        return "unpriced", *_told(price.note), *NO_PRICE, False
    found = _verdict(price, shape & ((1 << PRICE) - 1))
    if found.fault:
        return "unpriced", *_told(found.fault), *NO_PRICE, False
    status = "partial" if found.caveat else "priced"
    return status, *_told(found.caveat or found.doubt), *_named(price, price.source), found.fee


def _told(note: Note | None) -> tuple[str, str]:
    return (note.reason, note.detail) if note else ("", "")


NO_PRICE: Final = ("", "", "")  # where it is named: price_version, price_source and price_id


def _named(price: Linear, source: str) -> tuple[str, str, str]:
    return price.version, source, price_id(price)


def _verdict(price: Linear, shape: int) -> Verdict:
    units = list(enumerate(TOKEN_UNITS.values()))
    return verdict(
        price,
        OPERATIONS[shape >> OPERATION],
        failed=bool(shape >> FAILED & 1),
        reported=frozenset(unit for at, unit in units if shape >> (REPORTED + at) & 1),
        used=frozenset(unit for at, unit in units if shape >> (COUNTED + at) & 1),
    )


def _rates(prices: Sequence[Price], asked: pl.Series, input_tokens: pl.Series) -> pl.DataFrame:
    """The rates of the bracket that each row falls into; the brackets of all prices lie on one line, end to end."""
    rows = [(i * SPAN + start, *rates) for i, price in enumerate(prices) for start, rates in _brackets(price)]
    brackets = pl.DataFrame(rows, schema={"start": pl.Int64, **dict.fromkeys(RATES, pl.Int64)}, orient="row")
    bracket = brackets["start"].search_sorted(asked * SPAN + input_tokens.fill_null(0), side="right")
    return brackets.select(RATES)[bracket - 1]


@lru_cache(maxsize=4_096)  # more than all prices of the bundled table
def _brackets(price: Price) -> Sequence[tuple[int, Sequence[int | None]]]:
    """Where each bracket starts, and its RATES. A rate is absent where it is not whole, or could leave Int64: a row
    that needs it is left without a cost, so that it is quoted."""
    if not isinstance(price, Linear):
        return [(0, [None] * len(RATES))]
    return [(bracket.above + 1, _token_rates(bracket)) for bracket in price.brackets]


def _token_rates(bracket: Bracket) -> Sequence[int | None]:
    rates: list[Exact] = [bracket.per_call, *(bracket.rates.get(unit, 0) for unit in TOKEN_UNITS.values())]
    # No call within the bounds of the contract may leave Int64, or Decimal(18, 12): polars would wrap in silence.
    most = bracket.per_call + TOKENS_MAX * sum(abs(Fraction(rate)) for rate in rates[1:])
    return [rate if isinstance(rate, int) and most <= COST_PICO_MAX else None for rate in rates]


def _cost() -> pl.Expr:
    terms = (pl.when(pl.col(f) > 0).then(pl.col(f) * pl.col(f"{f}_rate")).otherwise(0) for f in TOKEN_UNITS)
    return reduce(operator.add, terms, pl.when("owes_fee").then("per_call").otherwise(0))


# --- one by one ------------------------------------------------------------------------------------------------------


def _one_by_one(frame: pl.DataFrame, prices: Sequence[Price]) -> pl.DataFrame:
    rows = frame.select(USED).iter_rows()
    quotes = [_quoted(price, *row) for row, price in zip(rows, prices, strict=True)]
    return pl.DataFrame(quotes, schema=COSTS, orient="row")


def _quoted(price: Price, operation: str, status: str, *used: Any) -> Answer:
    *counts, quantities, unit_prices = used
    asked = _completed(price, unit_prices) if unit_prices else price
    if isinstance(asked, NoPrice):
        return None, "unpriced", *_told(asked.note), *NO_PRICE
    amounts = amounts_of(counts, _by_unit(quantities or "{}"))
    if isinstance(amounts, Note):
        return None, "unpriced", *_told(amounts), *NO_PRICE
    answer = quote(asked, Call(operation, failed=status == "error", amounts=amounts))
    if isinstance(answer, Unpriced):
        return None, "unpriced", *_told(answer.note), *NO_PRICE
    named = price if isinstance(price, Linear) else asked  # what the caller adds to it is in the event
    source = CALLER if answer.by_caller else named.source
    match answer:
        case Priced():
            return answer.cost_pico, "priced", *_told(answer.note), *_named(named, source)
        case Partial():
            return answer.cost_pico, "partial", *_told(answer.note), *_named(named, source)
        case _:
            assert_never(answer)


@lru_cache(maxsize=1_024)  # a caller names the same prices with every call
def _completed(price: Price, unit_prices: str) -> Linear:
    return completed(price, prices_of(_by_unit(unit_prices)))


_by_unit: Final = msgspec.json.Decoder(dict[str, str]).decode
