"""Alerts as the warehouse has them: those that stand, and one with its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from costream.alerts import Alert
from sinks.clickhouse.alert_rows import alerts_from_rows
from sinks.clickhouse.reader import Reader

_REVISIONS: Final = """
SELECT * EXCEPT (stored_at) FROM alerts WHERE alert_id = {alert_id:String} ORDER BY revision
"""

_LATEST_ALERTS: Final = """
SELECT * FROM (
  SELECT * EXCEPT (stored_at) FROM alerts ORDER BY revision DESC LIMIT 1 BY alert_id
)
WHERE {every:UInt8} OR status IN ('open', 'updated')
ORDER BY timestamp DESC, alert_id LIMIT {limit:UInt32}
"""


def latest_alerts(reader: Reader, *, standing_only: bool, limit: int) -> Sequence[Alert]:
    """Alerts in their latest revision, those decided last first."""
    return alerts_from_rows(reader.frame(_LATEST_ALERTS, every=int(not standing_only), limit=limit))


def revisions_of(reader: Reader, alert_id: str) -> Sequence[Alert]:
    """All revisions of one alert, the first one first."""
    return alerts_from_rows(reader.frame(_REVISIONS, alert_id=alert_id))
