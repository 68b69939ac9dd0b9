"""How far each partition held has been read and stored, and how far it reaches: what lag and commits follow from.

Offsets are not records: markers of transactions, records of aborted ones and compacted records have offsets that nobody
is handed. So lag counts from the *position*, the offset the consumer asks for next, which passes over all of these, to
the *end*, before which everything can be delivered now. What lies behind a transaction that is still open cannot.

The consumer's thread writes, the loop reads: a reader sees what one fetch brought together with how far it reached, or
neither.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from faust.types import TP


@dataclass(slots=True)
class _Place:
    position: int | None = None
    records_next: int | None = None  # the offset after the last record handed over, in this assignment or before it
    handed: int | None = None  # the offset after the last record handed over in this assignment
    waiting_from: int | None = None  # the first offset handed over that is not stored yet
    acknowledged: int | None = None  # the offset after the last record acknowledged
    end: int | None = None
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a fetch, or a question to the broker, told of one partition."""

    position: int | None
    end: int | None
    withheld: int = 0  # offsets behind an open transaction
    handed: tuple[int, int] | None = None  # the first and the last offset of the records that it brought


class Positions:
    """The partitions of one assignment; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[TP, _Place] = {}

    def forget(self) -> None:
        """A new assignment: whatever was handed over in the one before is delivered again, or somebody else's."""
        with self._lock:
            self._places.clear()

    def begin(self, tp: TP, *, position: int | None, records_next: int | None) -> None:
        """Reading begins at ``position``, anew: what was handed over before comes again."""
        with self._lock:
            end = self._places[tp].end if tp in self._places else None
            self._places[tp] = _Place(position=position, records_next=records_next, end=end)

    def read(self, readings: Mapping[TP, Reading]) -> None:
        with self._lock:
            for tp, reading in readings.items():
                place = self._places.setdefault(tp, _Place())
                place.position = reading.position
                place.withheld = reading.withheld
                if reading.end is not None:
                    place.end = reading.end
                if reading.handed is not None:
                    first, last = reading.handed
                    place.handed = place.records_next = last + 1
                    place.waiting_from = first if place.waiting_from is None else place.waiting_from

    def reaches(self, ends: Mapping[TP, int]) -> None:
        """How far partitions reach, asked for apart: nothing is fetched of a partition whose records still wait."""
        with self._lock:
            for tp, end in ends.items():
                if tp in self._places:
                    self._places[tp].end = max(end, self._places[tp].end or 0)

    def stored(self, tp: TP, offset_last: int) -> None:
        """All records of the partition up to this one are stored."""
        with self._lock:
            place = self._places.get(tp)
            if place is None or place.handed is None:
                return  # of an assignment that is over
            place.waiting_from = None if offset_last + 1 >= place.handed else offset_last + 1

    def lag(self, tps: Iterable[TP]) -> dict[TP, int | None]:
        """Zero exactly if nothing that can be delivered is left to be stored, else at least the number of records left.
        None as long as it is not known how far the partition was read or reaches."""
        with self._lock:
            return {tp: _lag(self._places.get(tp, _Place())) for tp in tps}

    def withheld(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Offsets that cannot be delivered yet: they stand behind a transaction that is still open."""
        with self._lock:
            return {tp: self._places[tp].withheld if tp in self._places else 0 for tp in tps}

    def acknowledge(self, tp: TP, offset_last: int) -> None:
        """All records of the partition up to this one may be committed."""
        with self._lock:
            self._places.setdefault(tp, _Place()).acknowledged = offset_last + 1

    def committable(self, tp: TP) -> int | None:
        """The offset to commit: the position if all that was handed over is acknowledged, since no record stands
        between; else the offset after what is. None if nothing can be committed."""
        with self._lock:
            place = self._places.get(tp, _Place())
            if place.position is None or (place.handed or 0) > (place.acknowledged or 0):
                return place.acknowledged
            return max(place.position, place.acknowledged or 0)

    def known(self) -> list[TP]:
        """The partitions whose position is known."""
        with self._lock:
            return [tp for tp, place in self._places.items() if place.position is not None]

    def records_next(self, tp: TP) -> int | None:
        """The offset after the last record that the group was handed, as far as is known."""
        with self._lock:
            return self._places[tp].records_next if tp in self._places else None


def _lag(place: _Place) -> int | None:
    start = place.position if place.waiting_from is None else place.waiting_from
    if start is None or place.end is None:
        return None
    return max(0, place.end - start)
