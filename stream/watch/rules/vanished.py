"""Records were gone from Kafka before they were read, and nobody has said yet that they know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar

from costream.alerts import Alert, Level
from sinks.clickhouse.reader import Reader
from stream.audit.vanished import vanished_records
from stream.watch.rules.trouble import Fine, Trouble, TroubleRule, Verdict, Words, minute


@dataclass(frozen=True, slots=True)
class Gone:
    """A stretch of offsets that was gone from Kafka before it was read, and that nobody has accepted yet."""

    partition: int
    offset_first: int
    offset_last: int
    noticed_at: datetime


class VanishedRule(TroubleRule[Sequence[Gone]]):
    name: ClassVar = "vanished_records"
    metric_name: ClassVar = "vanished_records"
    unit: ClassVar = "records"
    level: ClassVar = Level.CRITICAL
    every: ClassVar = timedelta(seconds=15)

    def find(self, gone: Sequence[Gone], now: datetime) -> Verdict:
        if not gone:
            return Fine()
        return Trouble(
            since=_since(gone),
            value=Decimal(_records(gone)),
            threshold=Decimal(0),
            names=tuple(f"{each.partition}/{each.offset_first}" for each in gone[:100]),
            command='costream audit --accept-vanished "WHY"',
        )

    def told(self, alert: Alert, gone: Sequence[Gone]) -> Words:
        told = [f"partition {each.partition}, offsets {each.offset_first}-{each.offset_last}" for each in gone[:5]]
        places = "; ".join(told) + (" and more" if len(gone) > 5 else "")
        return Words(
            title=f"Up to {_records(gone):,} usage records vanished before they were read",
            message=(
                f"Noticed at {minute(_since(gone))}: {places}. Kafka had deleted them"
                " (expired, or by hand), so their usage is in no total and no command brings it back. What to do: keep"
                " usage.events longer than workers may be away, ask the senders for what they still have, then note"
                ' that you know of it: `costream audit --accept-vanished "WHY"`.'
            ),
        )

    def over(self, alert: Alert) -> Words:
        return Words("Vanished records are accepted", "A person knows of them; `costream audit` names them ever after.")


def _since(gone: Sequence[Gone]) -> datetime:
    return min(each.noticed_at for each in gone)


def _records(gone: Sequence[Gone]) -> int:
    return sum(each.offset_last - each.offset_first + 1 for each in gone)


def gone_records(reader: Reader) -> list[Gone]:
    """What has vanished and nobody has accepted yet."""
    return [
        Gone(each.partition, each.offset_first, each.offset_last, each.noticed_at)
        for each in vanished_records(reader)
        if each.accepted_reason is None
    ]
