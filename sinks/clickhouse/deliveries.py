"""The ledger of what was told to people, and since when a channel is on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from costream.alerts import Alert
from sinks.clickhouse.reader import Reader

DELIVERIES: Final = "alert_deliveries"
CHANNELS: Final = "alert_channels"

_MOMENT: Final = pl.Datetime("ms", "UTC")
_DELIVERY: Final[dict[str, Any]] = {
    "channel": pl.String,
    "alert_id": pl.String,
    "revision": pl.UInt32,
    "reminder": pl.UInt16,
    "attempt": pl.UInt16,
    "at": _MOMENT,
    "outcome": pl.String,
    "reason": pl.String,
    "rule": pl.String,
    "level": pl.String,
    "scope": pl.String,
}
_CHANNEL: Final[dict[str, Any]] = {"channel": pl.String, "is_on": pl.UInt8, "since": _MOMENT}

# All that is new enough to bear on what is due, and of each alert what it was told last.
MADE: Final = """
  SELECT channel, alert_id, revision, reminder, attempt, at, outcome, reason
  FROM alert_deliveries_rows FINAL
  WHERE at >= {since:DateTime64(3, 'UTC')}
  UNION ALL
  SELECT channel, alert_id, revision, reminder, attempt, at, outcome, reason
  FROM alert_deliveries_rows FINAL
  WHERE at < {since:DateTime64(3, 'UTC')} AND outcome != 'failed'
  ORDER BY at DESC LIMIT 1 BY channel, alert_id, outcome"""
RECENT: Final = timedelta(days=2)  # attempts that failed are repeated for a day

SINCE: Final = "SELECT channel, is_on, since FROM alert_channels_rows FINAL"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to tell one thing on one channel."""

    channel: str
    alert_id: str
    revision: int
    reminder: int  # 0: the revision itself
    attempt: int  # 1, 2, 3, … of this revision and reminder
    at: datetime
    outcome: str  # delivered | failed | given up
    reason: str = ""


def attempt_rows(attempts: Iterable[tuple[Attempt, Alert]]) -> pl.DataFrame:
    """With what a reader wants to know of the alert. Writing a row again is harmless."""
    rows = [
        [
            *(getattr(attempt, name) for name in Attempt.__slots__),
            alert.rule,
            alert.level.value,
            alert.scope,
        ]
        for attempt, alert in attempts
    ]
    return pl.DataFrame(rows, schema=_DELIVERY, orient="row")


def attempts_made(reader: Reader, *, now: datetime) -> Sequence[Attempt]:
    rows = reader.frame(MADE, since=now - RECENT)
    return [Attempt(**row) for row in rows.sort("at", "attempt").iter_rows(named=True)]


def channel_rows(channels: Mapping[str, tuple[bool, datetime]]) -> pl.DataFrame:
    rows = [[channel, int(is_on), since] for channel, (is_on, since) in channels.items()]
    return pl.DataFrame(rows, schema=_CHANNEL, orient="row")


def channels_since(reader: Reader) -> dict[str, tuple[bool, datetime]]:
    """Of each channel whether it is on, and since when."""
    rows = reader.frame(SINCE).iter_rows(named=True)
    return {row["channel"]: (bool(row["is_on"]), row["since"]) for row in rows}


LAST: Final = """
  SELECT channel, argMax(d.outcome, d.last_at) AS outcome, argMax(d.reason, d.last_at) AS reason,
    max(d.last_at) AS last_at
  FROM alert_deliveries AS d GROUP BY channel"""


def last_of_channels(reader: Reader) -> dict[str, Mapping[str, Any]]:
    """Of each channel what became of the message that was tried last: ``outcome``, ``reason``, ``last_at``."""
    return {row["channel"]: row for row in reader.frame(LAST).iter_rows(named=True)}


OF_ALERT: Final = """
  SELECT channel, toInt64(revision) AS revision, toInt64(reminder) AS reminder, outcome, toInt64(attempts) AS attempts,
    first_at, last_at, reason
  FROM alert_deliveries WHERE alert_id = {alert_id:String} ORDER BY last_at, channel"""


def deliveries_of(reader: Reader, alert_id: str) -> Sequence[Mapping[str, Any]]:
    """What was told of an alert, and to whom, in the order of the last attempts."""
    return reader.frame(OF_ALERT, alert_id=alert_id).to_dicts()
