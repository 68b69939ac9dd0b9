"""Alerts as rows of the table ``alerts``, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import polars as pl

from costream.alerts import Alert

TABLE: Final = "alerts"

_MOMENT: Final = pl.Datetime("ms", "UTC")
_MONEY: Final = pl.Decimal(38, 12)
COLUMNS: Final[dict[str, Any]] = {
    "alert_id": pl.String,
    "revision": pl.UInt32,
    "status": pl.String,
    "level": pl.String,
    "rule": pl.String,
    "metric_name": pl.String,
    "scope": pl.String,
    "user_id": pl.String,
    "title": pl.String,
    "message": pl.String,
    "window_start": _MOMENT,
    "window_end": _MOMENT,
    "current_value": _MONEY,
    "threshold_value": _MONEY,
    "expected_value": _MONEY,
    "ratio": pl.Decimal(18, 4),
    "unpriced_calls": pl.Int64,
    "drivers": pl.String,
    "metadata": pl.String,
    "timestamp": _MOMENT,
}


def alert_rows(alerts: Iterable[Alert]) -> pl.DataFrame:
    """The rows of the table ``alerts``, one a revision; writing one again is harmless."""
    return pl.DataFrame([_row(alert) for alert in alerts], schema=COLUMNS, orient="row")


def _row(alert: Alert) -> list[Any]:
    fields = alert.model_dump(mode="json")
    as_text = {name: json.dumps(fields[name], ensure_ascii=False) for name in ("drivers", "metadata")}
    values = {name: getattr(alert, name) for name in COLUMNS} | {"level": alert.level.value} | as_text
    return list(values.values())


def alerts_from_rows(rows: pl.DataFrame) -> Sequence[Alert]:
    """The alerts that ``alert_rows`` made these rows of."""
    return [_alert(row) for row in rows.select(list(COLUMNS)).iter_rows(named=True)]


def _alert(row: dict[str, Any]) -> Alert:
    return Alert.model_validate(row | {name: json.loads(row[name]) for name in ("drivers", "metadata")})
