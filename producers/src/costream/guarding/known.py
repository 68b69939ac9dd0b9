"""The limits that a process knows, found by the values of a call in a look-up for each combination of fields in use.

One thread writes. Any may ask meanwhile, without a lock: what is read is replaced as a whole, in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from costream.budgets import BudgetState
from costream.guarding.asked import COMPARED
from costream.guarding.limited import Limited

# In memory, a kilobyte each. So many users at once that have used up a budget are no budget's usual day; those beyond
# it are allowed.
LIMITS_MAX: Final = 20_000

Only = tuple[tuple[str, frozenset[str]], ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """What is told of a limit, and of which values alone it holds."""

    limited: Limited
    only: Only

    def counts(self, values: Mapping[str, str]) -> bool:
        return all(values[field] in counted for field, counted in self.only)

    def lasts_beyond(self, moment: datetime) -> bool:
        return self.limited.resets_at is None or self.limited.resets_at > moment


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a limit is found: by these fields, under their values."""

    fields: tuple[str, ...]
    values: tuple[str, ...]
    limit: Limit


Cells = dict[tuple[str, ...], tuple[Limit, ...]]


class KnownLimits:
    def __init__(self, *, limits_max: int = LIMITS_MAX) -> None:
        self._limits_max = limits_max
        self._places: dict[bytes, _Place] = {}
        self._shapes: tuple[tuple[tuple[str, ...], Cells], ...] = ()
        self._only: dict[str, Only] = {}  # the latest of each budget, which all its limits share

    def __len__(self) -> int:
        return len(self._places)

    # --- who asks ---

    def limit_on(self, values: Mapping[str, str], now: Callable[[], datetime]) -> Limited | None:
        """Of those that hold for a call the one that lasts longest. ``values`` has an empty text for what the call does
        not have."""
        found = [limit for limit in self._of(values) if limit.counts(values)]
        if not found:  # nearly always, and no clock is asked
            return None
        moment = now()
        standing = [limit.limited for limit in found if limit.lasts_beyond(moment)]
        return max(standing, key=_lasting, default=None)

    def _of(self, values: Mapping[str, str]) -> Iterator[Limit]:
        for fields, cells in self._shapes:
            key = tuple([values[field] for field in fields])
            if "" not in key:
                yield from cells.get(key, ())

    # --- who writes ---

    def put(self, state: BudgetState) -> bool:
        """Know this limit instead of an earlier one of its key. False where there is no room for one more."""
        before = self._places.get(state.key)
        if before is None and len(self._places) >= self._limits_max:
            return False
        fields = tuple(sorted(state.subject))
        place = _Place(fields, tuple(state.subject[field] for field in fields), self._limit(state))
        self._places[state.key] = place
        self._replace(place, before, place.limit)
        return True

    def remove(self, key: bytes) -> None:
        place = self._places.pop(key, None)
        if place is not None:
            self._replace(place, place, None)

    def forget_what_is_over(self, moment: datetime) -> None:
        over = [key for key, place in self._places.items() if not place.limit.lasts_beyond(moment)]
        for key in over:
            self.remove(key)

    def _replace(self, place: _Place, before: _Place | None, limit: Limit | None) -> None:
        cells = self._cells(place.fields)
        others = (one for one in cells.get(place.values, ()) if before is None or one is not before.limit)
        found = (*others, *([limit] if limit else []))
        if found:
            cells[place.values] = found
        else:
            cells.pop(place.values, None)
        if not cells:
            self._shapes = tuple(shape for shape in self._shapes if shape[1] is not cells)

    def _cells(self, fields: tuple[str, ...]) -> Cells:
        for known, cells in self._shapes:
            if known == fields:
                return cells
        new: Cells = {}
        self._shapes = (*self._shapes, (fields, new))
        return new

    def _limit(self, state: BudgetState) -> Limit:
        limited = Limited(
            budget=state.budget,
            subject=state.subject,
            spent=state.spent,
            amount=state.amount,
            limit=state.limit,
            currency=state.currency,
            resets_at=state.period_end,
        )
        only = tuple((field, frozenset(values)) for field, values in sorted(state.only.items()))
        if self._only.get(state.budget) != only:
            if len(self._only) >= self._limits_max:
                self._only.clear()
            self._only[state.budget] = only
        return Limit(limited, self._only[state.budget])


def is_understood(state: BudgetState) -> bool:
    """Whether a call has all that the limit goes by."""
    return COMPARED.issuperset((*state.subject, *state.only))


def _lasting(limited: Limited) -> tuple[bool, datetime, str]:
    at = limited.resets_at
    return at is None, at or datetime.max.replace(tzinfo=UTC), limited.budget
