"""What the exports say together, by day and model, and by those of their lines that are of no model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from sinks.answers.bill.lines import ALL_MODELS, COST, COUNTS, KIND_OF, Export, Figures, Kind, Line, added

USD: Final = "USD"
FOLDED: Final = (
    "the bill does not tell its models apart, so all models of a day are compared together; export it by model to see "
    "each"
)

Canonical = Callable[[str], str]  # the name under which a model of the provider is stored


@dataclass(frozen=True, slots=True)
class Span:
    """Days from ``start`` until before ``end``. Those before ``kept_since`` may be gone, and ``today`` is not over."""

    start: date
    end: date
    today: date
    kept_since: date

    def has(self, day: date) -> bool:
        return self.start <= day < self.end


@dataclass(slots=True)
class Sum:
    """Of the lines of a day and name. ``told`` are the kinds of export that had one."""

    told: set[Kind] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    amounts: list[Decimal] = field(default_factory=list)
    credits: list[Decimal] = field(default_factory=list)
    rounding_usd: Decimal = Decimal(0)
    other_currency: bool = False

    def add(self, line: Line, export: Export) -> None:
        self.told |= export.kinds
        for name in COUNTS:
            count = getattr(line.counts, name)
            if count is not None:
                self.counts[name] = self.counts.get(name, 0) + count
        if line.amount is None:
            return
        if line.currency.upper() != USD:
            self.other_currency = True
            return
        self.amounts.append(line.amount)
        self.credits.append(line.credit)
        self.rounding_usd += export.half_unit

    def join(self, other: Sum) -> None:
        self.told |= other.told
        for name, count in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        self.amounts += other.amounts
        self.credits += other.credits
        self.rounding_usd += other.rounding_usd
        self.other_currency |= other.other_currency


class Bill:
    """All exports together, by day and name."""

    def __init__(self, exports: Sequence[Export], span: Span, canonical: Canonical) -> None:
        self._exports = exports
        lines = [(export, line) for export in exports for line in export.lines if span.has(line.day)]
        self.is_folded = any(_tells_no_model(export) for export in exports)
        names = {line.name for _, line in lines if line.is_model}
        stored_as = {name: ALL_MODELS if self.is_folded else canonical(name) for name in names}
        self.models = defaultdict[date, dict[str, Sum]](lambda: defaultdict(Sum))
        self.items = defaultdict[date, dict[str, Sum]](lambda: defaultdict(Sum))
        self.also = defaultdict[str, set[str]](set)
        for export, line in lines:
            if line.is_model and (self.is_folded or line.name != ALL_MODELS):
                name = stored_as[line.name]
                self.models[line.day][name].add(line, export)
                self.also[name].add(line.name)
            else:
                self.items[line.day][line.name].add(line, export)
        self._told = {name for _, line in lines for name in COUNTS if getattr(line.counts, name) is not None}
        self._told |= {COST} if any("cost" in export.kinds for export in exports) else set()
        currencies = {line.currency.upper() for _, line in lines if line.amount is not None}
        self.notes = (
            *(note for export in exports for note in export.notes),
            *_of_currencies(currencies),
            *([FOLDED] if self.is_folded else []),
            *_of_overlaps(exports),
        )

    @property
    def days(self) -> set[date]:
        return {*self.models, *self.items}

    def covers(self, day: date, kind: Kind | None = None) -> bool:
        return any(export.first <= day <= export.last for export in self._exports if kind in {None, *export.kinds})

    def figures(self, day: date, of: Sum, *, is_model: bool) -> Figures:
        """What no line of a covered day has is 0, if lines of other models have it. It is unknown where a line of this
        model leaves it out, and of what is no model."""
        missing = {
            name
            for name, kind in KIND_OF.items()
            if is_model and name in self._told and self.covers(day, kind) and kind not in of.told
        }
        counts = {name: of.counts.get(name, 0 if name in missing else None) for name in COUNTS}
        cost = added(of.amounts) if of.amounts or COST in missing else None
        return Figures(**counts, cost_usd=None if of.other_currency else cost)


def _tells_no_model(export: Export) -> bool:
    """All of it is of all models together. Where only some lines are, they are lines that are of no model."""
    return {line.name for line in export.lines if line.is_model} == {ALL_MODELS}


def _of_currencies(currencies: set[str]) -> list[str]:
    others = sorted(one or "a currency that it does not name" for one in currencies if one != USD)
    if not others:
        return []
    return [f"the bill is in {', '.join(others)}: costs are stored in USD, so money is not compared there"]


def _of_overlaps(exports: Sequence[Export]) -> list[str]:
    """Two files may be of two projects; or the same figures twice."""
    notes = []
    for at, one in enumerate(exports):
        for other in exports[at + 1 :]:
            kinds = " and ".join(sorted(one.kinds & other.kinds))
            first, last = max(one.first, other.first), min(one.last, other.last)
            if kinds and first <= last:
                notes.append(f"{one.file} and {other.file} both have {kinds} of {first} to {last}: it is added up")
    return notes
