"""What a batch leaves behind: rows of each table, records for each topic. Nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # whoever only sends or reads records loads no frames for it
    import polars as pl

    from stream.decode.frame import Refusal


class Outgoing(NamedTuple):
    """A record to be published: on which topic is the outbox's to know. A tuple, since there are many."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]
    partition: int | None = None  # None leaves it to the key


@dataclass(frozen=True, slots=True)
class Flush:
    """What one batch leaves behind, in the order it must be written."""

    number: int
    prices: pl.DataFrame  # table prices: the texts of those that no flush before has named
    events: pl.DataFrame  # table usage_events
    hourly: pl.DataFrame  # table usage_hourly: the rows that changed, whole
    units: pl.DataFrame  # table usage_hourly_units
    daily: pl.DataFrame  # table usage_daily
    user_daily: pl.DataFrame  # table usage_user_daily
    budget_spend: pl.DataFrame  # table budget_spend
    dead_letters: pl.DataFrame  # table dead_letters
    ledger: pl.DataFrame  # table ingest_ledger
    refusals: list[Refusal]  # topic usage.deadletter
    letters_cut: int  # of them: kept without their bytes, since there were too many
    forwards: list[Outgoing]  # topic usage.events, to their home
    received: int
    duplicates: int
    replayed: int  # of the stored: delivered again, and known at the same offset
    unpriced: Mapping[tuple[str, str], int]  # (provider, model) -> calls

    @property
    def stored(self) -> int:
        return self.events.height
