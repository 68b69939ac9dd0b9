"""What an export says, line by line, in our words."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Final, Literal

Kind = Literal["usage", "cost"]

# The bill says what all models together cost, or used, and no more.
ALL_MODELS: Final = "(all models)"

COUNTS: Final = ("calls", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
COST: Final = "cost_usd"
FIGURES: Final = (*COUNTS, COST)
KIND_OF: Final[dict[str, Kind]] = {**dict.fromkeys(COUNTS, "usage"), COST: "cost"}

CENT_PLACES: Final = 2  # no bill is rounded to less
# Sums of amounts within the bounds of ``records.py`` have fewer digits. One that had more would raise, not round.
EXACT: Final = Context(prec=120, traps=[Inexact, InvalidOperation, Overflow])
ROUNDED: Final = Context(prec=EXACT.prec, rounding=ROUND_HALF_EVEN)  # of what is only shown: a percentage, a ratio


class BillRefused(Exception):
    """An export that cannot be compared. The message says which file, what of it, and what to do. Nothing was done."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of calls of one day and model, or of the difference between two of these. None is unknown, which is not 0.
    ``input_tokens`` are all that went in: those read from a cache and written to it are a part of them."""

    calls: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost_usd: Decimal | None = None

    @property
    def tokens(self) -> int | None:
        """That went in and came out."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Line:
    """``name`` is a model as the provider writes it, or that of a line without one. ``counts`` are in the meaning of
    ``Figures``. ``amount`` is what is to be paid, in ``currency``; ``credit`` is what has been taken off it."""

    day: date
    name: str
    is_model: bool = True
    counts: Figures = field(default_factory=Figures)
    amount: Decimal | None = None
    currency: str = ""
    credit: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Export:
    """One file. It speaks of every day from ``first`` to ``last``. ``places`` are the decimals of its finest amount."""

    file: str
    format: str
    kinds: frozenset[Kind]
    lines: tuple[Line, ...]
    first: date
    last: date
    places: int
    notes: tuple[str, ...] = ()

    @property
    def half_unit(self) -> Decimal:
        """The most by which rounding changes a line."""
        return Decimal(5).scaleb(-max(self.places, CENT_PLACES) - 1)


def added(amounts: list[Decimal]) -> Decimal:
    """The exact sum."""
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total
