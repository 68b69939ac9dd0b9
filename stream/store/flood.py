"""A flood of dead letters: how many are kept whole, so that what is refused never crowds out what is counted.

Every refused record keeps its place, kind, reason, lengths and digests: the ledger and the audit count it. Its bytes
are kept for the first of each minute and partition alone. The minute is the broker's, so a record delivered again is
judged as before, if the minute is read from its start; read from the middle, more are kept. Both are harmless: a letter
replaces itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from stream.decode.cut import Cut, Header, encoded
from stream.decode.frame import Record, Refusal

# A person reads some dozen, and a sender that is wrong in one way is wrong a thousand times in the same way.
LETTERS_KEPT_MAX: Final = 1_000  # a minute and partition
LETTER_BYTES_KEPT_MAX: Final = 4 * 1024 * 1024  # of them, a minute and partition: with twelve, 50 MB a minute
FLOOD_REASON_CHARS_MAX: Final = 240  # of a reason beyond that
MINUTE_MS: Final = 60_000
NOTE: Final = " [one of a flood: kept without its bytes]"


@dataclass(frozen=True, slots=True)
class PlaceOfRecord:
    """A record of which only its place and its measures are kept."""

    partition: int
    offset: int
    timestamp: int
    cut: Cut
    fault: str = ""
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[Header] = ()
    own_time: bool = False


@dataclass(slots=True)
class _Minute:
    number: int
    letters: int = 0
    size: int = 0


class Flood:
    """Counts the letters of each partition by the minute."""

    def __init__(self) -> None:
        self._minutes: dict[int, _Minute] = {}

    def held_back(self, refusals: Sequence[Refusal], *, read_at: datetime | None = None) -> tuple[list[Refusal], int]:
        """The refusals in their order, those beyond the bound without their bytes; and how many these are.

        A minute is the broker's; of records with their producers' times, which may be any, it is the one at which they
        were read.
        """
        in_log_order = sorted(range(len(refusals)), key=lambda at: _place(refusals[at].record))
        beyond = {at for at in in_log_order if not self._has_room(refusals[at].record, read_at)}
        kept = [_without_bytes(refusal) if at in beyond else refusal for at, refusal in enumerate(refusals)]
        return kept, len(beyond)

    def _has_room(self, record: Record, read_at: datetime | None) -> bool:
        came = round(read_at.timestamp() * 1000) if read_at and record.own_time else record.timestamp
        number = came // MINUTE_MS
        minute = self._minutes.get(record.partition)
        if minute is None or number > minute.number:  # a minute that is over does not come again
            minute = self._minutes[record.partition] = _Minute(number)
        minute.letters += 1
        minute.size += _size(record)
        return minute.letters <= LETTERS_KEPT_MAX and minute.size <= LETTER_BYTES_KEPT_MAX


def _place(record: Record) -> tuple[int, int]:
    return record.partition, record.offset


def _size(record: Record) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _without_bytes(refusal: Refusal) -> Refusal:
    record = refusal.record
    place = PlaceOfRecord(
        record.partition, record.offset, record.timestamp, _measured(record), record.fault, own_time=record.own_time
    )
    return replace(refusal, record=place, reason=refusal.reason[:FLOOD_REASON_CHARS_MAX] + NOTE)


def _measured(record: Record) -> Cut:
    """Lengths and digests of the whole record. What was cut before has them already."""
    given = record.cut or Cut()
    headers = encoded(record.headers)
    return Cut(
        value_bytes=given.value_bytes or len(record.value or b""),
        value_sha256=given.value_sha256 or _digest(record.value),
        key_bytes=given.key_bytes or len(record.key or b""),
        key_sha256=given.key_sha256 or _digest(record.key),
        headers_count=given.headers_count or len(record.headers),
        headers_bytes=given.headers_bytes or len(headers),
        headers_sha256=given.headers_sha256 or _digest(headers if record.headers else None),
    )


def _digest(part: bytes | None) -> str:
    return hashlib.sha256(part).hexdigest() if part else ""
