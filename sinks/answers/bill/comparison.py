"""A bill and what is stored, row by row of day and model, and added up.

Every difference is ours less theirs, exact. What one side does not say is unknown: no difference is made of it, and
no total has it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sinks.answers.bill.lines import (
    ALL_MODELS,
    COST,
    COUNTS,
    EXACT,
    FIGURES,
    ROUNDED,
    BillRefused,
    Export,
    Figures,
    Kind,
    added,
)
from sinks.answers.bill.names import rows_of
from sinks.answers.bill.reasons import Doubts, Reason, ratio_of, reason_of
from sinks.answers.bill.theirs import Bill, Canonical, Span, Sum

PERCENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Ours:
    """What is stored of a day and model."""

    day: date
    model: str
    figures: Figures
    unpriced_calls: int = 0
    partial_calls: int = 0


def stored_of(rows: Iterable[Mapping[str, Any]]) -> list[Ours]:
    """Of rows by the names of their columns."""
    return [
        Ours(
            row["day"],
            row["model"],
            Figures(**{name: row[name] for name in FIGURES}),
            unpriced_calls=row["unpriced_calls"],
            partial_calls=row["partial_calls"],
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Row:
    """``name`` is the model as it is stored, or a line of the bill that is of none. ``also`` are other names of it, on
    the bill and stored."""

    day: date
    name: str
    also: tuple[str, ...]
    is_model: bool
    theirs: Figures
    ours: Figures
    reason: Reason
    ratio: Decimal | None

    @property
    def difference(self) -> Figures:
        return difference(self.theirs, self.ours)

    @property
    def percent(self) -> Decimal | None:
        """Of money."""
        return percent(self.difference.cost_usd, self.theirs.cost_usd)

    @property
    def tokens_percent(self) -> Decimal | None:
        difference, theirs = self.difference.tokens, self.theirs.tokens
        return None if difference is None or theirs is None else percent(Decimal(difference), Decimal(theirs))


@dataclass(frozen=True, slots=True)
class Total:
    """Of rows. ``difference_usd`` is that of the rows where both sides are known, and ``percent`` is of their money.
    ``theirs_alone_usd`` is what the bill has where ours is not known. A sum of nothing that is known is None."""

    rows: int
    theirs_usd: Decimal | None
    ours_usd: Decimal | None
    difference_usd: Decimal | None
    percent: Decimal | None
    theirs_alone_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Comparison:
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def of_model(self, model: str) -> Comparison:
        """The rows of one model, by any of its names there."""
        asked = model.strip().lower()
        rows = (row for row in self.rows if row.is_model and asked in {name.lower() for name in (row.name, *row.also)})
        return replace(self, rows=tuple(rows))

    @property
    def total(self) -> Total:
        return total_of(self.rows)

    @property
    def by_reason(self) -> Mapping[Reason, Total]:
        """In the order of the set."""
        rows = defaultdict[Reason, list[Row]](list)
        for row in self.rows:
            rows[row.reason].append(row)
        return {reason: total_of(rows[reason]) for reason in Reason if reason in rows}


def compared(exports: Sequence[Export], stored: Iterable[Ours], span: Span, *, canonical: Canonical) -> Comparison:
    """Each day of the span that the exports speak of. ``canonical`` names a model of theirs as the gate does."""
    bill = Bill(exports, span, canonical)
    ours = defaultdict[date, dict[str, list[Ours]]](lambda: defaultdict(list))
    for one in stored:
        if span.has(one.day) and bill.covers(one.day):
            ours[one.day][ALL_MODELS if bill.is_folded else one.model].append(one)
    rows = []
    for day in sorted({*ours, *bill.days}):
        rows += _rows_of_day(day, bill, ours[day], span)
    return Comparison(tuple(rows), (*bill.notes, *_notes(rows, exports, span)))


def difference(theirs: Figures, ours: Figures) -> Figures:
    """Ours less theirs, where both are known."""
    pairs = {name: (getattr(theirs, name), getattr(ours, name)) for name in FIGURES}
    known = {name: pair for name, pair in pairs.items() if None not in pair}
    cost = known.pop(COST, None)
    counts = {name: our - their for name, (their, our) in known.items()}
    return Figures(**counts, cost_usd=EXACT.subtract(cost[1], cost[0]) if cost else None)


def percent(difference: Decimal | None, theirs: Decimal | None) -> Decimal | None:
    """The difference in percent of theirs; None where that is 0 or not known."""
    if difference is None or not theirs:
        return None
    hundredth = ROUNDED.divide(theirs.copy_abs(), Decimal(100))
    return ROUNDED.quantize(ROUNDED.divide(difference, hundredth), PERCENT)


def total_of(rows: Sequence[Row]) -> Total:
    both = [row for row in rows if row.difference.cost_usd is not None]
    differences = _known(row.difference.cost_usd for row in both)
    return Total(
        rows=len(rows),
        theirs_usd=_known(row.theirs.cost_usd for row in rows),
        ours_usd=_known(row.ours.cost_usd for row in rows),
        difference_usd=differences,
        percent=percent(differences, _known(row.theirs.cost_usd for row in both)),
        theirs_alone_usd=_known(row.theirs.cost_usd for row in rows if row.ours.cost_usd is None),
    )


def _known(amounts: Iterable[Decimal | None]) -> Decimal | None:
    found = [amount for amount in amounts if amount is not None]
    return added(found) if found else None


# --- rows ------------------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    day: date
    name: str
    also: tuple[str, ...]


def _rows_of_day(day: date, bill: Bill, ours: Mapping[str, list[Ours]], span: Span) -> list[Row]:
    theirs = bill.models.get(day, {})
    grouped = defaultdict[str, list[str]](list)
    for name, row in rows_of(theirs.keys(), ours.keys()).items():
        grouped[row].append(name)
    rows = []
    for name, names in grouped.items():
        summed = Sum()
        for one in names:
            if one in theirs:
                summed.join(theirs[one])
        mine = [stored for one in names for stored in ours.get(one, ())]
        written = {known for one in names if one in theirs for known in bill.also[one]} | set(names)
        also = () if name == ALL_MODELS else tuple(sorted(written - {name}))
        rows.append(_row(_Place(day, name, also), summed, mine, bill, span))
    for name, item in bill.items.get(day, {}).items():
        rows.append(_row(_Place(day, name, ()), item, None, bill, span))
    return sorted(rows, key=lambda row: (not row.is_model, row.name))


def _row(place: _Place, summed: Sum, stored: Sequence[Ours] | None, bill: Bill, span: Span) -> Row:
    """``stored`` is None for a line of the bill that is of no model."""
    theirs = bill.figures(place.day, summed, is_model=stored is not None)
    ours = Figures() if stored is None else _figures(stored)
    doubts = Doubts(
        rounding_usd=summed.rounding_usd,
        credit_usd=added(summed.credits),
        other_currency=summed.other_currency,
        unpriced_calls=sum(one.unpriced_calls for one in stored or ()),
        partial_calls=sum(one.partial_calls for one in stored or ()),
        is_model=stored is not None,
        is_on_bill=bool(summed.told),
        is_over=place.day < span.today,
        is_kept=place.day >= span.kept_since,
    )
    reason = reason_of(theirs, ours, doubts)
    ratio = ratio_of(theirs, ours) if reason is Reason.ANOTHER_RATE else None
    return Row(place.day, place.name, place.also, stored is not None, theirs, ours, reason, ratio)


def _figures(stored: Sequence[Ours]) -> Figures:
    """Of what is stored. No row is no call: every figure is 0. A cost is unknown where no call has a price."""
    counts: dict[str, Any] = {name: sum(getattr(one.figures, name) or 0 for one in stored) for name in COUNTS}
    costs = [one.figures.cost_usd for one in stored if one.figures.cost_usd is not None]
    return Figures(**counts, cost_usd=added(costs) if costs or not stored else None)


def _notes(rows: Sequence[Row], exports: Sequence[Export], span: Span) -> list[str]:
    notes = []
    days = {row.day for row in rows}
    if any(day < span.kept_since for day in days):
        notes.append(f"sums of days are kept for a year: what is stored may be gone before {span.kept_since}")
    if any(day >= span.today for day in days):
        notes.append(f"{span.today} is not over, and bills come late: what differs there may yet be the same")
    covered = {kind for export in exports for kind in export.kinds}
    if covered == {"usage"}:
        notes.append("the export has no money: give the cost export as another FILE to compare it")
    for kind in sorted(covered):
        missing = _days_without(exports, kind, span)
        if missing:
            notes.append(f"no file has {kind} of {missing}")
    return notes


def _days_without(exports: Sequence[Export], kind: Kind, span: Span) -> str:
    """Days of the span that some file speaks of, and none of this kind."""

    def covered(day: date, of: Kind | None) -> bool:
        return any(export.first <= day <= export.last for export in exports if of in {None, *export.kinds})

    days = [span.start + timedelta(days=number) for number in range((span.end - span.start).days)]
    missing = [day for day in days if covered(day, None) and not covered(day, kind)]
    if not missing:
        return ""
    return str(missing[0]) if len(missing) == 1 else f"{len(missing)} days from {missing[0]} to {missing[-1]}"


def span_of(exports: Sequence[Export], *, start: date | None, end: date | None, today: date, kept_since: date) -> Span:
    """The days of the exports, from ``start`` until before ``end``. Raises ``BillRefused`` where none is left."""
    first, last = min(export.first for export in exports), max(export.last for export in exports)
    begin = max(first, start) if start else first
    until = min(last + timedelta(days=1), end) if end else last + timedelta(days=1)
    if begin >= until:
        raise BillRefused(f"the files have {first} to {last}, and no day of that is asked for; nothing was compared")
    return Span(begin, until, today, kept_since)
