"""Alerts as the topic has them, with only that said of them which matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from costream.alerts import Alert

START = datetime(2026, 3, 2, 10, tzinfo=UTC)


def alert(alert_id: str, revision: int = 1, **changes: Any) -> Alert:
    fields = {
        "alert_id": alert_id,
        "revision": revision,
        "status": "open",
        "level": "warning",
        "rule": "hourly_spike",
        "title": "Hourly cost is 4.2x the usual",
        "message": "The 60 minutes 09:00-10:00 UTC cost 4.20 USD.",
        "metric_name": "hourly_cost_spike",
        "scope": "system",
        "window_start": START - timedelta(hours=1),
        "window_end": START,
        "current_value": "4.20",
        "threshold_value": "3.00",
        "expected_value": "1.00",
        "ratio": "4.2",
        "unpriced_calls": 0,
        "metadata": {"first_window": "2026-03-02T09:00:00+00:00"},
        "timestamp": START,
    }
    return Alert.model_validate(fields | changes)
