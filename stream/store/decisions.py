"""What a person decides of a dead letter: it was sent again, it is given up, it is open again.

A letter of which nothing is decided is open. The last decision holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import polars as pl

TABLE: Final = "dead_letter_states"
REASON_CHARS_MAX: Final = 1_000  # a sentence for whoever looks at it later, not a report
MILLISECONDS: Final = pl.Datetime("ms", "UTC")

State = Literal["open", "replayed", "given_up"]


@dataclass(frozen=True, slots=True)
class Sent:
    """Where Kafka has put a letter that was sent again. ``None`` where it has not told."""

    topic: str
    partition: int | None
    offset: int | None

    def __str__(self) -> str:
        partition, offset = ("?" if number is None else number for number in (self.partition, self.offset))
        return f"{self.topic}/{partition}/{offset}"


@dataclass(frozen=True, slots=True)
class Decision:
    """``by`` is a name, or empty. ``sent`` is there where it was sent again."""

    state: State
    at: datetime
    reason: str = ""
    by: str = ""
    sent: Sent | None = None

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``; times in RFC 3339."""
        told = {"state_reason": self.reason, "decided_at": self.at.isoformat(timespec="milliseconds")}
        told["decided_by"] = self.by
        return told | ({"sent_to": str(self.sent)} if self.sent else {})

    def told(self) -> str:
        """For people."""
        what = {"open": "opened again", "replayed": "replayed", "given_up": "given up"}[self.state]
        where = f" to {self.sent}" if self.sent else ""
        who = f" by {self.by}" if self.by else ""
        why = f": {self.reason}" if self.reason else ""
        return f"{what} on {self.at:%Y-%m-%d %H:%M:%S} UTC{who}{where}{why}"


def decision_rows(places: pl.DataFrame, decisions: Sequence[Decision]) -> pl.DataFrame:
    """Rows of the table: a decision for each place, which has source, source_partition, source_offset and received_at.
    They expire with their letters, since received_at is the letter's."""
    sent = [decision.sent for decision in decisions]
    return places.select(
        "source", "source_partition", "source_offset", pl.col("received_at").cast(MILLISECONDS)
    ).with_columns(
        pl.Series("state", [decision.state for decision in decisions], dtype=pl.String),
        pl.Series("reason", [decision.reason for decision in decisions], dtype=pl.String),
        pl.Series("decided_at", [decision.at for decision in decisions], dtype=MILLISECONDS),
        pl.Series("decided_by", [decision.by for decision in decisions], dtype=pl.String),
        pl.Series("sent_topic", [each.topic if each else "" for each in sent], dtype=pl.String),
        pl.Series("sent_partition", [each.partition if each else None for each in sent], dtype=pl.Int64),
        pl.Series("sent_offset", [each.offset if each else None for each in sent], dtype=pl.Int64),
    )
