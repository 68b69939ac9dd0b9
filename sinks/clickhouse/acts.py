"""What people have done about alerts: one is seen to, or nobody is to be told of some for a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal

import polars as pl

from sinks.clickhouse.reader import Reader

ACTS: Final = "alert_acts"

_MOMENT: Final = pl.Datetime("ms", "UTC")
_SHAPE: Final[dict[str, Any]] = {"until": _MOMENT, "at": _MOMENT}

IN_FORCE: Final = """
  SELECT act_id, kind, alert_id, rule, scope, until, acted_by, note, at
  FROM alert_acts WHERE until > {now:DateTime64(3, 'UTC')} ORDER BY at, act_id"""
OF_ALERT: Final = """
  SELECT act_id, kind, alert_id, rule, scope, until, acted_by, note, at
  FROM alert_acts WHERE alert_id = {alert_id:String} ORDER BY at, act_id"""


@dataclass(frozen=True, slots=True)
class Act:
    """``ack``: the alert is seen to, in the revision that it had then. ``silence``: nobody is told of alerts of this
    rule and scope; where one of them is empty, of any. The same ``act_id`` again takes the place of the one before."""

    act_id: str
    kind: Literal["ack", "silence"]
    alert_id: str
    rule: str
    scope: str
    until: datetime
    acted_by: str
    note: str
    at: datetime


def act_rows(acts: Sequence[Act]) -> pl.DataFrame:
    names = [one.name for one in fields(Act)]
    rows = [[getattr(act, name) for name in names] for act in acts]
    return pl.DataFrame(rows, schema={name: _SHAPE.get(name, pl.String) for name in names}, orient="row")


def acts_in_force(reader: Reader, *, now: datetime) -> Sequence[Act]:
    """The oldest first."""
    return [Act(**row) for row in reader.frame(IN_FORCE, now=now).iter_rows(named=True)]


def acts_of(reader: Reader, alert_id: str) -> Sequence[Act]:
    """The oldest first."""
    return [Act(**row) for row in reader.frame(OF_ALERT, alert_id=alert_id).iter_rows(named=True)]
