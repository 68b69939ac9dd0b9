"""The ledger of what was told, and what of it the warehouse does not have yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import polars as pl
import structlog

from costream.alerts import Alert
from sinks.clickhouse.acts import acts_in_force
from sinks.clickhouse.deliveries import (
    CHANNELS,
    DELIVERIES,
    Attempt,
    attempt_rows,
    attempts_made,
    channel_rows,
    channels_since,
)
from sinks.clickhouse.reader import Reader
from sinks.errors import WarehouseError
from stream.notify.acts import Acts

TRY_AGAIN: Final = timedelta(seconds=10)

log = structlog.get_logger(__name__)


class Rows(Protocol):
    """What is needed of ``sinks.clickhouse.writer.Writer``."""

    def insert(self, table: str, frame: pl.DataFrame) -> int: ...


class Ledger:
    """One thread at a time uses it."""

    def __init__(self, reader: Reader, writer: Rows) -> None:
        self._reader, self._writer = reader, writer
        self._attempts: list[tuple[Attempt, Alert]] = []
        self._channels: dict[str, tuple[bool, datetime]] = {}
        self._store_at: datetime | None = None

    def attempts(self, now: datetime) -> list[Attempt]:
        """Those that bear on what is due, the oldest first. Raises ``WarehouseError``."""
        made = {_place(one): one for one in attempts_made(self._reader, now=now)}
        return [*(made | {_place(one): one for one, _ in self._attempts}).values()]

    def acts(self, now: datetime) -> Acts:
        """What people have done. Raises ``WarehouseError``."""
        return Acts(acts_in_force(self._reader, now=now))

    def channels(self) -> Mapping[str, tuple[bool, datetime]]:
        """Whether each channel is on, and since when. Raises ``WarehouseError``."""
        return channels_since(self._reader) | self._channels

    def note(self, attempt: Attempt, alert: Alert) -> None:
        self._attempts.append((attempt, alert))

    def note_channel(self, name: str, *, is_on: bool, since: datetime) -> None:
        self._channels[name] = (is_on, since)

    def store(self, now: datetime, *, at_once: bool = False) -> None:
        """What the warehouse cannot take now is kept, and tried again."""
        if self._store_at is not None and now < self._store_at and not at_once:
            return
        try:
            if self._attempts:
                self._writer.insert(DELIVERIES, attempt_rows(self._attempts))
                self._attempts = []
            if self._channels:
                self._writer.insert(CHANNELS, channel_rows(self._channels))
                self._channels = {}
            self._store_at = None
        except WarehouseError as error:
            self._store_at = now + TRY_AGAIN
            log.info("deliveries not stored", reason=str(error), next=f"tried again at {self._store_at}")


def _place(attempt: Attempt) -> Sequence[object]:
    return (attempt.channel, attempt.alert_id, attempt.revision, attempt.reminder, attempt.attempt)
