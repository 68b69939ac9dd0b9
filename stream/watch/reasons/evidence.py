"""What reasons are made of: the window of an alert beside the hours that are usual for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Part:
    """What one model or feature used, in the hour judged or in all usual hours together.

    ``tokens`` are those of input and of output; ``output_tokens`` are the latter, and ``cached_tokens`` those of the
    input that were read from a cache.
    """

    calls: int = 0
    tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    output_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Part) -> Part:
        return Part(
            calls=self.calls + other.calls,
            tokens=self.tokens + other.tokens,
            cost_usd=self.cost_usd + other.cost_usd,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
        )

    def __sub__(self, other: Part) -> Part:
        return Part(
            calls=self.calls - other.calls,
            tokens=self.tokens - other.tokens,
            cost_usd=self.cost_usd - other.cost_usd,
            output_tokens=self.output_tokens - other.output_tokens,
            cached_tokens=self.cached_tokens - other.cached_tokens,
        )

    @property
    def output_share(self) -> Fraction:
        """Of all tokens, of which there are some."""
        return Fraction(self.output_tokens, self.tokens)

    @property
    def cached_share(self) -> Fraction:
        """Of the input; 0 where there is none."""
        read = self.tokens - self.output_tokens
        return Fraction(self.cached_tokens, read) if read > 0 else Fraction(0)


@dataclass(frozen=True, slots=True)
class Change:
    now: Part = Part()
    usual: Part = Part()


@dataclass(frozen=True, slots=True)
class Rates:
    """USD for a token of input, of input that was read from a cache, and of output."""

    read: Fraction
    cached: Fraction
    written: Fraction


@dataclass(frozen=True, slots=True)
class Spender:
    """A user: the cost in the hour judged, and in a usual hour where that is known."""

    user_id: str
    cost_usd: Decimal
    usual_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """One hour beside its usual hours. ``features`` and ``users`` may hold the dearest alone; with the models that are
    not named, which ``other_models`` sums up, ``models`` are all.

    ``rates``: by model what its tokens cost in the hour, where its price is one for a token of each kind.
    """

    usual_hours: int
    models: Mapping[str, Change] = field(default_factory=dict)
    other_models: Change = Change()
    features: Mapping[str, Change] = field(default_factory=dict)
    users: tuple[Spender, ...] = ()
    rates: Mapping[str, Rates] = field(default_factory=dict)

    @property
    def now(self) -> Part:
        return _sum((self.other_models.now, *(change.now for change in self.models.values())))

    @property
    def usual(self) -> Part:
        return _sum((self.other_models.usual, *(change.usual for change in self.models.values())))

    def grown_usd(self, change: Change) -> Fraction:
        """How much more it cost than in a usual hour, of which there are some."""
        return Fraction(change.now.cost_usd) - Fraction(change.usual.cost_usd) / self.usual_hours

    @property
    def excess_usd(self) -> Fraction:
        return self.grown_usd(Change(self.now, self.usual))


def _sum(parts: Iterable[Part]) -> Part:
    return sum(parts, start=Part())
